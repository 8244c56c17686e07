// Pictures and videos of messages: what a file is and costs, how it is kept, shown and sent.
import { ApiError, countTokens } from "./api.js";
import { el, number } from "./dom.js";
import { loadMedia, newKey, storeMedia } from "./media-store.js";

const NAMED = { image: /\.(png|jpe?g|gif|webp|avif|bmp|hei[cf]|tiff?)$/i, video: /\.(mp4|m4v|mov|webm|mkv|avi)$/i };
const addresses = new Map(); // key → the address of its file, for elements

/** "image", "video" or "": what a file is, by the type that the browser names, else by its name. */
export function kindOf(file) {
  if (file.type === "image/svg+xml") return "";
  for (const kind of ["image", "video"]) {
    if (file.type ? file.type.startsWith(`${kind}/`) : NAMED[kind].test(file.name)) return kind;
  }
  return "";
}

/** A picture or video that joins a message: `{kind, name, key, tokens}`. Throws an Error with a sentence for people. */
export async function readMedia(file, kind, model) {
  const what = kind === "image" ? "a picture" : "a video";
  if (!(model?.input_modalities ?? []).includes(kind)) {
    throw new Error(`“${file.name}” is ${what}, and this model reads ${(model?.input_modalities ?? ["text"]).join(" and ")} alone.`);
  }
  let url;
  try {
    url = await dataUrl(file);
  } catch {
    throw new Error(`“${file.name}” could not be read.`);
  }
  let cost;
  try {
    cost = await countTokens(kind, url, model.id);
  } catch (error) {
    const why = (error.detail || error.message).replace(`${kind}_url`, `“${file.name}”`);
    throw new Error(error.kind === "refused" || error.kind === "large" ? why : error.message);
  }
  const key = newKey();
  await storeMedia(key, file);
  return { kind, name: file.name || what, key, tokens: cost.tokens };
}

/** What a chip says of a file that waits to be sent. */
export function costOf({ tokens }) {
  return tokens ? `${number(tokens)} tokens` : "";
}

/** The pictures and videos of a message as elements; null if it has none. */
export function mediaView(message) {
  if (!message.media?.length) return null;
  return el("div", { class: "media" }, ...message.media.map(one));
}

function one({ kind, name, key }) {
  const shown = kind === "video" ? el("video", { controls: true, muted: true, preload: "metadata" }) : el("img", { alt: name, decoding: "async" });
  shown.setAttribute("aria-label", name);
  const figure = el("figure", { title: name }, shown);
  addressOf(key).then((address) => {
    if (address) shown.src = address;
    else figure.replaceChildren(el("figcaption", { class: "dim", textContent: `${name} is no longer stored in this browser` }));
  });
  shown.addEventListener("error", () => figure.replaceChildren(el("figcaption", { class: "dim", textContent: `${name}, which this browser cannot show` })));
  return figure;
}

/** A small picture of a file for its chip. */
export function thumbnail({ kind, key }) {
  const small = kind === "video" ? el("video", { muted: true, preload: "metadata" }) : el("img", { alt: "" });
  small.addEventListener("error", () => small.remove());
  addressOf(key).then((address) => (address ? (small.src = address) : small.remove()));
  return small;
}

async function addressOf(key) {
  if (!addresses.has(key)) {
    const file = await loadMedia(key);
    if (file && !addresses.has(key)) addresses.set(key, URL.createObjectURL(file));
  }
  return addresses.get(key);
}

/** The content of a message for the server: its pictures and videos, then its words. Throws an ApiError. */
export async function contentOf({ content, media }) {
  if (!media?.length) return content;
  const parts = [];
  for (const { kind, name, key } of media) {
    const file = await loadMedia(key);
    if (!file) throw new ApiError("refused", `“${name}” is no longer stored in this browser. Delete the message, or send the file again.`);
    parts.push({ type: `${kind}_url`, [`${kind}_url`]: { url: await dataUrl(file) } });
  }
  if (content) parts.push({ type: "text", text: content });
  return parts;
}

/** A file as a data URL. */
export function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** The file of a data URL in base64; null for another text. */
export function fileOf(url) {
  const found = /^data:([\w.+-]+\/[\w.+-]+)?;base64,/.exec(url);
  if (!found) return null;
  try {
    const bytes = Uint8Array.from(atob(url.slice(found[0].length)), (letter) => letter.charCodeAt(0));
    return new Blob([bytes], { type: found[1] ?? "" });
  } catch {
    return null;
  }
}
