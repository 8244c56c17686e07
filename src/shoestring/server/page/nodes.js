// Turn markdown's tokens into document nodes: a fixed set of elements, and text only as text nodes. DOMPurify checks
// every block. Listings and formulas, which are safe already, join the block after that.
import { listing } from "./code.js";
import { el } from "./dom.js";
import { formula } from "./formulas.js";
import { purified } from "./purify.js";

const TASK = /^\[([ xX])\] +/;
/** Emphasis nested deeper than this is not drawn. */
const DEEPEST = 24;

/**
 * The view of a block: `node`, and what it needs to grow. `lines`: the text that the tokens' maps count in.
 * `live`: the earlier view of the same block; its unchanged nodes stay in the document. `grows`: more lines may follow.
 */
export function blockView(tokens, lines, live, grows) {
  const { type, map, attrs } = tokens[0];
  if (type === "paragraph_open") return paragraphView(tokens, live);
  if (type === "fence") return listingView(tokens[0], live, grows && !isClosed(tokens[0]));
  const isTable = type === "table_open";
  // A list grows by items, a table by the rows below its head.
  const isPart = (one) =>
    isTable ? one.type === "tr_open" && one.map[0] > map[0] : one.type === "list_item_open" && one.level === 1;
  const starts = tokens.flatMap((token, at) => (isPart(token) ? [at] : []));
  const keys = starts.map((at) => lines.slice(...tokens[at].map).join("\n"));
  // What else the look of the parts depends on.
  const frame = JSON.stringify(isTable ? lines.slice(map[0], map[0] + 2) : [type, attrs, looseness(tokens, 0)]);
  let same = 0;
  if (live?.frame === frame) while (same < keys.length - 1 && live.keys[same] === keys[same]) same += 1;
  if (same === 0) return { node: block(tokens), frame, keys };
  const fresh = block([...tokens.slice(0, starts[0]), ...tokens.slice(starts[same])]);
  const [rows, more] = [live.node, fresh].map((node) => (isTable ? node.querySelector("tbody") : node));
  while (rows.children.length > same) rows.lastChild.remove();
  rows.append(...more.children);
  return { node: live.node, frame, keys };
}

// A paragraph grows by what stands at its top level: text, line breaks, whole elements. Each of these is one node.
function paragraphView([opening, inline, closing], live) {
  const { children } = inline;
  const starts = [];
  let depth = 0;
  children.forEach(({ nesting }, at) => {
    if (depth === 0) starts.push(at);
    depth += nesting;
  });
  const isText = (at, end) => end === at + 1 && children[at].type === "text";
  const keys = starts.map((at, part) => {
    const end = starts[part + 1] ?? children.length;
    return isText(at, end) ? `text ${children[at].content}` : JSON.stringify(children.slice(at, end));
  });
  let same = 0;
  const isLive = live?.paragraph && live.node.childNodes.length === live.keys.length;
  if (isLive) while (same < keys.length - 1 && live.keys[same] === keys[same]) same += 1;
  if (same === 0) return { node: block([opening, inline, closing]), paragraph: true, keys };
  const fresh = block([opening, { ...inline, children: children.slice(starts[same]) }, closing]);
  while (live.node.childNodes.length > same) live.node.lastChild.remove();
  live.node.append(...fresh.childNodes);
  return { node: live.node, paragraph: true, keys };
}

function block(tokens) {
  const later = [];
  const node = purified(drawn(tokens, later).firstChild);
  for (const [empty, safe] of later) empty.replaceWith(safe);
  return node;
}

// The nodes of block or inline tokens. `later` collects [placeholder, node] for what must not pass DOMPurify again.
function drawn(tokens, later) {
  const top = document.createDocumentFragment();
  const open = [top];
  tokens.forEach((token, at) => {
    const here = open[open.length - 1];
    if (token.nesting < 0) open.pop();
    else if (token.nesting === 0) here.append(leaf(token, here, later));
    else {
      const [outer, inner] = opened(tokens, at);
      const isShown = token.block || open.length <= DEEPEST;
      if (isShown) here.append(outer);
      open.push(isShown ? inner : here);
    }
  });
  return top;
}

function leaf(token, here, later) {
  const place = (node) => {
    const empty = el("div");
    later.push([empty, node]);
    return empty;
  };
  switch (token.type) {
    case "inline":
      return drawn(token.children, later);
    case "fence":
      return place(listingView(token, null, false).node);
    case "formula":
      return place(formula(token));
    case "formula_block":
      return el("p", {}, place(formula(token)));
    case "image": {
      // Images are linked, never loaded. A link cannot contain another.
      const node = here.closest?.("a") ? el("span") : link(token.attrGet("src"));
      node.append("Image: ", drawn(token.children, later));
      return node;
    }
    default: // code, line breaks, rules; text has no tag
      return token.tag ? el(token.tag, { textContent: token.content }) : token.content;
  }
}

function listingView(token, live, grows) {
  const view = live?.info === token.info ? live : listing(token.info);
  view.update(linesOf(token), !grows);
  return view;
}

/** Whether the fence has its last line. */
export function isClosed(token) {
  return token.map[1] - token.map[0] - 1 > linesOf(token).length;
}

function linesOf({ content }) {
  return content ? content.replace(/\n$/, "").split("\n") : [];
}

// The element that a token opens, and the element inside it that takes the following nodes.
function opened(tokens, at) {
  const token = tokens[at];
  const same = (node) => [node, node];
  switch (token.type) {
    case "heading_open": {
      // The page's own headings are levels 1 and 2.
      const level = Number(token.tag[1]);
      return same(el(`h${Math.min(level + 2, 6)}`, { class: `level-${level}` }));
    }
    case "bullet_list_open":
    case "ordered_list_open":
      return same(el(token.tag, { class: looseness(tokens, at), start: token.attrGet("start") }));
    case "list_item_open":
      return listItem(tokens[at + 2]);
    case "table_open": {
      const table = el("table");
      return [el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Table" }, table), table];
    }
    case "th_open":
    case "td_open": {
      const side = /center|right/.exec(token.attrGet("style") ?? "")?.[0] ?? "left";
      return same(el(token.tag, { class: side === "center" ? "centre" : side }));
    }
    case "link_open":
      return same(link(token.attrGet("href")));
    case "s_open":
      return same(el("del"));
  }
  return same(el(token.tag));
}

function looseness(tokens, at) {
  const { level } = tokens[at];
  for (let next = at + 1; tokens[next]?.level > level; next += 1)
    if (tokens[next].type === "paragraph_open" && tokens[next].level === level + 2) return tokens[next].hidden ? "tight" : "loose";
  return "tight";
}

// An item whose text begins with [ ] or [x] is a task.
function listItem(token) {
  const first = token?.type === "inline" ? token.children[0] : null;
  const task = first?.type === "text" ? TASK.exec(first.content) : null;
  const item = el("li");
  if (!task) return [item, item];
  first.content = first.content.slice(task[0].length);
  const done = task[1] !== " ";
  const box = el("span", { class: "box", role: "img", "aria-label": done ? "done" : "to do", textContent: done ? "☑" : "☐" });
  const body = el("div");
  item.className = "task";
  item.append(box, body);
  return [item, body];
}

function link(href) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" });
}
