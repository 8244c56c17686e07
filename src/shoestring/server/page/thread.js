// The messages of one conversation. While an answer grows, the view stays at its end.
import { answerView } from "./answer.js";
import { copyButton, el, iconButton } from "./dom.js";

/** The thread in #scroll, #thread and #latest: `{show, update, editLast, markLast, toEnd}`. `act`: what buttons do. */
export function threadView(act) {
  const scroll = document.getElementById("scroll");
  const thread = document.getElementById("thread");
  const latest = document.getElementById("latest");
  let conversation = null;
  let views = new Map();
  let atEnd = true;
  let requested = false; // an animation frame

  scroll.addEventListener("scroll", () => {
    atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
    latest.hidden = atEnd;
  });
  latest.addEventListener("click", () => toEnd());
  new ResizeObserver(() => atEnd && toEnd()).observe(scroll);

  function toEnd() {
    scroll.scrollTop = scroll.scrollHeight;
    atEnd = true;
    latest.hidden = true;
  }

  function show(shown) {
    const other = shown !== conversation;
    conversation = shown;
    const old = views;
    views = new Map();
    for (const message of shown.messages) views.set(message, old.get(message) ?? viewOf(message));
    const nodes = [...views.values()].map((view) => view.node);
    for (const child of [...thread.children]) if (!nodes.includes(child)) child.remove();
    nodes.forEach((node, place) => thread.children[place] === node || thread.insertBefore(node, thread.children[place] ?? null));
    markLast();
    if (other || atEnd) toEnd();
  }

  function viewOf(message) {
    if (message.role === "assistant") {
      return answerView(message, { retry: () => act.retry(conversation), contextLength: act.contextLength });
    }
    return message.role === "user" ? userView(message) : resultView(message);
  }

  function userView(message) {
    const body = el("div", { class: "words", textContent: message.content });
    const edit = iconButton("edit", "Edit this message", () => view.edit());
    const actions = el("div", { class: "actions" }, edit, copyButton("Copy the message", () => message.content));
    const heading = el("h2", { class: "unseen", textContent: "You" });
    const node = el("article", { class: "user", "aria-label": "You" }, heading, body, actions);
    const view = {
      node,
      setLast: (last) => (edit.hidden = !last),
      edit() {
        const area = el("textarea", { value: message.content, "aria-label": "Edit your message", rows: 3 });
        const close = () => {
          form.replaceWith(body);
          actions.hidden = false;
          document.getElementById("words").focus();
        };
        const save = (event) => {
          event?.preventDefault();
          const words = area.value.trim();
          close();
          if (words) act.edit(conversation, message, words);
        };
        const cancel = el("button", { type: "button", class: "button", textContent: "Cancel", onclick: close });
        const send = el("button", { type: "submit", class: "button main", textContent: "Send again" });
        const form = el("form", { class: "editing", onsubmit: save }, area, el("div", { class: "row" }, cancel, send));
        area.addEventListener("keydown", (event) => {
          if (event.key === "Escape") close();
          else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save(event);
          else return;
          event.stopPropagation();
        });
        body.replaceWith(form);
        actions.hidden = true;
        area.focus();
        area.setSelectionRange(area.value.length, area.value.length);
      },
    };
    return view;
  }

  function resultView(message) {
    const heading = el("h2", { class: "unseen", textContent: "Result of a tool" });
    const label = el("p", { class: "dim", textContent: "Result of the tool" });
    const words = el("pre", { textContent: message.content, tabIndex: 0 });
    return { node: el("article", { class: "result", "aria-label": "Result of a tool" }, heading, label, words) };
  }

  function lastOf(role) {
    return conversation?.messages.findLast((message) => message.role === role);
  }

  function markLast() {
    const last = { assistant: lastOf("assistant"), user: lastOf("user") };
    const running = act.running(conversation);
    for (const [message, view] of views) view.setLast?.(message === last[message.role] && !running);
  }

  function draw() {
    requested = false;
    const wasAtEnd = atEnd;
    for (const view of views.values()) view.update?.();
    if (wasAtEnd) toEnd();
  }

  return {
    show,
    toEnd,
    markLast,
    /** Draws what is new, once per frame; at once if the page is hidden, where no frames come. */
    update() {
      if (document.hidden) draw();
      else if (!requested) requestAnimationFrame(draw);
      requested = !document.hidden;
    },
    /** Opens the last message of the user for editing, if there is one. */
    editLast() {
      const message = lastOf("user");
      if (message && !act.running(conversation)) views.get(message).edit();
      return Boolean(message);
    },
  };
}
