// The server's API: a few endpoints, server-sent events, errors as one sentence.

const KEY = "shoestring.key";

/** A failed request. kind: gone, key, busy, context, broken, large or refused. The message is for people. */
export class ApiError extends Error {
  constructor(kind, message, { retryAfter = 0, detail = "" } = {}) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
    this.detail = detail;
  }
}

/** Stores the key until the tab closes; "" deletes it. Returns whether there was one. */
export function storeKey(key) {
  const before = sessionStorage.getItem(KEY) !== null;
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  return before;
}

/** The models that the server offers, as it describes them. */
export async function listModels() {
  const answer = await request("v1/models");
  const { data } = await answer.json();
  return Array.isArray(data) ? data : [];
}

/** Whether the server answers. */
export async function isAlive() {
  try {
    return (await fetch("health", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** What a picture or a video costs: `{tokens, width, height, seconds}`. url: a data URL. */
export async function countTokens(kind, url, model) {
  const answer = await request("media/tokens", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, [`${kind}_url`]: { url } }),
  });
  return answer.json();
}

/** The parsed chunks of a streamed chat completion. Throws an ApiError unless it ends with [DONE]. */
export async function* streamChat(body, signal) {
  const answer = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(body),
    signal,
  });
  for await (const data of events(answer.body, signal)) {
    if (data === "[DONE]") return;
    const chunk = parsed(data);
    if (chunk.error) throw refused(answer.status, chunk.error, 0);
    yield chunk;
  }
  throw new ApiError("broken", "The connection ended before the answer did. What arrived is kept.");
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new ApiError("broken", "The server sent something that is not JSON.", { detail: data.slice(0, 200) });
  }
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("gone", "The server does not answer. If it was stopped, start it again, then retry.");
  }
  if (answer.ok) return answer;
  const wait = Number(answer.headers.get("Retry-After"));
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // A proxy answered, without JSON: only its status says what is wrong.
  }
  throw refused(answer.status, error, wait);
}

function refused(status, error, wait) {
  const detail = typeof error === "string" ? error : String(error.message ?? "");
  if (status === 401 || status === 403) return new ApiError("key", "The server wants an API key.", { detail });
  if (status === 429 || (status === 503 && wait > 0)) {
    const retryAfter = wait > 0 ? wait : 3;
    return new ApiError("busy", "The server is busy with other requests.", { retryAfter, detail });
  }
  if (status === 413) return new ApiError("large", "This is larger than the server takes in one request.", { detail });
  if (error.code === "context_length_exceeded") {
    const message = "This conversation no longer fits into the model's context. Start a new chat, or edit your message to be shorter.";
    return new ApiError("context", message, { detail });
  }
  if (status >= 500) return new ApiError("refused", `The server failed (${status}).`, { detail });
  return new ApiError("refused", detail || `The server refused the request (${status}).`);
}

// The data of a body's server-sent events. Pieces may split lines anywhere; lines have any of the three line ends.
async function* events(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (signal?.aborted) throw error;
        throw new ApiError("broken", "The connection broke before the answer ended. What arrived is kept.");
      }
      if (piece.done) return;
      const lines = (rest + piece.value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield data.join("\n");
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
