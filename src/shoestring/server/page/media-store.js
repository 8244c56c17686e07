// Storage of the pictures and videos of messages, by key, in a database of their own. Messages name the keys. If the browser
// stores nothing, they stay in memory until the tab closes.
import { database } from "./database.js";

const DAY = 86_400_000;
const memory = new Map(); // of this tab: key → file
const inStore = database("shoestring-media", "files", "key");

export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Stores a file. Where the browser has no room, it lasts until the tab closes. */
export async function storeMedia(key, file) {
  memory.set(key, file);
  try {
    await inStore("readwrite", (store) => store.put({ key, file, added: Date.now() }));
  } catch {
    // In memory it is.
  }
}

/** The file of a key; null if there is none. */
export async function loadMedia(key) {
  if (memory.has(key)) return memory.get(key);
  let found;
  try {
    found = await inStore("readonly", (store) => store.get(key));
  } catch {
    return null;
  }
  if (!(found?.file instanceof Blob)) return null;
  memory.set(key, found.file);
  return found.file;
}

/** Deletes the files that no message names. Young ones stay: another tab may be writing a message with them. */
export async function sweepMedia(named) {
  const young = Date.now() - DAY;
  try {
    const all = (await inStore("readonly", (store) => store.getAll())) ?? [];
    for (const { key, added } of all) {
      if (!named.has(key) && !(added > young)) await inStore("readwrite", (store) => store.delete(key));
    }
  } catch {
    // The next time.
  }
}
