// The shown messages of one conversation. While an answer grows, the view stays at its end.
import { answerView } from "./answer.js";
import { el, icon } from "./dom.js";
import { resultView, userView } from "./messages.js";
import { path, versionsOf } from "./versions.js";

/** Drawing takes at most this share of the time: a long paragraph takes long, and the page has to stay quick. */
const SHARE = 0.25;

/**
 * The thread in #scroll, #thread and #latest: `{show, redraw, update, place, editLast, reveal, toEnd}`. `act`: what buttons do:
 * again, goOn, edit, remove and choose, each for (conversation, message), and answer(conversation).
 */
export function threadView(act) {
  const scroll = document.getElementById("scroll");
  const thread = document.getElementById("thread");
  const latest = document.getElementById("latest");
  let conversation = null;
  let views = new Map();
  let atEnd = true;
  let requested = false; // a drawing
  let rested = 0; // the time from which the next drawing may begin

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
    for (const message of path(shown)) views.set(message, old.get(message) ?? viewOf(message));
    const nodes = [...views.values()].map((view) => view.node);
    for (const child of [...thread.children]) if (!nodes.includes(child)) child.remove();
    nodes.forEach((node, place) => thread.children[place] === node || thread.insertBefore(node, thread.children[place] ?? null));
    place();
    if (other || atEnd) toEnd();
  }

  function viewOf(message) {
    const step = (by) => () => {
      const versions = versionsOf(conversation, message);
      act.choose(conversation, versions[versions.indexOf(message) + by]);
    };
    const buttons = {
      again: () => act.again(conversation, message),
      goOn: () => act.goOn(conversation, message),
      edit: (words) => act.edit(conversation, message, words),
      remove: () => act.remove(conversation, message),
      before: step(-1),
      after: step(1),
    };
    if (message.role === "assistant") return answerView(message, { ...buttons, contextLength: act.contextLength });
    return message.role === "user" ? userView(message, buttons) : resultView(message, buttons);
  }

  // What the messages' buttons offer, and a button for an answer where none is.
  function place() {
    if (!conversation) return;
    const running = act.running(conversation);
    const shown = [...views.keys()];
    for (const [message, view] of views) {
      const versions = versionsOf(conversation, message);
      const last = message === shown.at(-1);
      view.place({ at: versions.indexOf(message) + 1, of: versions.length, running, last });
    }
    thread.querySelector(".offer")?.remove();
    if (act.unanswered(conversation)) thread.append(offer());
  }

  function offer() {
    const press = () => act.answer(conversation);
    const button = el("button", { type: "button", class: "button", onclick: press }, icon("retry"), "Answer it");
    return el("div", { class: "offer" }, el("p", { textContent: "This message has no answer." }), button);
  }

  function draw() {
    requested = false;
    const wasAtEnd = atEnd;
    const from = performance.now();
    for (const view of views.values()) view.update?.();
    rested = performance.now() + (performance.now() - from) * (1 / SHARE - 1);
    if (wasAtEnd) toEnd();
  }

  return {
    show,
    /** Makes the view of a message anew when it is shown next: what was drawn as ended goes on. */
    redraw: (message) => views.delete(message),
    toEnd,
    place,
    /** Draws what is new, at most once per frame; at once if the page is hidden, where no frames come. */
    update() {
      if (document.hidden) return draw();
      if (requested) return;
      requested = true;
      const wait = rested - performance.now();
      if (wait > 16) setTimeout(() => requestAnimationFrame(draw), wait);
      else requestAnimationFrame(draw);
    },
    /** Opens the last message of the user for editing, if there is one. */
    editLast() {
      const message = [...views.keys()].findLast(({ role }) => role === "user");
      if (message && !act.running(conversation)) views.get(message).edit();
      return Boolean(message);
    },
    /** Scrolls to a message and marks it for a moment. */
    reveal(message) {
      const { node } = views.get(message);
      node.scrollIntoView({ block: "center" });
      node.focus({ preventScroll: true });
      node.classList.add("found");
      setTimeout(() => node.classList.remove("found"), 2500);
    },
  };
}
