// A listing: its language, a copy button, coloured lines. Grows by lines; what looks the same stays.
import { copyButton, el } from "./dom.js";
import { highlight, languageOf } from "./highlight.js";

/** While a listing grows, no more lines than these are coloured anew together, and longer ones not at all. */
const TOGETHER = 60;
const LONG = 1000;

/**
 * `update(lines, complete)` draws the lines so far; the last one may still grow unless `complete`. Lines given
 * before must be the same again.
 */
export function listing(info) {
  const language = languageOf(info);
  const body = el("code");
  const name = language || "text";
  const drawn = []; // of every line its nodes, and what they show
  let lines = [];
  let first = 0; // the line from which colours may still change

  const node = el(
    "figure",
    { class: "listing" },
    el("figcaption", {}, el("span", { textContent: name }), copyButton("Copy the code", () => lines.join("\n"))),
    el("pre", { tabIndex: 0, role: "group", "aria-label": `Code, ${name}` }, body),
  );

  function draw(from, coloured) {
    const shown = coloured.map((pieces) => JSON.stringify(pieces));
    let same = 0;
    while (same < shown.length && drawn[from + same]?.shown === shown[same]) same += 1;
    for (const line of drawn.splice(from + same)) for (const piece of line.nodes) piece.remove();
    const fresh = document.createDocumentFragment();
    for (let at = same; at < shown.length; at += 1) {
      const nodes = nodesOf(coloured[at], drawn.length > 0);
      drawn.push({ nodes, shown: shown[at] });
      fresh.append(...nodes);
    }
    body.append(fresh);
  }

  return {
    node,
    info,
    update(now, complete) {
      lines = now;
      const last = lines.length - 1; // this one grows
      if (complete || last < 0) {
        draw(0, highlight(lines, language).lines);
        return;
      }
      const above = highlight([...lines.slice(first, last), ""], language);
      above.lines.pop();
      if (last > first && (above.atTop || last - first > TOGETHER)) {
        draw(first, above.lines.splice(0));
        first = last;
      }
      draw(first, lines[last].length > LONG ? [...above.lines, [["", lines[last]]]] : highlight(lines.slice(first), language).lines);
    },
  };
}

function nodesOf(pieces, below) {
  const nodes = pieces.map(([kind, text]) =>
    kind ? el("span", { class: `code-${kind}`, textContent: text }) : document.createTextNode(text),
  );
  if (below) nodes.unshift(document.createTextNode("\n"));
  return nodes;
}
