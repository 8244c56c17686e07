// Text files that become part of a message, as listings. Anything else gets a sentence that says why not.
import { fenced } from "./exchange.js";

const MOST_BYTES = 1 << 20;

/** A file as `{name, content}`. Throws an Error with a sentence for people if it is not a text that fits. */
export async function readFile(file) {
  const name = file.name || "The file";
  if (file.size > MOST_BYTES) throw new Error(`“${name}” is too long: a text file of at most 1 MB can join a message.`);
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Error(`“${name}” could not be read. A folder cannot join a message.`);
  }
  const content = decoded(bytes);
  if (content === null) throw new Error(`“${name}” is not a text file: text, pictures and videos can join a message.`);
  if (!content.trim()) throw new Error(`“${name}” is empty.`);
  return { name, content };
}

// UTF-8, or UTF-16 with its mark; null for anything else.
function decoded(bytes) {
  const marks = bytes.length > 1 ? bytes[0] * 256 + bytes[1] : 0;
  const encoding = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[marks] ?? "utf-8";
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text.replaceAll("\r\n", "\n");
  } catch {
    return null;
  }
}

/** The words of a message with its files below. */
export function withFiles(words, files) {
  const listings = files.map(({ name, content }) => `${name}:\n${fenced(content, suffix(name))}`);
  return [words, ...listings].filter(Boolean).join("\n\n");
}

function suffix(name) {
  return /\.(\w{1,12})$/.exec(name)?.[1].toLowerCase() ?? "";
}

/** Calls `take(files)` for files that are dropped anywhere on the page, or pasted without text beside them. */
export function onFiles(take) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const over = (flag) => document.body.classList.toggle("dropping", flag);
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || over(false));
  document.addEventListener("drop", (event) => {
    over(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const data = event.clipboardData;
    if (!data?.files.length || data.types.includes("text/plain")) return;
    event.preventDefault();
    take([...data.files]);
  });
}
