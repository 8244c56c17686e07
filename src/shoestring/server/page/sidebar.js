// The list of conversations: open, rename, delete with a way back, to a file and from one.
import { announce, el, iconButton } from "./dom.js";

const DAY = 24 * 60 * 60 * 1000;

/** `{show(conversations, currentId, runningIds)}` over #list. `act`: open, rename, remove. */
export function sidebar(act) {
  const list = document.getElementById("list");
  let renaming = false; // the list stands still meanwhile

  function row(conversation, current, running) {
    const open = el(
      "button",
      { type: "button", class: "open", onclick: () => act.open(conversation), "aria-current": current ? "page" : undefined },
      el("span", { class: "title", textContent: conversation.title || "New chat" }),
      running ? el("span", { class: "pulse", role: "img", "aria-label": "being answered" }) : null,
    );
    const item = el("li", { class: current ? "current" : "", "data-id": conversation.id }, open);
    const title = conversation.title || "New chat";
    item.append(
      el(
        "div",
        { class: "actions" },
        iconButton("edit", `Rename “${title}”`, () => rename(item, conversation)),
        iconButton("trash", `Delete “${title}”`, () => act.remove(conversation)),
      ),
    );
    return item;
  }

  function rename(item, conversation) {
    const field = el("input", { value: conversation.title, maxLength: 200, "aria-label": "Title of the conversation" });
    let over = false;
    const finish = (save) => {
      if (over) return;
      over = true;
      renaming = false;
      if (save && field.value.trim()) act.rename(conversation, field.value.trim());
      else act.rename(conversation, conversation.title);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => finish(true));
    renaming = true;
    item.replaceChildren(field);
    field.select();
  }

  return {
    show(conversations, currentId, runningIds) {
      if (renaming) return;
      const hand = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
      const groups = new Map();
      for (const conversation of conversations) {
        const day = dayOf(conversation.changed);
        if (!groups.has(day)) groups.set(day, []);
        groups.get(day).push(conversation);
      }
      list.replaceChildren(
        ...[...groups].map(([day, members]) =>
          el(
            "section",
            {},
            el("h2", { textContent: day }),
            el("ul", {}, ...members.map((one) => row(one, one.id === currentId, runningIds.has(one.id)))),
          ),
        ),
      );
      if (!conversations.length) list.append(el("p", { class: "dim", textContent: "Your chats will stand here. They stay in this browser." }));
      const held = hand && [...list.querySelectorAll("li")].find((item) => item.dataset.id === hand);
      if (hand) (held?.querySelector(".open") ?? document.getElementById("new")).focus();
    },
  };
}

function dayOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  return time >= today - DAY ? "Yesterday" : "Earlier";
}

let fading = 0;

/** A line at the foot of the page for some seconds, with one thing to press. */
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
