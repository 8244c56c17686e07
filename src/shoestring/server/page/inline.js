// The inside of a paragraph: emphasis, code, links, line breaks. Linear in the text, whatever the text.
// Markup of HTML stays text. Only http, https and mailto become links; images are linked, never loaded.
import { el } from "./dom.js";

const SPECIAL = /[\\`*_~[\]!<&\n$]|https?:\/\//g;
const TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))?\s*\)/y;
const BARE = /https?:\/\/[!#-&(-;=?-_a-~]{1,2000}/y;
const BRACKETED = /<((?:https?:\/\/|mailto:)[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/y;
const ENTITY = /&(?:(amp|lt|gt|quot|apos|nbsp)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));/y;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };
const BREAK = /<br ?\/?>/iy;
const MATHS = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };
const DEEPEST = 24;

/** The text as nodes. */
export function inline(text) {
  return assemble(pieces(text));
}

/** The address if it is one that may be linked, else null. */
export function safeAddress(raw) {
  try {
    const url = new URL(raw);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

// A piece is {text}, {node} or a delimiter {char, count, …} with the tags that close and open at it.
function pieces(text) {
  const found = [];
  const stack = { last: null };
  const brackets = [];
  const absent = new Set();
  let codeRuns = null;
  let at = 0;
  const say = (words) => words && found.push({ text: words });

  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const hit = SPECIAL.exec(text);
    if (!hit) break;
    say(text.slice(at, hit.index));
    at = hit.index;
    const char = text[at];

    const math = mathAt(text, at, absent);
    if (math) {
      found.push({ node: el("span", { class: "math", textContent: math }) });
      at += math.length;
    } else if (char === "\\") {
      if (text[at + 1] === "\n") found.push({ node: el("br") });
      else say(/[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? text[at + 1] : `\\${text[at + 1] ?? ""}`);
      at += 2;
    } else if (char === "`") {
      codeRuns ??= runsOf(text);
      const length = runLength(text, at, "`");
      const close = codeRuns.after(length, at + length);
      if (close < 0) say("`".repeat(length));
      else found.push({ node: el("code", { textContent: codeText(text.slice(at + length, close)) }) });
      at = close < 0 ? at + length : close + length;
    } else if (char === "*" || char === "_" || char === "~") {
      const length = runLength(text, at, char);
      found.push(delimiter(stack, text, at, char, length));
      at += length;
    } else if (char === "[" || (char === "!" && text[at + 1] === "[")) {
      const opening = { text: char === "!" ? "![" : "[", image: char === "!", below: stack.last, active: true };
      found.push(opening);
      brackets.push(opening);
      at += opening.text.length;
    } else if (char === "]") {
      at += 1 + closeBracket(text, at, found, stack, brackets);
    } else if (char === "\n") {
      found.push({ node: el("br") });
      at += 1;
      while (text[at] === " ") at += 1;
    } else {
      at += literal(text, at, found);
    }
  }
  say(text.slice(at));
  pair(stack, null);
  return found;
}

// Addresses, entities and <br> at `at`; else the one character. Says how long it is.
function literal(text, at, found) {
  const match = (pattern) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  let hit;
  if (text[at] === "h" && !/\w/.test(text[at - 1] ?? "") && (hit = match(BARE))) {
    const address = trimmed(hit[0]);
    const href = safeAddress(address);
    found.push(href ? { node: link(href, address) } : { text: address });
    return address.length;
  }
  if (text[at] === "<" && (hit = match(BRACKETED))) {
    const href = safeAddress(hit[1].includes(":") ? hit[1] : `mailto:${hit[1]}`);
    found.push(href ? { node: link(href, hit[1]) } : { text: hit[0] });
    return hit[0].length;
  }
  if (text[at] === "<" && (hit = match(BREAK))) {
    found.push({ node: el("br") });
    return hit[0].length;
  }
  if (text[at] === "&" && (hit = match(ENTITY))) {
    const code = hit[2] ? parseInt(hit[2], 10) : parseInt(hit[3], 16);
    found.push({ text: hit[1] ? NAMED[hit[1]] : code > 0 && code < 0x110000 ? String.fromCodePoint(code) : hit[0] });
    return hit[0].length;
  }
  found.push({ text: text[at] });
  return 1;
}

function link(href, text) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer", textContent: text });
}

// Punctuation after a bare address belongs to the sentence.
function trimmed(address) {
  for (;;) {
    const last = address[address.length - 1];
    const unbalanced = last === ")" && address.split(")").length > address.split("(").length;
    if (!unbalanced && !".,;:!?*_~]".includes(last)) return address;
    address = address.slice(0, -1);
  }
}

