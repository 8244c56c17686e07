// A listing: its language, a copy button, coloured lines. It grows line by line; nodes that stay equal are kept.
import { copyButton, el } from "./dom.js";
import { highlight, languageOf } from "./highlight.js";

/** While a listing grows, at most this many lines are coloured again at once, and longer lines not at all. */
const TOGETHER = 60;
const LONG = 1000;

/**
 * `update(lines, complete)` draws the lines so far; unless `complete`, the last one may still grow. Earlier lines must
 * stay the same from call to call.
 */
export function listing(info) {
  const language = languageOf(info);
  const body = el("code");
  const name = language || "text";
  let lines = [];
  let first = 0; // the line from which colours may still change
  let above = 0; // nodes of the lines before it

  const node = el(
    "figure",
    { class: "listing" },
    el("figcaption", {}, el("span", { textContent: name }), copyButton("Copy the code", () => lines.join("\n"))),
    el("pre", { tabIndex: 0, role: "group", "aria-label": `Code, ${name}` }, body),
  );

  function draw(coloured) {
    const lineBreak = ["", "\n"];
    const nodes = coloured.flatMap((pieces, at) => [...(first + at > 0 ? [lineBreak] : []), ...pieces].map(nodeOf));
    let same = 0;
    while (same < nodes.length && body.childNodes[above + same]?.isEqualNode(nodes[same])) same += 1;
    while (body.childNodes.length > above + same) body.lastChild.remove();
    body.append(...nodes.slice(same));
  }

  return {
    node,
    info,
    update(now, complete) {
      lines = now;
      const last = lines.length - 1; // this one grows
      if (complete || last < 0) {
        first = above = 0;
        draw(highlight(lines, language).lines);
        return;
      }
      const settled = highlight([...lines.slice(first, last), ""], language);
      settled.lines.pop();
      if (last > first && (settled.atTop || last - first > TOGETHER)) {
        draw(settled.lines.splice(0));
        first = last;
        above = body.childNodes.length;
      }
      draw(lines[last].length > LONG ? [...settled.lines, [["", lines[last]]]] : highlight(lines.slice(first), language).lines);
    },
  };
}

function nodeOf([kind, text]) {
  return kind ? el("span", { class: `code-${kind}`, textContent: text }) : document.createTextNode(text);
}
