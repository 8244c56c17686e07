// Tokens of markdown as document nodes: a fixed set of elements, text only as text nodes. What a paragraph, a heading
// or a cell holds passes DOMPurify besides.
import { listing } from "./code.js";
import { el } from "./dom.js";
import { formula } from "./formulas.js";
import "./vendor/purify.min.js";

const PLAIN = { blockquote_open: "blockquote", paragraph_open: "p", thead_open: "thead", tbody_open: "tbody", tr_open: "tr" };
const MARKS = { em_open: "em", strong_open: "strong", s_open: "del" };
const TASK = /^\[([ xX])\] +/;
/** Emphasis nested deeper is not drawn. */
const DEEPEST = 24;

const MATHML =
  "math annotation menclose merror mfrac mi mlabeledtr mmultiscripts mn mo mover mpadded mphantom mroot mrow ms mspace " +
  "msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover semantics";
const ATTRIBUTES = (
  "class target rel accent accentunder columnalign columnlines columnspacing depth display displaystyle encoding fence height linebreak " +
  "linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines " +
  "rowspacing rspace scriptlevel separator side stretchy symmetric voffset width xmlns"
).split(" ");
const purify = globalThis.DOMPurify;
purify.setConfig({
  IN_PLACE: true,
  TRUSTED_TYPES_POLICY: null, // the page's policy allows none; nodes need none
  ALLOWED_TAGS: `p h3 h4 h5 h6 th td span a em strong del code br #text ${MATHML}`.split(" "),
  ALLOWED_ATTR: ["href", ...ATTRIBUTES],
  ADD_URI_SAFE_ATTR: ATTRIBUTES, // no addresses: the pattern below is for href alone
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
});

/** The nodes of whole blocks. `live`: the view of a listing to use for the first token. */
export function nodes(tokens, live = null) {
  const top = document.createDocumentFragment();
  const open = [top];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    const here = open[open.length - 1];
    if (token.nesting > 0) {
      const [outer, inner] = opened(tokens, at);
      here.append(outer);
      open.push(inner);
    } else if (token.nesting < 0) open.pop();
    else if (token.type === "inline") {
      here.append(inline(token.children));
      purify.sanitize(here);
    } else if (token.type === "hr") here.append(el("hr"));
    else if (token.type === "formula_block") here.append(purify.sanitize(el("p", {}, formula(token))));
    else here.append(drawListing(token, at === 0 ? live : null).node);
  }
  return [...top.childNodes];
}

/** The view of a fenced token, grown if `live` is one of the same language. */
export function drawListing(token, live) {
  const view = live?.info === token.info ? live : listing(token.info);
  view.update(linesOf(token), isClosed(token));
  return view;
}

function linesOf({ content }) {
  return content ? content.replace(/\n$/, "").split("\n") : [];
}

/** Whether the fence's last line is there. */
export function isClosed(token) {
  return token.map[1] - token.map[0] - 1 > linesOf(token).length;
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

function inline(tokens) {
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
    else if (token.type === "formula") here.append(formula(token));
    else if (token.type === "image") here.append(imageLink(token, here));
    else here.append(token.content);
  }
  return top;
}

function link(href) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" });
}

// Images are linked, never loaded. No link inside a link.
function imageLink(token, here) {
  const node = here.closest?.("a") ? el("span") : link(token.attrGet("src"));
  node.append("Image: ", inline(token.children));
  return node;
}
