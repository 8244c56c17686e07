// Tokens of markdown as document nodes: a fixed set of elements, text only as text nodes. Every block passes DOMPurify
// besides, before its listings and formulas, which have passed it before, are put in.
import { listing } from "./code.js";
import { el } from "./dom.js";
import { formula } from "./formulas.js";
import { purified } from "./purify.js";

const PLAIN = { blockquote_open: "blockquote", paragraph_open: "p", thead_open: "thead", tbody_open: "tbody", tr_open: "tr" };
const MARKS = { em_open: "em", strong_open: "strong", s_open: "del" };
const TASK = /^\[([ xX])\] +/;
/** Emphasis nested deeper is not drawn. */
const DEEPEST = 24;

/**
 * The view of a block: `node`, and what it needs to grow. `lines`: the text that the tokens' maps count in.
 * `live`: the view of the block that began at the same line before; what it shows already is not drawn again.
 * `grows`: more lines may come.
 */
export function blockView(tokens, lines, live, grows) {
  if (tokens[0].type === "fence") return listingView(tokens[0], live, grows && !isClosed(tokens[0]));
  const parts = partsOf(tokens);
  const keys = parts.map(([from]) => lines.slice(...tokens[from].map).join("\n"));
  const shape = JSON.stringify([tokens[0].type, tokens[0].attrs, parts.length && frameOf(tokens, lines)]);
  let same = 0;
  if (live?.shape === shape) while (same < keys.length && live.keys[same] === keys[same]) same += 1;
  if (same === 0) return { node: drawn(tokens), shape, keys };
  const fresh = drawn([...tokens.slice(0, parts[0][0]), ...tokens.slice(parts[same - 1][1])]);
  const rows = holder(live.node);
  while (rows.children.length > same) rows.lastChild.remove();
  rows.append(...(holder(fresh)?.children ?? []));
  return { node: live.node, shape, keys };
}

// The items of a list, the rows of a table: where each begins and ends in the tokens.
function partsOf(tokens) {
  const [type, level] = { table_open: ["tr", 2] }[tokens[0].type] ?? ["list_item", 1];
  const found = [];
  const begin = tokens.findIndex((token) => token.type === (level === 2 ? "tbody_open" : `${type}_open`));
  for (let at = Math.max(begin, 0); at < tokens.length; at += 1) {
    if (tokens[at].level !== level) continue;
    if (tokens[at].type === `${type}_open`) found.push([at]);
    else if (tokens[at].type === `${type}_close`) found[found.length - 1].push(at + 1);
  }
  return begin < 0 ? [] : found;
}

// What else than its parts the look of a list or table depends on.
function frameOf(tokens, lines) {
  const [begin] = tokens[0].map;
  return tokens[0].type === "table_open" ? lines.slice(begin, begin + 2) : looseness(tokens, 0);
}

function holder(node) {
  return node.localName === "div" ? node.querySelector("tbody") : node;
}

function drawn(tokens) {
  const top = document.createDocumentFragment();
  const open = [top];
  const later = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    const here = open[open.length - 1];
    if (token.nesting > 0) {
      const [outer, inner] = opened(tokens, at);
      here.append(outer);
      open.push(inner);
    } else if (token.nesting < 0) open.pop();
    else if (token.type === "inline") here.append(inline(token.children, later));
    else if (token.type === "hr") here.append(el("hr"));
    else if (token.type === "formula_block") here.append(el("p", {}, place(later, formula(token))));
    else here.append(place(later, listingView(token, null, false).node));
  }
  const block = purified(top.firstChild);
  for (const [empty, node] of later) empty.replaceWith(node);
  return block;
}

function place(later, node) {
  const empty = el("div");
  later.push([empty, node]);
  return empty;
}

function listingView(token, live, grows) {
  const view = live?.info === token.info ? live : listing(token.info);
  view.update(linesOf(token), !grows);
  return view;
}

/** Whether the fence's last line is there. */
export function isClosed(token) {
  return token.map[1] - token.map[0] - 1 > linesOf(token).length;
}

function linesOf({ content }) {
  return content ? content.replace(/\n$/, "").split("\n") : [];
}

// The element that a token opens, and the one in it that takes what follows.
function opened(tokens, at) {
  const token = tokens[at];
  if (token.type in PLAIN) return twice(el(PLAIN[token.type]));
  switch (token.type) {
    case "heading_open": {
      // The page's own headings are levels 1 and 2.
      const level = Number(token.tag[1]);
      return twice(el(`h${Math.min(level + 2, 6)}`, { class: `level-${level}` }));
    }
    case "bullet_list_open":
      return twice(el("ul", { class: looseness(tokens, at) }));
    case "ordered_list_open":
      return twice(el("ol", { class: looseness(tokens, at), start: token.attrGet("start") }));
    case "list_item_open":
      return listItem(tokens[at + 2]);
    case "table_open": {
      const table = el("table");
      return [el("div", { class: "wide", tabIndex: 0, role: "group", "aria-label": "Table" }, table), table];
    }
    default: {
      const side = /center|right/.exec(token.attrGet("style") ?? "")?.[0] ?? "left";
      return twice(el(token.tag, { class: side === "center" ? "centre" : side }));
    }
  }
}

function twice(node) {
  return [node, node];
}

function looseness(tokens, at) {
  const { level } = tokens[at];
  for (let next = at + 1; tokens[next].level > level; next += 1)
    if (tokens[next].type === "paragraph_open" && tokens[next].level === level + 2) return tokens[next].hidden ? "tight" : "loose";
  return "tight";
}

// An item whose text begins with [ ] or [x] is a task.
function listItem(token) {
  const first = token?.type === "inline" ? token.children[0] : null;
  const task = first?.type === "text" ? TASK.exec(first.content) : null;
  if (!task) return twice(el("li"));
  first.content = first.content.slice(task[0].length);
  const done = task[1] !== " ";
  const box = el("span", { class: "box", role: "img", "aria-label": done ? "done" : "to do", textContent: done ? "☑" : "☐" });
  const body = el("div");
  return [el("li", { class: "task" }, box, body), body];
}

function inline(tokens, later) {
  const top = document.createDocumentFragment();
  const open = [top];
  for (const token of tokens) {
    const here = open[open.length - 1];
    if (token.nesting < 0) open.pop();
    else if (token.nesting > 0) {
      const node = token.type === "link_open" ? link(token.attrGet("href")) : el(MARKS[token.type]);
      const drawn = open.length <= DEEPEST;
      if (drawn) here.append(node);
      open.push(drawn ? node : here);
    } else if (token.type === "softbreak" || token.type === "hardbreak") here.append(el("br"));
    else if (token.type === "code_inline") here.append(el("code", { textContent: token.content }));
    else if (token.type === "formula") here.append(place(later, formula(token)));
    else if (token.type === "image") here.append(imageLink(token, here, later));
    else here.append(token.content);
  }
  return top;
}

function link(href) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" });
}

// Images are linked, never loaded. No link inside a link.
function imageLink(token, here, later) {
  const node = here.closest?.("a") ? el("span") : link(token.attrGet("src"));
  node.append("Image: ", inline(token.children, later));
  return node;
}
