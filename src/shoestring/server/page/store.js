// Storage in the browser: conversations in IndexedDB, settings in localStorage, the message that is being written in
// sessionStorage. If the browser stores nothing (a private window, for example), all stay in memory until the tab closes.
import { database } from "./database.js";
import { checkedConversation, checkedMedia } from "./records.js";

const SETTINGS = "shoestring.settings";
const DRAFT = "shoestring.draft";
const DRAFT_FILES = "shoestring.draft-files";
const memory = new Map();
const inStore = database("shoestring", "conversations", "id");

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

/** The words in the message field when the page was left. */
export function loadDraft() {
  try {
    return sessionStorage.getItem(DRAFT) ?? "";
  } catch {
    return "";
  }
}

export function saveDraft(words) {
  try {
    if (words) sessionStorage.setItem(DRAFT, words);
    else sessionStorage.removeItem(DRAFT);
  } catch {
    // A reload loses them.
  }
}

/** The files of the message that was being written when the page was left: `{name, content}` of text, else as media. */
export function loadDraftFiles() {
  try {
    const files = JSON.parse(sessionStorage.getItem(DRAFT_FILES) ?? "[]");
    return files.filter((file) => typeof file.name === "string" && (typeof file.content === "string" || checkedMedia([file]).length));
  } catch {
    return [];
  }
}

/** Returns whether the browser stores them: it has a limit of some megabytes. */
export function saveDraftFiles(files) {
  try {
    sessionStorage.removeItem(DRAFT_FILES);
    if (files.length) sessionStorage.setItem(DRAFT_FILES, JSON.stringify(files));
    return true;
  } catch {
    return false;
  }
}
