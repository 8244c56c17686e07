// Formulas: \( \) and $ $ inside a line, \[ \] and $$ $$ as blocks. KaTeX turns them into MathML, which the browser
// draws. What KaTeX does not understand stays text. A formula contains no backtick, so that code is never a formula,
// and no blank line, so that an opening mark without a closing one changes nothing below it.
import { el } from "./dom.js";
import { purified } from "./purify.js";
import "./vendor/katex.min.js";

// The marks of displays.
const DISPLAYS = { "\\[": "\\]", $$: "$$" };
const PAIRS = { "\\(": "\\)", ...DISPLAYS };
const LONGEST = 4000;
// $5 and $10 are prices: a closing dollar follows a character other than a space, and no letter or digit follows it.
const DOLLARS = /\$(?=[^\s$])([^$\n`]{0,300}?[^\s$\\`])\$(?![\p{L}\p{N}$])/uy;

/** Adds formulas to markdown-it, as tokens "formula" and "formula_block". */
export function formulas(md) {
  md.inline.ruler.before("escape", "formula", inlineRule);
  md.block.ruler.before("fence", "formula_block", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
}

function inlineRule(state, silent) {
  const { src, pos, posMax } = state;
  const open = src.slice(pos, pos + 2);
  const close = PAIRS[open];
  let end = -1;
  if (close) end = closing(state, close);
  else if (src[pos] === "$") end = closingDollar(src, pos);
  if (end < 0 || end > posMax) return false;
  if (!silent) push(state, "formula", src.slice(pos, end), close ? 2 : 1, open in DISPLAYS);
  state.pos = end;
  return true;
}

function push(state, type, source, marks, display) {
  const token = state.push(type, "math", 0);
  token.content = source.slice(marks, -marks).trim();
  token.info = source;
  token.meta = { display };
  return token;
}

// The position after the mark that closes the formula at `state.pos`, or -1. `inVain` remembers where a search failed,
// so that a text full of opening marks is read once.
function closing(state, close) {
  state.inVain ??= {};
  const from = state.pos + 2;
  if (from <= (state.inVain[close] ?? -1)) return -1;
  const end = state.src.indexOf(close, from);
  const code = state.src.indexOf("`", from);
  if (end >= 0 && (code < 0 || end < code)) return state.src.slice(from, end).trim() ? end + 2 : -1;
  state.inVain[close] = end < 0 ? Infinity : code;
  return -1;
}

function closingDollar(src, pos) {
  if (/[\p{L}\p{N}$]/u.test(src[pos - 1] ?? "")) return -1;
  DOLLARS.lastIndex = pos;
  const hit = DOLLARS.exec(src);
  if (!hit) return -1;
  // Text with spaces is a formula if it has TeX's characters, or has no words and does not begin with a number.
  const [whole, inner] = hit;
  const isFormula = /[\\^_{=]/.test(inner) || !/\s/.test(inner) || !/^\d|\p{L}{3}/u.test(inner);
  return isFormula ? pos + whole.length : -1;
}

function blockRule(state, start, end, silent) {
  const lineAt = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  const open = lineAt(start).slice(0, 2);
  const close = DISPLAYS[open];
  if (!close) return false;
  state.env.inVain ??= {};
  const known = state.env.inVain[close];
  if (known && start < known.line && state.blkIndent >= known.indent) return false;
  const lines = [];
  let line = start;
  for (; line < end && (line === start || (!state.isEmpty(line) && state.sCount[line] >= state.blkIndent)); line += 1) {
    const text = lineAt(line);
    lines.push(text);
    if (text.includes("`")) break;
    const at = text.indexOf(close, line === start ? 2 : 0);
    if (at < 0) continue;
    const source = lines.join("\n").trim();
    if (text.slice(at + 2).trim() || !source.slice(2, -2).trim()) break;
    noteOpen(state, start, line + 1);
    if (!silent) {
      state.line = line + 1;
      push(state, "formula_block", source, 2, true).map = [start, state.line];
    }
    return true;
  }
  state.env.inVain[close] = { line, indent: state.blkIndent };
  noteOpen(state, start, line);
  return false;
}

// A display that reaches the end of the text: further text may close it, or make it text again.
function noteOpen({ bMarks, env }, start, end) {
  if (end === bMarks.length - 1) env.openDisplay = Math.min(start, env.openDisplay ?? start);
}

const SETTINGS = {
  output: "mathml",
  strict: "ignore",
  maxExpand: 300,
  maxSize: 20,
  trust({ command }) {
    throw new Error(`${command} is not drawn`); // links, images and attributes
  },
};
const drawn = new Map();

/** The element of a formula's token. */
export function formula({ content, info, meta: { display } }) {
  const key = `${display} ${content}`;
  if (drawn.size > 500) drawn.clear();
  if (!drawn.has(key)) drawn.set(key, purified(draw(content, info, display)));
  return drawn.get(key).cloneNode(true);
}

function draw(tex, source, display) {
  const node = el("span", { class: display ? "math display" : "math" });
  try {
    if (tex.length > LONGEST) throw new RangeError("too long");
    const tree = globalThis.katex.__renderToDomTree(tex, { ...SETTINGS, displayMode: display });
    withoutStyles(tree);
    node.append(tree.toNode().firstChild);
  } catch {
    node.textContent = source;
  }
  return node;
}

// Remove style attributes, which the page's policy refuses; KaTeX sets a few.
function withoutStyles(tree) {
  if (tree.attributes) delete tree.attributes.style;
  tree.children?.forEach(withoutStyles);
}
