// What an empty conversation shows: the model, some first questions, the keys.
import { el, icon, number } from "./dom.js";

const STARTERS = [
  "Explain recursion in three sentences.",
  "Write a Python function that reverses the words of a line, with a test.",
  "Compare tea and coffee in a small table.",
];
const KEYS = [["Enter", "send"], ["↑", "edit the last"], ["Esc", "stop"], ["Ctrl K", "search, new chat"]];

/** Fills #empty. `trouble`: why no model is known. */
export function showOpening({ model, contextLength, trouble, send, loadModels }) {
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const facts = [
    model?.description,
    contextLength ? `Remembers ${number(contextLength)} tokens of a conversation.` : "",
    here ? "Runs on this machine; what you write stays on it." : `Runs on ${location.hostname}.`,
  ];
  const starters = STARTERS.map((text) =>
    el("button", { type: "button", class: "starter", textContent: text, onclick: () => send(text) }),
  );
  document.getElementById("empty").replaceChildren(
    el("p", { class: "dim", textContent: model ? "You are talking to" : trouble ? "No model" : "Asking the server" }),
    el("h2", { textContent: model?.id ?? (trouble || "…") }),
    ...(model ? facts.filter(Boolean).map((fact) => el("p", { textContent: fact })) : []),
    trouble && !model ? el("button", { type: "button", class: "button", onclick: loadModels }, icon("retry"), "Try again") : "",
    model ? el("div", { class: "starters" }, ...starters) : "",
    el("p", { class: "dim keys" }, ...KEYS.flatMap(([key, does]) => [el("kbd", { textContent: key }), ` ${does} `])),
  );
}
