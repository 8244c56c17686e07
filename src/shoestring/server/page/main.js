// The page as a whole: the current conversation, the running answers, the keys. Everything else has its own module.
import { askKey } from "./access.js";
import { isAlive, listModels } from "./api.js";
import { themeButton } from "./colours.js";
import { composer } from "./composer.js";
import { isEmpty } from "./cut.js";
import { announce, copyText, el, icon, iconButton, number } from "./dom.js";
import { asMarkdown, exported, fileName, imported, saveAs } from "./exchange.js";
import { sweepMedia } from "./media-store.js";
import { showOpening } from "./opening.js";
import { newConversation } from "./records.js";
import { searchDialog } from "./search.js";
import { settingsPanel } from "./settings.js";
import { sidebar } from "./sidebar.js";
import * as storage from "./store.js";
import { threadView } from "./thread.js";
import { toast } from "./toast.js";
import { emptyAnswer, pendingCall, reopen, runTurn } from "./turn.js";
import * as versions from "./versions.js";

const $ = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 760px)");
/** How often a growing answer is stored, and how long a request waits for storage, in milliseconds. */
const STORE_EVERY = 1000;
const STORE_WAIT = 2000;

const settings = storage.loadSettings();
const running = new Map(); // id of a conversation → the AbortController of its answer
let conversations = [];
let current = null;
let models = [];
let trouble = ""; // why no model is known
let isLeaving = false; // the browser breaks the running answers, which is no error of theirs

const isRunning = (conversation) => running.has(conversation?.id);
const thread = threadView({
  again,
  goOn,
  edit,
  remove: removeMessage,
  choose: chooseVersion,
  answer: answerNow,
  running: isRunning,
  unanswered: isUnanswered,
  contextLength,
});
const side = sidebar({ open: openConversation, rename, remove });
const field = composer({
  state: () => ({ busy: isRunning(current), pending: isRunning(current) ? null : pendingCall(current), model: model() }),
  send,
  stop: () => running.get(current.id)?.abort(),
  editLast: () => thread.editLast(),
});
const finder = searchDialog({ conversations: () => conversations, open: openAt, startNew });
const panel = settingsPanel(
  settings,
  (text) => {
    current.system = text;
    settings.system = text;
    storage.saveSettings(settings);
    if (current.messages.length) store(current);
  },
  showHint,
);

// --- drawing ---------------------------------------------------------------------------------------------------------

function model() {
  return models.find((one) => one.id === settings.model) ?? models[0];
}

function contextLength() {
  return model()?.context_length ?? model()?.max_model_len;
}

function showAll() {
  const isStarted = current.messages.length > 0;
  side.show(conversations, current.id, running);
  $("title").textContent = current.title || "New chat";
  document.title = current.title ? `${current.title} · Shoestring` : "Shoestring";
  $("empty").hidden = isStarted;
  $("save").hidden = !isStarted;
  if (!isStarted) showOpening({ model: model(), contextLength: contextLength(), trouble, send, loadModels });
  thread.show(current);
  showFoot();
}

function showFoot() {
  field.show();
  showFullness();
  showHint();
}

function showHint() {
  $("hint").textContent = settings.schema ? "Answers follow the JSON schema of the settings" : "Enter sends, Shift Enter begins a line";
}

function showFullness() {
  const last = versions.path(current).findLast((message) => message.measures?.prompt);
  const length = contextLength();
  $("fullness").hidden = !last || !length;
  if (!last || !length) return;
  const used = last.measures.prompt + (last.measures.tokens ?? 0);
  const share = Math.min(1, used / length);
  $("gauge").firstElementChild.style.width = `${100 * share}%`;
  $("gauge").setAttribute("aria-valuemax", String(length));
  $("gauge").setAttribute("aria-valuenow", String(used));
  $("fullness").classList.toggle("nearly", share > 0.85);
  $("used").textContent = `${number(used)} of ${number(length)} tokens`;
}

// --- models ----------------------------------------------------------------------------------------------------------

function showModels() {
  const options = models.map((one) => el("option", { value: one.id, textContent: one.id, selected: one === model() }));
  const select = el("select", { "aria-label": "Model", onchange: () => choose(select.value) }, ...options);
  const name = el("span", { class: "model", textContent: model()?.id ?? "" });
  $("model-place").replaceChildren(models.length > 1 ? select : name);
}

function choose(id) {
  settings.model = id;
  storage.saveSettings(settings);
  showAll();
}

async function loadModels() {
  try {
    models = await listModels();
    trouble = models.length ? "" : "The server offers no model.";
  } catch (error) {
    if (error.kind === "key" && (await askKey())) return loadModels();
    trouble = error.message;
    if (error.kind === "gone") waitForServer();
  }
  showModels();
  showAll();
}