// A formula is shown as it was written: no renderer of TeX lives here.
function mathAt(text, at, absent) {
  const two = text.slice(at, at + 2);
  const close = MATHS[two];
  if (close && !absent.has(close)) {
    const end = text.indexOf(close, at + 2);
    if (end > at + 2) return text.slice(at, end + 2);
    if (end < 0) absent.add(close);
  } else if (!close && text[at] === "$") {
    const inner = /\$(?=[^\s$])[^$\n]{0,300}?[^\s$\\]\$(?!\d)/y;
    inner.lastIndex = at;
    const hit = inner.exec(text);
    if (hit && /[\\^_{=]/.test(hit[0])) return hit[0];
  }
  return null;
}

function runLength(text, at, char) {
  let end = at;
  while (text[end] === char) end += 1;
  return end - at;
}

// Where runs of backticks stand, by length, so that looking for a closing one is never a scan.
function runsOf(text) {
  const places = new Map();
  for (const run of text.matchAll(/`+/g)) {
    const length = run[0].length;
    if (!places.has(length)) places.set(length, { at: [], next: 0 });
    places.get(length).at.push(run.index);
  }
  return {
    after(length, from) {
      const known = places.get(length);
      while (known.next < known.at.length && known.at[known.next] < from) known.next += 1;
      return known.at[known.next] ?? -1;
    },
  };
}

function codeText(text) {
  const flat = text.replaceAll("\n", " ");
  return flat.startsWith(" ") && flat.endsWith(" ") && flat.trim() ? flat.slice(1, -1) : flat;
}

function delimiter(stack, text, at, char, count) {
  const before = text[at - 1] ?? " ";
  const after = text[at + count] ?? " ";
  const open = !/\s/.test(after);
  const close = !/\s/.test(before);
  const word = /[\p{L}\p{N}]/u;
  const piece = {
    char,
    count,
    original: count,
    canOpen: open && (char !== "_" || !word.test(before)) && (char !== "~" || count === 2),
    canClose: close && (char !== "_" || !word.test(after)) && (char !== "~" || count === 2),
    opens: [],
    closes: [],
    prev: stack.last,
    next: null,
  };
  if (stack.last) stack.last.next = piece;
  stack.last = piece;
  return piece;
}

function unlink(stack, piece) {
  if (piece.prev) piece.prev.next = piece.next;
  if (piece.next) piece.next.prev = piece.prev;
  else stack.last = piece.prev;
}

// CommonMark's pairing of delimiters above `bottom`; what finds no partner is not looked for again.
function pair(stack, bottom) {
  const floors = new Map();
  let closer = stack.last;
  while (closer && closer !== bottom && closer.prev !== bottom) closer = closer.prev;
  if (closer === bottom) closer = null;
  while (closer) {
    const next = closer.next;
    if (!closer.canClose) {
      closer = next;
      continue;
    }
    const kind = `${closer.char}${closer.canOpen}${closer.original % 3}`;
    const floor = floors.has(kind) ? floors.get(kind) : bottom;
    let opener = closer.prev;
    while (opener && opener !== bottom && opener !== floor && !matches(opener, closer)) opener = opener.prev;
    if (!opener || opener === bottom || opener === floor) {
      floors.set(kind, closer.prev);
      if (!closer.canOpen) unlink(stack, closer);
      closer = next;
      continue;
    }
    const used = opener.count >= 2 && closer.count >= 2 ? 2 : 1;
    const tag = closer.char === "~" ? "del" : used === 2 ? "strong" : "em";
    opener.next = closer;
    closer.prev = opener;
    opener.count -= used;
    closer.count -= used;
    opener.opens.unshift({ tag });
    closer.closes.push(tag);
    if (opener.count === 0) unlink(stack, opener);
    if (closer.count === 0) {
      closer = closer.next;
      unlink(stack, closer ? closer.prev : stack.last);
    }
  }
  stack.last = bottom;
  if (bottom) bottom.next = null;
}

function matches(opener, closer) {
  if (opener.char !== closer.char || !opener.canOpen) return false;
  const both = opener.canClose || closer.canOpen;
  return !(both && (opener.original + closer.original) % 3 === 0 && (opener.original % 3 || closer.original % 3));
}

// At a "]": makes a link of what stands since its "[", if an address follows. Says how long the address is.
function closeBracket(text, at, found, stack, brackets) {
  const opening = brackets.pop();
  TARGET.lastIndex = at + 1;
  const hit = opening?.active ? TARGET.exec(text) : null;
  const href = hit ? safeAddress((hit[1] ?? hit[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1")) : null;
  if (!href) {
    found.push({ text: "]" });
    return 0;
  }
  pair(stack, opening.below);
  opening.text = opening.image ? "Image: " : "";
  opening.opens = [{ tag: "a", href }];
  found.push({ closes: ["a"], count: 0, opens: [] });
  // No link inside a link.
  if (!opening.image) for (const outer of brackets) outer.active = outer.image;
  while (brackets.length && !brackets[brackets.length - 1].active) brackets.pop();
  return hit[0].length;
}

function assemble(found) {
  const top = document.createDocumentFragment();
  const open = [top];
  const depth = [];
  for (const piece of found) {
    for (const _ of piece.closes ?? []) if (depth.pop()) open.pop();
    const here = open[open.length - 1];
    if (piece.node) here.append(piece.node);
    else if (piece.char && piece.count) here.append(piece.char.repeat(piece.count));
    for (const { tag, href } of piece.opens ?? []) {
      const drawn = open.length <= DEEPEST;
      depth.push(drawn);
      if (!drawn) continue;
      const node = tag === "a" ? link(href, "") : el(tag);
      open[open.length - 1].append(node);
      open.push(node);
    }
    if (piece.text) open[open.length - 1].append(piece.text);
  }
  top.normalize();
  return top;
}
