// A listing: its language, a copy button, coloured lines. Grows by lines; what is drawn stays.
import { copyButton, el } from "./dom.js";
import { highlighter, languageOf } from "./highlight.js";

/**
 * `update(lines, complete)` draws the lines so far; the last one may still grow unless `complete`. Lines given
 * before must be the same again.
 */
export function listing(info) {
  const language = languageOf(info);
  const colour = highlighter(language);
  const body = el("code");
  const name = language || "text";
  let lines = [];
  let drawn = 0;
  let tail = [];

  const node = el(
    "figure",
    { class: "listing" },
    el("figcaption", {}, el("span", { textContent: name }), copyButton("Copy the code", () => lines.join("\n"))),
    el("pre", { tabIndex: 0, role: "group", "aria-label": `Code, ${name}` }, body),
  );

  return {
    node,
    info,
    update(now, complete) {
      lines = now;
      for (const piece of tail) piece.remove();
      const settled = complete ? lines.length : Math.max(drawn, lines.length - 1);
      const fresh = document.createDocumentFragment();
      for (; drawn < settled; drawn += 1) fresh.append(...draw(colour(lines[drawn]), drawn > 0));
      body.append(fresh);
      tail = drawn < lines.length ? draw(colour(lines[drawn], true), drawn > 0) : [];
      body.append(...tail);
    },
  };
}

function draw(pieces, below) {
  const nodes = pieces.map(([kind, text]) =>
    kind ? el("span", { class: `code-${kind}`, textContent: text }) : document.createTextNode(text),
  );
  if (below) nodes.unshift(document.createTextNode("\n"));
  return nodes;
}
