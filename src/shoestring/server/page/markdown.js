// Draw markdown while it arrives. A block that can no longer change is neither read nor drawn again. However a text is
// split into pieces, the result is the same.
import { blockView, isClosed } from "./nodes.js";
import { parse } from "./parse.js";

const BLANK = /^[ \t]*$/;

/** Draws text into `container`: `push(text)` appends, `end()` settles the rest. */
export function markdownInto(container) {
  let lines = []; // complete lines of blocks that are not settled
  let partial = ""; // the line that still grows
  let open = []; // views of the blocks that are not settled

  function draw(atEnd) {
    const all = partial ? [...lines, partial] : lines;
    const { tokens, openDisplay } = parse(all.join("\n"));
    const blocks = blocksOf(tokens);
    const settled = atEnd ? blocks.length : countSettled(blocks, lines, openDisplay);
    const views = blocks.map((block, index) => blockView(block.tokens, all, index === 0 ? open[0] : null, !atEnd));
    for (const { node } of open) if (node !== views[0]?.node) node.remove();
    for (const { node } of views) if (node.parentNode !== container) container.append(node);
    open = views.slice(settled);
    lines = lines.slice(blocks[settled]?.begin ?? lines.length);
  }

  return {
    push(text) {
      const fresh = (partial + text).split("\n");
      partial = fresh.pop();
      for (const line of fresh) lines.push(line.replace(/\r$/, "").replaceAll("\r", " "));
      draw(false);
    },
    end() {
      draw(true);
      partial = "";
    },
  };
}

// The tokens of each block, and the block's lines.
function blocksOf(tokens) {
  const blocks = [];
  let from = 0;
  tokens.forEach((token, at) => {
    if (token.level > 0 || token.nesting > 0) return;
    const [begin, end] = tokens[from].map;
    blocks.push({ tokens: tokens.slice(from, at + 1), begin, end });
    from = at + 1;
  });
  return blocks;
}

// The number of blocks that no further line can change.
function countSettled(blocks, lines, openDisplay) {
  const isOpen = ({ tokens, begin, end }, index) => {
    if (tokens[0].type === "fence") return !isClosed(tokens[0]) || end > lines.length;
    let after = end; // a list reaches to the block behind it
    while (after > begin && BLANK.test(lines[after - 1] ?? "-")) after -= 1;
    if (after >= openDisplay) return true;
    const gap = after < lines.length && BLANK.test(lines[after]);
    if (gap && !tokens[0].type.endsWith("list_open")) return false;
    // Two lines are needed to recognize a table, and with it the end of the block above.
    const next = blocks[index + 1];
    return !next || next.begin + (gap ? 1 : 2) > lines.length;
  };
  const first = blocks.findIndex(isOpen);
  return first < 0 ? blocks.length : first;
}
