// Parse markdown with markdown-it, set up for what models write. The result is tokens, never markup.
import "./vendor/markdown-it.umd.min.js";
import { formulas } from "./formulas.js";

const SPACE = /\s/;
const WORD = /[\p{L}\p{N}]/u;

/** The address if links to it are allowed, else "". */
function safeAddress(raw) {
  try {
    const url = new URL(raw);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

const markdown = globalThis.markdownit({ html: false, breaks: true, linkify: true, maxNesting: 24 });
// With references, a later line could change an earlier block. What looks like indented code or an underlined heading
// is, in an answer, nearly always badly indented text or a rule below a paragraph.
markdown.disable(["code", "lheading", "reference"]);
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
markdown.normalizeLink = (raw) => safeAddress(raw.replaceAll("\0", "|"));
markdown.normalizeLinkText = (text) => text;
markdown.validateLink = (address) => address !== "";
markdown.use(lineBreaks).use(looseEmphasis).use(barsInCode).use(formulas);

/** `{tokens, openDisplay}` of a text. openDisplay: the first line of a display formula that may still change. */
export function parse(text) {
  const env = {};
  return { tokens: markdown.parse(text, env), openDisplay: env.openDisplay ?? Infinity };
}

// <br>, the only HTML tag that models write inside tables.
function lineBreaks(md) {
  const tag = /<br ?\/?>/iy;
  md.inline.ruler.before("autolink", "br", (state, silent) => {
    tag.lastIndex = state.pos;
    const hit = tag.exec(state.src);
    if (!hit) return false;
    if (!silent) state.push("hardbreak", "br", 0);
    state.pos += hit[0].length;
    return true;
  });
}

// CommonMark requires spaces around **“quoted”**, which Chinese and Japanese text does not have.
function looseEmphasis(md) {
  md.inline.State.prototype.scanDelims = function (start, insideWords) {
    let end = start;
    while (end < this.posMax && this.src[end] === this.src[start]) end += 1;
    const before = this.src[start - 1] ?? " ";
    const after = this.src[end] ?? " ";
    return {
      can_open: !SPACE.test(after) && (insideWords || !WORD.test(before)),
      can_close: !SPACE.test(before) && (insideWords || !WORD.test(after)),
      length: end - start,
    };
  };
}

// A table's cell may contain `a|b`: hide bars inside code from the rule that splits cells. NUL stands for such a bar,
// because markdown-it has already replaced every NUL of the text.
function barsInCode(md) {
  md.core.ruler.after("normalize", "hide_bars", (state) => {
    if (state.src.includes("|") && state.src.includes("`")) state.src = state.src.split("\n").map(hideBars).join("\n");
  });
  md.core.ruler.after("inline", "show_bars", (state) => {
    const show = (token) => {
      token.content = token.content.replaceAll("\0", "|");
      token.info = token.info.replaceAll("\0", "|");
      token.children?.forEach(show);
    };
    if (state.src.includes("\0")) state.tokens.forEach(show);
  });
}

function hideBars(line) {
  if (!line.includes("|") || !line.includes("`")) return line;
  const marks = [...line.matchAll(/`+/g)];
  let shown = "";
  let from = 0;
  for (let at = 0; at < marks.length; at += 1) {
    let close = at + 1;
    while (close < marks.length && marks[close][0] !== marks[at][0]) close += 1;
    if (close === marks.length) continue;
    shown += line.slice(from, marks[at].index);
    from = marks[close].index;
    shown += line.slice(marks[at].index, from).replace(/(?<!\\)\|/g, "\0");
    at = close;
  }
  return shown + line.slice(from);
}
