// One turn: build the request, and fill in the answer as it arrives. Does not touch the document.
import { ApiError, streamChat } from "./api.js";
import { complete } from "./cut.js";
import { contentOf } from "./media.js";
import { path } from "./versions.js";

const MOST_TRIES = 5;
const SAMPLING = [
  "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed",
];

/** A new answer. `json`: it follows a schema. */
export function emptyAnswer(model, json) {
  return { role: "assistant", content: "", reasoning: "", tool_calls: [], model, json, finish: "", error: "", measures: {} };
}

/** Prepares an answer that was cut to go on: what it has stays, its end is forgotten. */
export function reopen(answer) {
  const { tokens = 0, earlier = 0, thinking } = answer.measures;
  answer.measures = thinking === undefined ? { earlier: earlier + tokens } : { earlier: earlier + tokens, thinking };
  answer.finish = answer.error = "";
}

/**
 * Fills `answer`, the last message that `conversation` shows, and calls `changed()` after each change. `answer.live` is the
 * current state: {phase: "waiting" | "reading" | "busy" | "thinking" | "answering", …}; absent after the end. `goesOn`: the
 * answer goes on behind what it has.
 * `askKey()` resolves to whether there is a new key to try.
 */
export async function runTurn({ conversation, answer, goesOn, settings, signal, changed, askKey }) {
  try {
    const body = await requestOf(conversation, answer, goesOn, settings);
    for (let tries = 1; ; tries += 1) {
      try {
        await receive(body, answer, signal, changed);
        break;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.kind === "key" && (await askKey())) continue;
        if (error.kind !== "busy" || tries >= MOST_TRIES) throw error;
        await countDown(error.retryAfter, answer, signal, changed);
      }
    }
  } catch (error) {
    if (signal.aborted) answer.finish = "stopped";
    else if (error instanceof ApiError) {
      answer.error = error.detail && error.detail !== error.message ? `${error.message} ${error.detail}` : error.message;
      answer.finish = error.kind;
    } else throw error;
  } finally {
    measure(answer);
    delete answer.live;
    changed();
  }
}

async function requestOf(conversation, answer, goesOn, settings) {
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const message of path(conversation)) {
    const saysNothing = message.role === "assistant" && !message.content && !complete(message.tool_calls).length;
    if (message !== answer && !saysNothing) messages.push(await sent(message));
  }
  if (goesOn) messages.push(await sent(answer));
  const body = { model: answer.model, messages, stream: true, stream_options: { include_usage: true, include_progress: true } };
  for (const name of SAMPLING) if (Number.isFinite(settings[name])) body[name] = settings[name];
  if (Number.isFinite(settings.max_tokens)) body.max_completion_tokens = settings.max_tokens;
  if (settings.thinking === "on" || settings.thinking === "off") {
    body.chat_template_kwargs = { enable_thinking: settings.thinking === "on" };
  } else if (settings.thinking) {
    body.reasoning_effort = settings.thinking;
  }
  if (Array.isArray(settings.tools) && settings.tools.length) body.tools = settings.tools;
  if (Array.isArray(settings.stop) && settings.stop.length) body.stop = settings.stop;
  if (goesOn) body.continue_final_message = true;
  if (answer.json) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: settings.schema, strict: true } };
  return body;
}

async function sent(message) {
  const source = { role: message.role, content: await contentOf(message) };
  if (message.role === "tool") source.tool_call_id = message.tool_call_id;
  if (message.role !== "assistant") return source;
  if (message.reasoning) source.reasoning_content = message.reasoning;
  const calls = complete(message.tool_calls);
  if (calls.length) {
    source.tool_calls = calls.map(({ id, name, arguments: json }) => ({
      id,
      type: "function",
      function: { name, arguments: json || "{}" },
    }));
  }
  return source;
}

async function receive(body, answer, signal, changed) {
  const live = { phase: "waiting", sent: performance.now(), pieces: 0 };
  answer.live = live;
  changed();
  for await (const chunk of streamChat(body, signal)) {
    readChunk(chunk, answer, live);
    changed();
  }
}

function progress(live, { computed, prompt_tokens: prompt, cached_tokens: cached }) {
  if (live.pieces || !(prompt > 0) || !(computed >= 0)) return;
  live.phase = "reading";
  live.computed = Math.min(computed, prompt);
  live.prompt = prompt;
  if (cached > 0) live.cached = cached;
}

function readChunk(chunk, answer, live) {
  if (chunk.prefill) progress(live, chunk.prefill);
  if (chunk.usage) readUsage(chunk.usage, answer);
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  const thought = delta.reasoning_content ?? delta.reasoning ?? "";
  const calls = delta.tool_calls ?? [];
  if (thought || delta.content || calls.length) {
    const now = performance.now();
    live.first ??= now;
    live.last = now;
    live.pieces += 1;
    if (thought) live.thinkingSince ??= now;
    else if (live.thinkingSince) live.thinkingUntil ??= now;
    live.phase = thought ? "thinking" : "answering";
  }
  answer.reasoning += thought;
  answer.content += delta.content ?? "";
  for (const piece of calls) readCall(piece, answer);
  const { finish_reason: reason, ended_inside_thinking: inside } = choice;
  if (reason) answer.finish = inside && reason === "stop" ? "inside_thinking" : reason;
}

function readCall(piece, answer) {
  const index = piece.index ?? answer.tool_calls.length;
  if (!Number.isInteger(index) || index < 0 || index > answer.tool_calls.length) return;
  const call = (answer.tool_calls[index] ??= { id: "", name: "", arguments: "" });
  if (piece.id) call.id = piece.id;
  if (piece.function?.name) call.name = piece.function.name;
  call.arguments += piece.function?.arguments ?? "";
}

function readUsage(usage, answer) {
  const { measures } = answer;
  measures.prompt = usage.prompt_tokens;
  measures.tokens = usage.completion_tokens;
  measures.cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
}

/** The first call of the last answer without a result; null if there is none. */
export function pendingCall(conversation) {
  const messages = path(conversation);
  let at = messages.length - 1;
  while (at >= 0 && messages[at].role === "tool") at -= 1;
  const answer = messages[at];
  if (answer?.role !== "assistant" || answer.live || answer.error) return null;
  const calls = complete(answer.tool_calls);
  const number = messages.length - 1 - at;
  return calls[number] ? { call: calls[number], number: number + 1, of: calls.length } : null;
}

/** Tokens per second so far: exact once the usage is known, else estimated from the number of pieces. */
export function speed(answer) {
  const { live, measures } = answer;
  if (!live) return measures.perSecond ?? 0;
  const seconds = (live.last - live.first) / 1000;
  const tokens = (measures.tokens ?? live.pieces) - 1;
  return seconds > 0 && tokens > 0 ? tokens / seconds : 0;
}

function measure(answer) {
  const { live, measures } = answer;
  if (!live?.first) return;
  measures.perSecond = speed(answer);
  measures.tokens ??= live.pieces;
  measures.first = live.first - live.sent;
  if (live.thinkingSince) measures.thinking = (measures.thinking ?? 0) + (live.thinkingUntil ?? live.last) - live.thinkingSince;
}

async function countDown(seconds, answer, signal, changed) {
  for (let left = Math.ceil(seconds); left > 0; left -= 1) {
    answer.live = { phase: "busy", left, pieces: 0 };
    changed();
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
    });
  }
}
