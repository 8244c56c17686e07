// Markdown as document nodes, while it arrives. A block is drawn again only until it can no longer change: the
// reading looks at most one line beyond a block's end, so two complete lines after it settle it.
// Whatever the pieces in which a text comes, the result is that of the whole text.
import { el } from "./dom.js";
import { inline } from "./inline.js";
import { listing } from "./code.js";

const FENCE = /^( *)(`{3,}|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|\t|$)/;
const TASK = /^\[([ xX])\] +/;
/** Lists and quotes nested deeper are shown as text. */
const DEEPEST = 10;

/** Fills `container`: `push(text)` appends, `end()` settles the rest. */
export function markdownInto(container) {
  let lines = []; // complete lines of blocks that are not settled
  let partial = ""; // the line that still grows
  let open = []; // nodes of the blocks that are not settled
  let live = null; // the listing among them, if it is the first: it grows instead of being drawn again

  function draw(atEnd) {
    const all = partial || atEnd ? [...lines, partial] : lines;
    const drawn = [];
    let settled = 0;
    let growing = null;
    for (let at = skipBlank(all, 0); at < all.length; ) {
      const first = drawn.length === 0;
      const block = readBlock(all, at, 0, first ? live : null);
      if (first) live = null;
      if (atEnd || block.next + 2 <= lines.length) {
        if (block.node !== open[0]) container.insertBefore(block.node, open[0] ?? null);
        else open.shift();
        settled = block.next;
      } else {
        if (drawn.length === 0) growing = block.listing ?? null;
        drawn.push(block.node);
      }
      at = skipBlank(all, block.next);
    }
    for (const node of open) if (!drawn.includes(node)) node.remove();
    for (const node of drawn) if (node.parentNode !== container) container.append(node);
    open = drawn;
    live = growing;
    lines = lines.slice(settled);
  }

  return {
    push(text) {
      const fresh = (partial + text).split("\n");
      partial = fresh.pop();
      for (const line of fresh) lines.push(line.endsWith("\r") ? line.slice(0, -1) : line);
      draw(false);
    },
    end() {
      draw(true);
      partial = "";
      lines = [];
    },
  };
}

function skipBlank(lines, at) {
  while (at < lines.length && !lines[at].trim()) at += 1;
  return at;
}

function blocks(lines, depth) {
  const nodes = [];
  for (let at = skipBlank(lines, 0); at < lines.length; ) {
    const block = readBlock(lines, at, depth, null);
    nodes.push(block.node);
    at = skipBlank(lines, block.next);
  }
  return nodes;
}

// The block that begins at line `at`, which is not blank: its node and the line after it.
function readBlock(lines, at, depth, live) {
  const line = lines[at];
  const fence = fenceOf(line);
  if (fence) return readListing(lines, at, fence, live);
  const heading = HEADING.exec(line);
  if (heading) return readHeading(line.slice(heading[0].length), heading[1].length, at);
  if (RULE.test(line)) return { node: el("hr"), next: at + 1 };
  if (QUOTE.test(line) && depth < DEEPEST) return readQuote(lines, at, depth);
  if (ITEM.test(line) && depth < DEEPEST) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at);
}

function fenceOf(line) {
  const hit = FENCE.exec(line);
  return hit && !(hit[2][0] === "`" && hit[3].includes("`")) ? { indent: hit[1].length, mark: hit[2], info: hit[3].trim() } : null;
}

function readListing(lines, at, fence, live) {
  const body = [];
  let next = at + 1;
  let closed = false;
  while (next < lines.length && !closed) {
    const line = lines[next];
    const shut = line.trim();
    closed = shut.length >= fence.mark.length && shut === fence.mark[0].repeat(shut.length);
    if (!closed) body.push(line.slice(0, fence.indent).trim() ? line : line.slice(fence.indent));
    next += 1;
  }
  const view = live && live.info === fence.info ? live : listing(fence.info);
  view.update(body, closed);
  return { node: view.node, next, listing: view };
}

// The page's own headings are levels 1 and 2.
function readHeading(text, level, at) {
  let end = text.trimEnd();
  let hashes = end.length;
  while (hashes > 0 && end[hashes - 1] === "#") hashes -= 1;
  if (hashes < end.length && (hashes === 0 || end[hashes - 1] === " ")) end = end.slice(0, hashes);
  return { node: el(`h${Math.min(level + 2, 6)}`, { class: `level-${level}` }, inline(end.trim())), next: at + 1 };
}

function readQuote(lines, at, depth) {
  const inner = [];
  let next = at;
  while (next < lines.length && (QUOTE.test(lines[next]) || continues(lines, next))) {
    inner.push(lines[next].replace(QUOTE, ""));
    next += 1;
  }
  return { node: el("blockquote", {}, ...blocks(inner, depth + 1)), next };
}

// A line that goes on with the paragraph above it without the marks of the quote or list around it.
function continues(lines, at) {
  return lines[at].trim() !== "" && lines[at - 1]?.trim() !== "" && !beginsBlock(lines, at) && !fenceOf(lines[at - 1]);
}

function readList(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const ordered = first[2].length > 1;
  const items = [];
  let loose = false;
  let next = at;
  while (next < lines.length) {
    const mark = ITEM.exec(lines[next]);
    if (!mark || mark[2].length > 1 !== ordered || mark[1].length > first[1].length + 1 || RULE.test(lines[next])) break;
    const inner = [lines[next].slice(mark[0].length)];
    const width = mark[1].length + mark[2].length + 1;
    const least = Math.min(width, mark[1].length + 2); // models indent by two whatever the mark
    next += 1;
    while (next < lines.length) {
      const indent = lines[next].length - lines[next].trimStart().length;
      if (lines[next].trim() === "") inner.push("");
      else if (indent >= least) inner.push(lines[next].slice(Math.min(indent, width)));
      else if (continues(lines, next) && !ITEM.test(lines[next])) inner.push(lines[next].trimStart());
      else break;
      next += 1;
    }
    const blankAfter = inner[inner.length - 1] === "";
    while (inner.length > 1 && inner[inner.length - 1] === "") inner.pop();
    const more = next < lines.length && ITEM.exec(lines[next]);
    if (inner.indexOf("", 1) > 0 || (blankAfter && more && more[2].length > 1 === ordered)) loose = true;
    items.push(listItem(inner, depth));
  }
  const list = el(ordered ? "ol" : "ul", { class: loose ? "loose" : "tight" }, ...items);
  if (ordered && parseInt(first[2], 10) !== 1) list.start = parseInt(first[2], 10);
  return { node: list, next };
}

function listItem(inner, depth) {
  const task = TASK.exec(inner[0]);
  if (!task) return el("li", {}, ...blocks(inner, depth + 1));
  inner[0] = inner[0].slice(task[0].length);
  const done = task[1] !== " ";
  const box = el("span", { class: "box", role: "img", "aria-label": done ? "done" : "to do", textContent: done ? "☑" : "☐" });
  return el("li", { class: "task" }, box, el("div", {}, ...blocks(inner, depth + 1)));
}

function isTable(lines, at) {
  const rule = lines[at + 1];
  if (rule === undefined || !lines[at].includes("|") || !rule.includes("-")) return false;
  const marks = cells(rule);
  return marks.every((mark) => /^:?-+:?$/.test(mark)) && marks.length === cells(lines[at]).length;
}

// The cells of a row; a bar inside code or behind a backslash separates nothing.
function cells(line) {
  const found = [""];
  let code = false;
  const row = line.trim();
  for (let at = row[0] === "|" ? 1 : 0; at < row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") {
      found[found.length - 1] += "|";
      at += 1;
    } else if (row[at] === "|" && !code) {
      if (at < row.length - 1) found.push("");
    } else {
      if (row[at] === "`") code = !code && row.includes("`", at + 1);
      found[found.length - 1] += row[at];
    }
  }
  return found.map((cell) => cell.trim());
}

function readTable(lines, at) {
  const sides = cells(lines[at + 1]).map((mark) => {
    if (mark.endsWith(":")) return mark.startsWith(":") ? "centre" : "right";
    return "left";
  });
  const row = (tag, texts) =>
    el("tr", {}, ...sides.map((side, column) => el(tag, { class: side }, inline(texts[column] ?? ""))));
  const body = el("tbody");
  let next = at + 2;
  while (next < lines.length && lines[next].trim() && !beginsBlock(lines, next)) {
    body.append(row("td", cells(lines[next])));
    next += 1;
  }
  const table = el("table", {}, el("thead", {}, row("th", cells(lines[at]))), body);
  return { node: el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Table" }, table), next };
}

function beginsBlock(lines, at) {
  const line = lines[at];
  const item = ITEM.exec(line);
  return Boolean(
    fenceOf(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
      (item && item[0].length < line.length && (item[2].length === 1 || parseInt(item[2], 10) === 1)),
  );
}

function readParagraph(lines, at) {
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !beginsBlock(lines, next) && !isTable(lines, next)) next += 1;
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n").trimEnd();
  return { node: el("p", {}, inline(text)), next };
}
