// Search over all conversations: titles, messages and their other versions.
import { el } from "./dom.js";

const MOST_HITS = 40;
const BEFORE = 40;
const AFTER = 120;

/**
 * The conversations that contain every word, in the given order: [{conversation, message, found}]. `message` is the first
 * one with all of the words, or with any; null if the title has them all. `found` matches the words.
 */
export function search(conversations, query) {
  const words = query.trim().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const patterns = words.map((word) => new RegExp(escaped(word), "iu"));
  const found = new RegExp(words.map(escaped).join("|"), "giu");
  const hits = [];
  for (const conversation of conversations) {
    const inTitle = patterns.map((pattern) => pattern.test(conversation.title));
    const isComplete = (content) => patterns.every((pattern) => pattern.test(content));
    const open = patterns.filter((pattern, at) => !inTitle[at]);
    if (!open.every((pattern) => conversation.messages.some(({ content }) => pattern.test(content)))) continue;
    const message =
      conversation.messages.find(({ content }) => isComplete(content)) ??
      (open.length ? conversation.messages.find(({ content }) => open.some((pattern) => pattern.test(content))) : null) ??
      null;
    hits.push({ conversation, message, found });
  }
  return hits;
}

function escaped(word) {
  return word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/**
 * The dialog #search: `{open()}`. `act`: `conversations()` in the order of the list, `open(conversation, message)` and
 * `startNew()`.
 */
export function searchDialog(act) {
  const dialog = document.getElementById("search");
  const field = document.getElementById("search-field");
  const list = document.getElementById("search-hits");
  const count = document.getElementById("search-count");
  let choices = []; // what Enter does for each line
  let chosen = 0;

  function show() {
    const query = field.value.trim();
    const hits = query
      ? search(act.conversations(), query)
      : act.conversations().map((conversation) => ({ conversation, message: null, found: null }));
    const shown = hits.slice(0, MOST_HITS);
    choices = shown.map(({ conversation, message }) => () => act.open(conversation, message));
    const lines = shown.map(hitLine);
    if (!query) {
      choices.unshift(act.startNew);
      lines.unshift([el("strong", { textContent: "New chat" })]);
    }
    list.replaceChildren(...lines.map(option));
    const chats = `${hits.length} chat${hits.length === 1 ? "" : "s"}`;
    const first = hits.length > MOST_HITS ? `, the first ${MOST_HITS} shown` : "";
    count.textContent = query ? (hits.length ? `${chats}${first}` : "No chat has these words.") : "";
    choose(0);
  }

  function option(parts, at) {
    const properties = { role: "option", id: `hit-${at}`, "aria-selected": "false" };
    return el("li", { ...properties, onclick: () => take(at), onmousemove: () => at !== chosen && choose(at) }, ...parts);
  }

  function choose(at) {
    chosen = Math.max(0, Math.min(at, choices.length - 1));
    [...list.children].forEach((line, place) => line.setAttribute("aria-selected", String(place === chosen)));
    list.children[chosen]?.scrollIntoView({ block: "nearest" });
    if (choices.length) field.setAttribute("aria-activedescendant", `hit-${chosen}`);
    else field.removeAttribute("aria-activedescendant");
  }

  function take(at) {
    const act = choices[at];
    if (!act) return;
    dialog.close();
    act();
  }

  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (by) choose(chosen + by);
    else if (event.key === "Enter" && !event.isComposing) take(chosen);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  return {
    open() {
      field.value = "";
      dialog.showModal();
      field.focus();
      show();
    },
  };
}

function hitLine({ conversation, message, found }) {
  const title = el("strong", {}, ...marked(conversation.title || "New chat", found));
  return message ? [title, el("span", { class: "dim" }, ...marked(excerpt(message.content, found), found))] : [title];
}

// The text around the first word that was found, on one line.
function excerpt(content, found) {
  const first = content.search(found);
  const from = Math.max(0, first - BEFORE);
  const cut = content.slice(from, first + AFTER).replace(/\s+/g, " ");
  return `${from ? "…" : ""}${cut}${first + AFTER < content.length ? "…" : ""}`;
}

function marked(text, found) {
  if (!found) return [text];
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(found)) {
    parts.push(text.slice(from, match.index), el("mark", { textContent: match[0] }));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}
