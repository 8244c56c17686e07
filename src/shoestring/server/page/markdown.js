// Markdown as document nodes, while it arrives. A block is drawn again only until it can no longer change; then it
// is neither read nor drawn any more. In whatever pieces a text comes, the result is that of the whole text.
import { DISPLAYS } from "./formulas.js";
import { blockView, isClosed } from "./nodes.js";
import { parse } from "./parse.js";

/** Fills `container`: `push(text)` appends, `end()` settles the rest. */
export function markdownInto(container) {
  let lines = []; // complete lines of blocks that are not settled
  let partial = ""; // the line that still grows
  let open = []; // nodes of the blocks that are not settled
  let live = null; // the view of the first of them: it grows instead of being drawn again

  function draw(atEnd) {
    const all = partial ? [...lines, partial] : lines;
    const found = blocks(parse(all.join("\n")));
    const settled = atEnd ? found.length : countSettled(found, lines);
    const views = found.map(({ tokens }, index) => blockView(tokens, all, index === 0 ? live : null, !atEnd));
    for (const node of open) if (node !== views[0]?.node) node.remove();
    for (const { node } of views) if (node.parentNode !== container) container.append(node);
    open = views.slice(settled).map(({ node }) => node);
    live = views[settled] ?? null;
    lines = lines.slice(found[settled]?.begin ?? lines.length);
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

// The tokens by block, with the block's lines.
function blocks(tokens) {
  const found = [];
  let from = 0;
  for (let at = 0; at < tokens.length; at += 1) {
    if (tokens[at].level > 0 || tokens[at].nesting > 0) continue;
    const [begin, end] = tokens[from].map;
    found.push({ tokens: tokens.slice(from, at + 1), begin, end });
    from = at + 1;
  }
  return found;
}

const BLANK = /^[ \t]*$/;

// How many of the blocks no further line can change.
function countSettled(found, lines) {
  const waiting = openDisplay(lines);
  const isSettled = ({ tokens, begin, end }, next) => {
    if (tokens[0].type === "fence") return isClosed(tokens[0]) && end <= lines.length;
    let after = end; // a list reaches to the block behind it
    while (after > begin && BLANK.test(lines[after - 1] ?? "-")) after -= 1;
    if (after > waiting) return false;
    const gap = after < lines.length && BLANK.test(lines[after]);
    if (gap && !tokens[0].type.endsWith("list_open")) return true;
    // Two lines are needed to know a table, and with it that the block above it ends.
    return next !== undefined && next.begin + (gap ? 1 : 2) <= lines.length;
  };
  let count = 0;
  while (count < found.length && isSettled(found[count], found[count + 1])) count += 1;
  return count;
}

// The line with a display's opening mark whose closing one may still come, Infinity if there is none.
function openDisplay(lines) {
  let begin = lines.length;
  while (begin > 0 && !BLANK.test(lines[begin - 1])) begin -= 1;
  const last = {};
  for (let at = begin; at < lines.length; at += 1)
    for (const close of Object.values(DISPLAYS)) if (lines[at].includes(close)) last[close] = at;
  for (let at = begin; at < lines.length; at += 1) {
    const text = lines[at].trimStart();
    const close = DISPLAYS[text.slice(0, 2)];
    if (close && !text.includes(close, 2) && !(last[close] > at)) return at;
  }
  return Infinity;
}
