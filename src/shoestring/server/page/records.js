// The records of conversations. What was stored or imported is checked field by field.

const text = (value) => (typeof value === "string" ? value : "");
const time = (value) => (Number.isFinite(value) ? value : Date.now());

export function newConversation(system) {
  const now = Date.now();
  return { id: newId(), title: "", system, created: now, changed: now, next: 0, messages: [] };
}

// crypto.randomUUID is missing if the page comes over plain HTTP from another machine.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The known fields with valid types; null if this is not a conversation. */
export function checkedConversation(raw) {
  if (typeof raw !== "object" || raw === null || !Array.isArray(raw.messages) || !text(raw.id)) return null;
  return {
    id: raw.id,
    title: text(raw.title).slice(0, 200),
    system: text(raw.system),
    created: time(raw.created),
    changed: time(raw.changed),
    ...checkedTree(raw),
  };
}

// The messages, numbered anew. A parent comes before its children, so there are no circles. A message without a valid
// parent follows the one before it: so do all messages of chats that were stored before there were versions.
function checkedTree(raw) {
  const messages = [];
  const wanted = [raw.next]; // of each parent, the child to show, as the file names it
  const ids = new Map([[0, 0]]); // as the file names them → as we do
  for (const one of raw.messages) {
    const message = checkedMessage(one);
    if (!message) continue;
    const parent = ids.get(one.parent) ?? messages.length;
    messages.push({ ...message, id: messages.length + 1, parent, next: 0 });
    wanted.push(one.next);
    if (Number.isInteger(one.id) && !ids.has(one.id)) ids.set(one.id, messages.length);
  }
  const root = { next: 0 };
  for (const { id, parent } of messages) {
    const above = parent ? messages[parent - 1] : root;
    if (!above.next || above.next !== ids.get(wanted[parent])) above.next = id;
  }
  return { next: root.next, messages };
}

/** The valid pictures and videos of a message: {kind, name, key, tokens}, in a file of conversations also `data`. */
export function checkedMedia(raw) {
  const valid = (one) => ["image", "video"].includes(one?.kind) && /^[0-9a-f]{32}$/.test(one.key);
  return (Array.isArray(raw) ? raw : []).filter(valid).map(({ kind, name, key, tokens, data }) => ({
    kind,
    name: text(name).slice(0, 200),
    key,
    ...(Number.isFinite(tokens) && { tokens }),
    ...(text(data) && { data }),
  }));
}

function checkedMessage(raw) {
  if (typeof raw !== "object" || raw === null) return null;
  const content = text(raw.content);
  const shown = checkedMedia(raw.media);
  const media = shown.length ? { media: shown } : {};
  if (raw.role === "user") return { role: "user", content, ...media };
  if (raw.role === "tool") return { role: "tool", content, tool_call_id: text(raw.tool_call_id), ...media };
  if (raw.role !== "assistant") return null;
  const calls = Array.isArray(raw.tool_calls) ? raw.tool_calls : [];
  const measures = {};
  for (const [name, value] of Object.entries(raw.measures ?? {})) if (Number.isFinite(value)) measures[name] = value;
  return {
    role: "assistant",
    content,
    reasoning: text(raw.reasoning),
    tool_calls: calls.map((call) => ({ id: text(call?.id), name: text(call?.name), arguments: text(call?.arguments) })),
    model: text(raw.model),
    json: raw.json === true,
    finish: text(raw.finish),
    error: text(raw.error),
    measures,
  };
}