async function askKeyAndModels() {
  const hasKey = await askKey();
  if (hasKey && !models.length) loadModels();
  return hasKey;
}

let waiting = 0;

function waitForServer() {
  clearTimeout(waiting);
  waiting = setTimeout(async () => ((await isAlive()) ? loadModels() : waitForServer()), 3000);
}

// --- conversations ---------------------------------------------------------------------------------------------------

async function store(conversation) {
  if (!conversations.includes(conversation)) conversations.unshift(conversation);
  try {
    await storage.saveConversation(conversation);
  } catch {
    toast("The browser could not keep this chat: its storage may be full.");
  }
}

function openConversation(conversation) {
  current = conversation;
  history.replaceState(null, "", conversation.messages.length ? `#${conversation.id}` : location.pathname);
  closeSide();
  showAll();
  if (!narrow.matches) field.focus();
}

/** Opens a conversation at a message, whichever version it belongs to. */
function openAt(conversation, message) {
  if (message && !isRunning(conversation)) versions.choose(conversation, message);
  openConversation(conversation);
  if (message && versions.path(conversation).includes(message)) thread.reveal(message);
}

function startNew() {
  openConversation(current && !current.messages.length ? current : newConversation(settings.system ?? ""));
  field.focus();
}

function rename(conversation, title) {
  conversation.title = title;
  store(conversation);
  showAll();
}

function remove(conversation) {
  running.get(conversation.id)?.abort();
  conversations = conversations.filter((one) => one !== conversation);
  storage.deleteConversation(conversation.id);
  if (current === conversation) startNew();
  else showAll();
  toast(`Deleted “${conversation.title || "New chat"}”.`, "Undo", async () => {
    await store(conversation);
    conversations.sort((one, other) => other.changed - one.changed);
    openConversation(conversation);
  });
}

// --- messages and their versions -------------------------------------------------------------------------------------

function changed(conversation) {
  store(conversation);
  showAll();
}

function chooseVersion(conversation, message) {
  versions.choose(conversation, message);
  changed(conversation);
}

function removeMessage(conversation, message) {
  const undo = versions.remove(conversation, message);
  changed(conversation);
  field.focus();
  toast("Deleted one message.", "Undo", () => {
    if (isRunning(conversation)) return;
    undo();
    changed(conversation);
  });
}

/** Whether the last message waits for an answer and none is on its way. */
function isUnanswered(conversation) {
  const last = versions.path(conversation).at(-1);
  return Boolean(last) && last.role !== "assistant" && !isRunning(conversation) && !pendingCall(conversation);
}

function send(text, media = []) {
  const words = text.trim();
  if ((!words && !media.length) || isRunning(current)) return;
  const call = pendingCall(current)?.call;
  const message = call ? { role: "tool", content: words, tool_call_id: call.id } : { role: "user", content: words };
  versions.append(current, media.length ? { ...message, media } : message);
  current.title ||= (words.split("\n")[0] || media[0].name).slice(0, 60);
  answerUnlessPending(current);
}

function edit(conversation, message, content) {
  if (isRunning(conversation)) return;
  const version = { role: message.role, content };
  if (message.role === "tool") version.tool_call_id = message.tool_call_id;
  if (message.media) version.media = message.media;
  versions.addVersion(conversation, message, version);
  answerUnlessPending(conversation);
}

// A call without a result is answered by the user first.
function answerUnlessPending(conversation) {
  if (pendingCall(conversation)) changed(conversation);
  else answerNow(conversation);
}

/** Answers again, beside the earlier answer; in its place if that one has nothing to show. */
function again(conversation, answer) {
  if (isRunning(conversation)) return;
  const version = newAnswer();
  versions.addVersion(conversation, answer, version);
  const hasChildren = conversation.messages.some(({ parent }) => parent === answer.id);
  if (isEmpty(answer) && !hasChildren) {
    versions.remove(conversation, answer);
    versions.choose(conversation, version);
  }
  fill(conversation, version);
}

/** Lets an answer that was cut go on where it ended. */
function goOn(conversation, answer) {
  if (isRunning(conversation)) return;
  if (!models.some(({ id }) => id === answer.model)) answer.model = model()?.id ?? "";
  reopen(answer);
  thread.redraw(answer);
  fill(conversation, answer, true);
}

function answerNow(conversation) {
  const answer = newAnswer();
  versions.append(conversation, answer);
  fill(conversation, answer);
}

function newAnswer() {
  return emptyAnswer(model()?.id ?? "", Boolean(settings.schema));
}

