// One answer on the page: folded thinking, text, tool calls, errors and speed. Draws only what is new in its record.
import { actionRow } from "./actions.js";
import { listing } from "./code.js";
import { endOf, onward } from "./cut.js";
import { copyButton, duration, el, icon, iconButton, number } from "./dom.js";
import { markdownInto } from "./markdown.js";
import { speed } from "./turn.js";

/** The view of an answer's record: `{node, update(), place(versions)}`. The other arguments are what its buttons do. */
export function answerView(answer, { again, goOn, remove, before, after, contextLength }) {
  const text = el("div", { class: "text" });
  const thoughts = el("div", { class: "text" });
  const thoughtFor = el("span");
  const thinking = el(
    "details",
    { class: "thinking", hidden: true, ontoggle: () => thinking.open && drawThoughts() },
    el("summary", {}, thoughtFor),
    thoughts,
  );
  const calls = el("div", { class: "calls" });
  const trouble = el("div", { class: "trouble", hidden: true, role: "alert" });
  const cut = el("div", { class: "cut", hidden: true });
  const bar = el("progress", { max: 1, hidden: true, "aria-label": "Prompt read" });
  const measures = el("p", { class: "measures" });
  const row = actionRow({
    buttons: [copyButton("Copy the answer", () => answer.content)],
    changes: [iconButton("retry", "Answer again", again), iconButton("trash", "Delete this answer", remove)],
    before,
    after,
  });
  const foot = el("footer", {}, row.node, measures);
  const node = el(
    "article",
    { class: "answer", "aria-label": "Answer", tabIndex: -1 },
    el("h2", { class: "unseen", textContent: "Answer" }),
    thinking,
    text,
    calls,
    trouble,
    cut,
    bar,
    foot,
  );
  const drawText = growing(text, answer, "content", answer.json ? "```json\n" : "");
  const drawThoughts = growing(thoughts, answer, "reasoning");
  const callViews = [];
  let ended = false;
  let situation = { running: true, last: false };
  let drawnEnd = "";

  function update() {
    if (ended) return;
    const live = answer.live;
    node.classList.toggle("live", Boolean(live));
    node.setAttribute("aria-busy", String(Boolean(live)));
    drawText();
    thinking.hidden = !answer.reasoning.trim();
    thoughtFor.textContent = thinkingTime(answer);
    thinking.classList.toggle("live", live?.phase === "thinking");
    if (thinking.open) drawThoughts();
    while (callViews.length < answer.tool_calls.length) {
      callViews.push(callView());
      calls.append(callViews[callViews.length - 1].node);
    }
    answer.tool_calls.forEach((call, index) => callViews[index].update(call, !live));
    bar.hidden = live?.phase !== "reading";
    if (live?.phase === "reading") bar.value = live.computed / live.prompt;
    if (live) measures.textContent = during(answer);
    row.node.hidden = Boolean(live);
    if (live) return;
    ended = true;
    showEnd();
  }

  // What went wrong, and what can be done. An answer that was cut on purpose only offers to go on, and only the last one
  // of a chat does: what follows another one answers it.
  function showEnd() {
    measures.textContent = afterwards(answer, contextLength());
    const { wrong } = endOf(answer, contextLength());
    const { can, why } = onward(answer, contextLength());
    const { running, last } = situation;
    const words = [wrong, last ? why : ""].filter(Boolean).join(" ");
    const buttons = running ? [] : [can && last && ["onward", "Go on", goOn], wrong && ["retry", "Try again", again]].filter(Boolean);
    const drawing = JSON.stringify([wrong, words, buttons]);
    if (drawing === drawnEnd) return;
    drawnEnd = drawing;
    const place = wrong ? trouble : cut;
    place.replaceChildren(
      ...(words ? [el("p", { textContent: words })] : []),
      ...buttons.map(([name, label, press]) => el("button", { type: "button", class: "button", onclick: press }, icon(name), label)),
    );
    place.hidden = !words && !buttons.length;
  }

  update();
  return {
    node,
    update,
    place({ last, ...versions }) {
      row.show(versions);
      situation = { running: versions.running, last };
      if (ended) showEnd();
    },
  };
}

// Draws the rest of one of the answer's texts, behind `start`; settles it once the answer has ended.
function growing(container, answer, name, start = "") {
  const view = markdownInto(container);
  let shown = 0;
  return () => {
    if (start && answer[name]) view.push(start);
    if (answer[name]) start = "";
    if (answer[name].length > shown) view.push(answer[name].slice(shown));
    shown = answer[name].length;
    if (!answer.live) view.end();
  };
}

function thinkingTime({ live, measures }) {
  const before = measures.thinking ?? 0; // of an answer that goes on
  if (live?.phase === "thinking") return `Thinking, ${duration(before + performance.now() - live.thinkingSince)}`;
  const time = live?.thinkingSince ? before + (live.thinkingUntil ?? live.last) - live.thinkingSince : measures.thinking;
  if (time === undefined) return "Thoughts";
  return time < 1000 ? "Thought for a moment" : `Thought for ${duration(time)}`;
}

function during(answer) {
  const { live } = answer;
  if (live.phase === "busy") return `The server is busy. Trying again in ${live.left} s.`;
  if (live.phase === "reading") {
    const cached = live.cached ? `, ${number(live.cached)} of them from the cache` : "";
    return `Reading the prompt: ${number(live.computed)} of ${number(live.prompt)} tokens${cached}`;
  }
  if (live.phase === "waiting") {
    const waited = performance.now() - live.sent;
    return waited < 1500 ? "Waiting for the first word" : `Waiting for the first word, ${duration(waited)}`;
  }
  const current = speed(answer);
  return current ? perSecond(current) : "";
}

function perSecond(speed) {
  return `${speed < 100 ? speed.toFixed(1) : number(Math.round(speed))} tokens/s`;
}

function afterwards(answer, contextLength) {
  const { measures } = answer;
  const tokens = (measures.tokens ?? 0) + (measures.earlier ?? 0);
  const parts = [];
  if (tokens) parts.push(`${number(tokens)} token${tokens === 1 ? "" : "s"}`);
  if (measures.perSecond) parts.push(perSecond(measures.perSecond));
  if (measures.first !== undefined) parts.push(`first after ${duration(measures.first)}`);
  if (measures.prompt) {
    const share = Math.floor((100 * (measures.cached ?? 0)) / measures.prompt);
    parts.push(`${share}\u00a0% of ${number(measures.prompt)} prompt tokens from the cache`);
  }
  return [endOf(answer, contextLength).end, parts.join(" · ")].filter(Boolean).join(" ");
}

function callView() {
  const name = el("strong");
  const state = el("span", { class: "dim" });
  const view = listing("json");
  let drawn = null;
  const node = el("details", { class: "call", open: true }, el("summary", {}, icon("tool"), name, state), view.node);
  return {
    node,
    update(call, over) {
      name.textContent = call.name;
      const key = `${over}${call.arguments}`;
      if (key === drawn) return;
      drawn = key;
      const [text, whole] = indented(call.arguments);
      state.textContent = over && !whole ? "incomplete" : "tool call";
      view.update(text.split("\n"), true);
    },
  };
}

// The arguments, indented if they are complete, and whether they are.
function indented(json) {
  try {
    return [JSON.stringify(JSON.parse(json || "{}"), null, 2), true];
  } catch {
    return [json, false];
  }
}
