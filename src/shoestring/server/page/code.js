// A listing: its language, a copy button, coloured lines. Grows by lines; what looks the same stays.
import { copyButton, el } from "./dom.js";
import { highlight, languageOf } from "./highlight.js";

/** While a listing grows, no more lines than these are coloured anew together; the whole is once it is complete. */
const TOGETHER = 60;

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
      if (complete) {
        draw(0, highlight(lines, language).lines);
        return;
      }
      const growing = lines.length - 1; // this one grows
      if (growing > first && (growing - first > TOGETHER || highlight([...lines.slice(first, growing), ""], language).atTop)) {
        draw(first, highlight(lines.slice(first, growing), language).lines);
        first = growing;
      }
      draw(first, highlight(lines.slice(first), language).lines);
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