async function fill(conversation, answer, goesOn = false) {
  const stop = new AbortController();
  conversation.changed = Date.now();
  answer.live = { phase: "waiting", sent: performance.now(), pieces: 0 };
  running.set(conversation.id, stop);
  conversations = [conversation, ...conversations.filter((one) => one !== conversation)];
  if (conversation === current) history.replaceState(null, "", `#${conversation.id}`);
  showAll();
  thread.toEnd();
  announce("The model is answering.");
  // A page that is reloaded from here on shows the question.
  await Promise.race([store(conversation), new Promise((resolve) => setTimeout(resolve, STORE_WAIT))]);
  let saved = -Infinity;
  const grown = () => {
    if (answer.live?.pieces && performance.now() - saved > STORE_EVERY) {
      saved = performance.now();
      store(conversation);
    }
    thread.update();
  };
  const ticking = setInterval(() => thread.update(), 250);
  try {
    await runTurn({ conversation, answer, goesOn, settings, signal: stop.signal, changed: grown, askKey: askKeyAndModels });
  } finally {
    clearInterval(ticking);
    running.delete(conversation.id);
    if (conversations.includes(conversation) && !isLeaving) await store(conversation);
    side.show(conversations, current.id, running);
    thread.place();
    showFoot();
    announce(answer.error || `Answer: ${answer.content.slice(0, 3000)}`);
    if (answer.finish === "gone") waitForServer();
  }
}

// --- controls --------------------------------------------------------------------------------------------------------

function openSide() {
  document.body.classList.add("side-open");
  $("side").inert = false;
  $("new").focus();
}

function closeSide() {
  document.body.classList.remove("side-open");
  $("side").inert = narrow.matches;
}

async function exportAll() {
  const name = `shoestring-${new Date().toISOString().slice(0, 10)}.json`;
  saveAs(name, await exported(await storage.allConversations()), "application/json");
}

async function importFile(file) {
  try {
    const count = await imported(await file.text());
    const live = (one) => conversations.find((other) => other.id === one.id && running.has(one.id)) ?? one;
    conversations = (await storage.allConversations()).map(live);
    current = conversations.find((one) => one.id === current.id) ?? current;
    showAll();
    toast(`Took in ${count} conversation${count === 1 ? "" : "s"}.`);
  } catch (error) {
    toast(error.message);
  }
}

function wireSaving() {
  const menu = $("save-menu");
  const save = iconButton("save", "Copy or save this chat", () => {});
  save.id = "save";
  save.popoverTargetElement = menu;
  const line = (label, press) => el("button", { type: "button", class: "line", onclick: press }, label);
  menu.append(
    line("Copy as Markdown", async () => {
      menu.hidePopover();
      toast((await copyText(asMarkdown(current))) ? "Copied the chat as Markdown." : "The browser did not allow it.");
    }),
    line("Save as Markdown", () => {
      menu.hidePopover();
      saveAs(`${fileName(current.title)}.md`, asMarkdown(current), "text/markdown");
    }),
  );
  $("tools-place").append(save);
}

function wire() {
  $("menu-place").append(iconButton("menu", "Conversations", openSide));
  wireSaving();
  $("tools-place").append(themeButton(), iconButton("sliders", "Settings", () => panel.open(current, model())));
  $("new").append(icon("plus"), "New chat");
  $("new").addEventListener("click", startNew);
  $("find").append(icon("search"), "Search");
  $("find").addEventListener("click", finder.open);
  $("latest").append(icon("down"), "Latest");
  $("scrim").addEventListener("click", closeSide);
  $("export").addEventListener("click", exportAll);
  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => $("file").files[0] && importFile($("file").files[0]).then(() => ($("file").value = "")));
  narrow.addEventListener("change", closeSide);
  document.addEventListener("keydown", pressed);
  window.addEventListener("pagehide", () => {
    isLeaving = true;
    for (const one of conversations) if (isRunning(one)) storage.saveConversation(one);
  });
  window.addEventListener("pageshow", () => (isLeaving = false));
  closeSide();
}

function pressed(event) {
  const key = event.key.toLowerCase();
  const isCommand = (event.ctrlKey || event.metaKey) && !event.altKey;
  if (isCommand && ((key === "k" && !event.shiftKey) || (key === "o" && event.shiftKey))) {
    event.preventDefault();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    if (key === "k") finder.open();
    else startNew();
  } else if (key === "escape" && !document.querySelector("dialog[open], :popover-open")) {
    if (document.body.classList.contains("side-open")) closeSide();
    else running.get(current.id)?.abort();
  }
}

conversations = await storage.allConversations();
current = conversations.find((one) => one.id === location.hash.slice(1)) ?? newConversation(settings.system ?? "");
wire();
showAll();
if (!narrow.matches) field.focus();
await loadModels();
const named = conversations.flatMap(({ messages }) => messages.flatMap(({ media }) => media ?? []));
await sweepMedia(new Set([...named, ...storage.loadDraftFiles()].map(({ key }) => key)));
