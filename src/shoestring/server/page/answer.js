// One answer on the page: folded thinking, text, tool calls, errors and speed. Draws only what is new in its record.
import { actionRow } from "./actions.js";
import { copyButton, duration, el, icon, iconButton, number } from "./dom.js";
import { listing } from "./code.js";
import { markdownInto } from "./markdown.js";
import { speed } from "./turn.js";

const ENDS = {
  stopped: "Stopped by you.",
  length: "Ended at its limit of tokens.",
  content_filter: "Ended by the server.",
};

const INTERRUPTED = "The page was closed before this answer ended.";

/** The view of an answer's record: `{node, update(), place(versions)}`. The other arguments are what its buttons do. */
export function answerView(answer, { again, remove, before, after, contextLength }) {
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
    bar,
    foot,
  );
  const drawText = growing(text, answer, "content", answer.json ? "```json\n" : "");
  const drawThoughts = growing(thoughts, answer, "reasoning");
  const callViews = [];
  let ended = false;

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
    measures.textContent = live ? during(answer) : afterwards(answer, contextLength());
    row.node.hidden = Boolean(live);
    if (live) return;
    ended = true;
    const wrong = answer.error || (answer.finish ? "" : INTERRUPTED);
    if (wrong) {
      const retry = el("button", { type: "button", class: "button", onclick: again }, icon("retry"), "Try again");
      trouble.replaceChildren(el("p", { textContent: wrong }), retry);
    }
    trouble.hidden = !wrong;
  }

  update();
  return {
    node,
    update,
    place(versions) {
      row.show(versions);
      const button = trouble.querySelector("button");
      if (button) button.hidden = versions.running;
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
  if (live?.phase === "thinking") return `Thinking, ${duration(performance.now() - live.thinkingSince)}`;
  const time = live?.thinkingSince ? (live.thinkingUntil ?? live.last) - live.thinkingSince : measures.thinking;
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

function afterwards({ measures, finish }, contextLength) {
  const parts = [];
  if (measures.tokens) parts.push(`${number(measures.tokens)} token${measures.tokens === 1 ? "" : "s"}`);
  if (measures.perSecond) parts.push(perSecond(measures.perSecond));
  if (measures.first !== undefined) parts.push(`first after ${duration(measures.first)}`);
  if (measures.prompt) {
    const share = Math.floor((100 * (measures.cached ?? 0)) / measures.prompt);
    parts.push(`${share}\u00a0% of ${number(measures.prompt)} prompt tokens from the cache`);
  }
  const full = finish === "length" && contextLength && measures.prompt + measures.tokens >= contextLength;
  const end = full ? "The context is full: start a new chat to go on." : ENDS[finish];
  return [end, parts.join(" · ")].filter(Boolean).join(" ");
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
