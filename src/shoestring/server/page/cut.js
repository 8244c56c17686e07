// Answers that ended early: what is said about it, and whether they can go on.

const ENDS = {
  stopped: "Stopped by you.",
  length: "Ended at its limit of tokens.",
  inside_thinking: "Ended inside its thinking, without an answer.",
  content_filter: "Ended by the server.",
};
const INTERRUPTED = "The page was closed before this answer ended.";
/** Ends behind which nothing is missing, or nothing more would come. */
const WHOLE = new Set(["stop", "tool_calls", "content_filter", "context"]);

/** Whether an answer has nothing that could be shown as a version of it. */
export function isEmpty(answer) {
  return !answer.content && !answer.reasoning && !answer.tool_calls.length;
}

/** The complete calls: an API refuses arguments that are not JSON. */
export function complete(calls) {
  return calls.filter((call) => {
    try {
      return Boolean(call.name) && typeof JSON.parse(call.arguments || "{}") === "object";
    } catch {
      return false;
    }
  });
}

/** How an answer ended, if not as it should: `{wrong}`, an error, or `{end}`, a remark. Both are "" otherwise. */
export function endOf(answer, contextLength) {
  if (answer.error || !answer.finish) return { wrong: answer.error || INTERRUPTED, end: "" };
  const full = isFull(answer, contextLength);
  return { wrong: "", end: full ? "The context is full: start a new chat to go on." : (ENDS[answer.finish] ?? "") };
}

/** Whether an answer was cut and can go on: `{can: true}`, or `{why}`, a sentence if it was cut and cannot. */
export function onward(answer, contextLength) {
  const calls = answer.tool_calls;
  if (WHOLE.has(answer.finish) || isEmpty(answer) || isFull(answer, contextLength)) return { can: false, why: "" };
  if (calls.length && complete(calls).length === calls.length) return { can: false, why: "" };
  if (calls.length) return { can: false, why: "It ended inside a tool call, which cannot go on: answer again." };
  if (answer.json) return { can: false, why: "An answer that follows a JSON schema cannot go on: answer again." };
  return { can: true, why: "" };
}

function isFull({ finish, measures }, contextLength) {
  return Boolean(finish === "length" && contextLength && measures.prompt + measures.tokens >= contextLength);
}
