// Conversations as files: all of them as JSON, which can be imported again, and one as Markdown.
import { el } from "./dom.js";
import { loadMedia, storeMedia } from "./media-store.js";
import { dataUrl, fileOf } from "./media.js";
import { checkedConversation } from "./records.js";
import { saveConversation } from "./store.js";
import { path } from "./versions.js";

/** These conversations as the text of an export file, with their pictures and videos. */
export async function exported(conversations) {
  for (const media of mediaOf(conversations)) {
    const file = await loadMedia(media.key);
    if (file) media.data = await dataUrl(file);
  }
  return JSON.stringify({ format: "shoestring-conversations", version: 2, conversations }, null, 1);
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
  for (const media of mediaOf(good)) {
    const file = media.data ? fileOf(media.data) : null;
    delete media.data;
    if (file) await storeMedia(media.key, file);
  }
  for (const conversation of good) await saveConversation(conversation);
  return good.length;
}

function mediaOf(conversations) {
  return conversations.flatMap(({ messages }) => messages.flatMap(({ media }) => media ?? []));
}

/** The versions that are shown, as Markdown. Thinking is left out. */
export function asMarkdown(conversation) {
  const parts = [`# ${conversation.title || "New chat"}`];
  if (conversation.system.trim()) parts.push("## System prompt", conversation.system.trim());
  for (const message of path(conversation)) {
    const shown = (message.media ?? []).map(({ kind, name }) => `*${kind === "video" ? "Video" : "Picture"}: ${name}*`);
    if (message.role === "user") parts.push("## You", ...shown, message.content);
    else if (message.role === "tool") parts.push("## Result of the tool", ...shown, fenced(message.content));
    else {
      parts.push(`## ${message.model || "Answer"}`, message.json ? fenced(message.content, "json") : message.content);
      for (const call of message.tool_calls) parts.push(`Calls \`${call.name}\`:`, fenced(call.arguments || "{}", "json"));
    }
  }
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

/** A listing whose fence is longer than any fence inside it. */
export function fenced(content, info = "") {
  const longest = (content.match(/`{3,}/g) ?? []).reduce((most, marks) => Math.max(most, marks.length), 2);
  const fence = "`".repeat(longest + 1);
  return `${fence}${info}\n${content.replace(/\n$/, "")}\n${fence}`;
}

/** Lets the browser save a text as a file. */
export function saveAs(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A title as the name of a file. */
export function fileName(title) {
  return title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60).toLowerCase() || "chat";
}
