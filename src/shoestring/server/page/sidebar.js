// The list of conversations.
import { el, iconButton } from "./dom.js";

const DAY = 24 * 60 * 60 * 1000;

/** The list in #list: `{show(conversations, currentId, running)}`. `act`: what its buttons do: open, rename, remove. */
export function sidebar(act) {
  const list = document.getElementById("list");
  let renaming = false; // the list is not drawn meanwhile

  function row(conversation, current, running) {
    const title = conversation.title || "New chat";
    const open = el(
      "button",
      { type: "button", class: "open", onclick: () => act.open(conversation), "aria-current": current ? "page" : undefined },
      el("span", { class: "title", textContent: title }),
      running ? el("span", { class: "pulse", role: "img", "aria-label": "being answered" }) : null,
    );
    const edit = iconButton("edit", `Rename “${title}”`, () => rename(item, conversation));
    const trash = iconButton("trash", `Delete “${title}”`, () => act.remove(conversation));
    const actions = el("div", { class: "actions" }, edit, trash);
    const item = el("li", { class: current ? "current" : "", "data-id": conversation.id }, open, actions);
    return item;
  }

  function rename(item, conversation) {
    const field = el("input", { value: conversation.title, maxLength: 200, "aria-label": "Title of the conversation" });
    const finish = (save) => {
      if (!renaming) return;
      renaming = false;
      act.rename(conversation, (save && field.value.trim()) || conversation.title);
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
    show(conversations, currentId, running) {
      if (renaming) return;
      const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
      const groups = new Map();
      for (const one of conversations) {
        const day = dayOf(one.changed);
        if (!groups.has(day)) groups.set(day, el("ul"));
        groups.get(day).append(row(one, one.id === currentId, running.has(one.id)));
      }
      list.replaceChildren(...[...groups].map(([day, rows]) => el("section", {}, el("h2", { textContent: day }), rows)));
      if (!conversations.length) list.append(el("p", { class: "dim", textContent: "Your chats will appear here. They stay in this browser." }));
      const item = focused && [...list.querySelectorAll("li")].find(({ dataset }) => dataset.id === focused);
      if (focused) (item?.querySelector(".open") ?? document.getElementById("new")).focus();
    },
  };
}

function dayOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  return time >= today - DAY ? "Yesterday" : "Earlier";
}
