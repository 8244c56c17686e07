// The views of what people write: their messages, and the results of tool calls. Both can be edited.
import { actionRow } from "./actions.js";
import { copyButton, el, iconButton } from "./dom.js";
import { mediaView } from "./media.js";

/** A message with more letters or lines than these is shown in a box that scrolls. */
const LONG = 3000;
const TALL = 30;

/**
 * The view of a message of the user: `{node, place(versions), edit()}`. `act`: what its buttons do: edit(words), remove,
 * before, after.
 */
export function userView(message, act) {
  const words = message.content ? el("div", { class: "words", textContent: message.content }) : null;
  if (words) makeScrollable(words, message.content);
  const body = el("div", {}, mediaView(message), words);
  return editable({ message, act, body, kind: "user", name: "You", changes: removable(act) });
}

/** The same for the result of a tool. It goes only with the answer that called the tool. */
export function resultView(message, act) {
  const words = el("pre", { textContent: message.content, tabIndex: 0 });
  const body = el("div", {}, el("p", { class: "dim", textContent: "Result of the tool" }), mediaView(message), words);
  return editable({ message, act, body, kind: "result", name: "Result of a tool", changes: [] });
}

function removable(act) {
  return [iconButton("trash", "Delete this message", act.remove)];
}

function editable({ message, act, body, kind, name, changes }) {
  const edit = iconButton("edit", "Edit this message", () => open());
  const copy = copyButton("Copy the message", () => message.content);
  const row = actionRow({ buttons: [copy], changes: [edit, ...changes], before: act.before, after: act.after });
  const foot = el("footer", {}, row.node);
  const heading = el("h2", { class: "unseen", textContent: name });
  const node = el("article", { class: kind, "aria-label": name, tabIndex: -1 }, heading, body, foot);

  function open() {
    if (!body.isConnected) return;
    const form = editor(message.content, {
      mayBeEmpty: Boolean(message.media?.length),
      save: (words) => act.edit(words),
      close() {
        form.replaceWith(body);
        foot.hidden = false;
        document.getElementById("words").focus();
      },
    });
    body.replaceWith(form);
    foot.hidden = true;
    const area = form.querySelector("textarea");
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  return { node, place: row.show, edit: open };
}

function editor(content, { save, close, mayBeEmpty }) {
  const rows = Math.min(14, Math.max(3, content.split("\n").length));
  const area = el("textarea", { value: content, "aria-label": "Edit your message", rows });
  const send = (event) => {
    event.preventDefault();
    const words = area.value.trim();
    close();
    if (words || mayBeEmpty) save(words);
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
    else return;
    event.stopPropagation();
  });
  const cancel = el("button", { type: "button", class: "button", textContent: "Cancel", onclick: close });
  const again = el("button", { type: "submit", class: "button main", textContent: "Send again" });
  return el("form", { class: "editing", onsubmit: send }, area, el("div", { class: "row" }, cancel, again));
}

function makeScrollable(body, content) {
  if (content.length < LONG && content.split("\n").length < TALL) return;
  body.classList.add("tall");
  body.tabIndex = 0;
  body.setAttribute("role", "group");
  body.setAttribute("aria-label", "Long message");
}
