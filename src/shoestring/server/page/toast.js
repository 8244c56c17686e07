// A line below the head of the page, for some seconds: there it covers no button of the last message.
import { announce, el } from "./dom.js";

let fading = 0;

/** Shows a line, with a button if there is a `label`. */
export function toast(text, label, press) {
  const holder = document.getElementById("toast");
  const hide = () => (holder.hidden = true);
  const button = label && el("button", { type: "button", class: "button", textContent: label, onclick: () => (hide(), press()) });
  holder.replaceChildren(el("span", { textContent: text }), button ?? "");
  holder.hidden = false;
  announce(text);
  clearTimeout(fading);
  fading = setTimeout(hide, 8000);
}
