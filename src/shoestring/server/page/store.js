// Storage in the browser: conversations in IndexedDB, settings in localStorage. If the browser stores nothing (a private
// window, for example), conversations stay in memory until the tab closes. Stored and imported data is checked by field.

const NAME = "shoestring";
const SETTINGS = "shoestring.settings";
const memory = new Map();
let database = null;

function open() {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  }).catch(() => null);
  return database;
}

async function inStore(mode, work) {
  const opened = await open();
  if (!opened) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = opened.transaction("conversations", mode);
    const request = work(transaction.objectStore("conversations"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** All conversations, the last changed first. */
export async function allConversations() {
  const stored = (await inStore("readonly", (store) => store.getAll())) ?? [...memory.values()];
  return stored.map(checkedConversation).filter(Boolean).sort((one, other) => other.changed - one.changed);
}

/** Stores a copy of a conversation. */
export async function saveConversation(conversation) {
  memory.set(conversation.id, conversation);
  await inStore("readwrite", (store) => store.put(JSON.parse(JSON.stringify(conversation))));
}

export async function deleteConversation(id) {
  memory.delete(id);
  await inStore("readwrite", (store) => store.delete(id));
}

export function newConversation(system) {
  const now = Date.now();
  return { id: newId(), title: "", system, created: now, changed: now, messages: [] };
}

// crypto.randomUUID is missing if the page comes over plain HTTP from another machine.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const text = (value) => (typeof value === "string" ? value : "");
const time = (value) => (Number.isFinite(value) ? value : Date.now());

// The known fields with valid types; null if this is not a conversation.
function checkedConversation(raw) {
  if (typeof raw !== "object" || raw === null || !Array.isArray(raw.messages) || !text(raw.id)) return null;
  return {
    id: raw.id,
    title: text(raw.title).slice(0, 200),
    system: text(raw.system),
    created: time(raw.created),
    changed: time(raw.changed),
    messages: raw.messages.map(checkedMessage).filter(Boolean),
  };
}

function checkedMessage(raw) {
  if (typeof raw !== "object" || raw === null) return null;
  const content = text(raw.content);
  if (raw.role === "user") return { role: "user", content };
  if (raw.role === "tool") return { role: "tool", content, tool_call_id: text(raw.tool_call_id) };
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
    finish: text(raw.finish),
    error: text(raw.error),
    measures,
  };
}

/** All conversations as the text of an export file. */
export async function exported() {
  return JSON.stringify({ format: "shoestring-conversations", version: 1, conversations: await allConversations() }, null, 1);
}

/**
 * Imports an export file; its conversations replace those of the same id. Returns their number. Throws an Error with a
 * message for people.
 */
export async function imported(content) {
  let file;
  try {
    file = JSON.parse(content);
  } catch {
    throw new Error("This file is not JSON.");
  }
  if (file?.format !== "shoestring-conversations" || !Array.isArray(file.conversations)) {
    throw new Error("This file holds no conversations of this page.");
  }
  const good = file.conversations.map(checkedConversation).filter(Boolean);
  for (const conversation of good) await saveConversation(conversation);
  return good.length;
}

/** The stored settings; an empty object at first. */
export function loadSettings() {
  try {
    return Object(JSON.parse(localStorage.getItem(SETTINGS)));
  } catch {
    return {};
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // They last until the tab closes.
  }
}
