// The page as a whole: the current conversation, the running answers, the keys. Everything else has its own module.
import { isAlive, listModels, storeKey } from "./api.js";
import { announce, el, icon, iconButton, number } from "./dom.js";
import { settingsPanel } from "./settings.js";
import { sidebar, toast } from "./sidebar.js";
import * as storage from "./store.js";
import { threadView } from "./thread.js";
import { emptyAnswer, pendingCall, runTurn } from "./turn.js";

const $ = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 760px)");
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const STARTERS = [
  "Explain recursion in three sentences.",
  "Write a Python function that reverses the words of a line, with a test.",
  "Compare tea and coffee in a small table.",
];
const KEYS = [["Enter", "send"], ["↑", "edit the last"], ["Esc", "stop"], ["Ctrl K", "new chat"]];

const settings = storage.loadSettings();
const running = new Map(); // id of a conversation → the AbortController of its answer
let conversations = [];
let current = null;
let models = [];
let trouble = ""; // why no model is known

const thread = threadView({
  retry,
  edit,
  running: (conversation) => running.has(conversation?.id),
  contextLength,
});
const side = sidebar({ open: openConversation, rename, remove });
const panel = settingsPanel(settings, (text) => {
  current.system = text;
  settings.system = text;
  storage.saveSettings(settings);
  if (current.messages.length) store(current);
});

// --- drawing ---------------------------------------------------------------------------------------------------------

function model() {
  return models.find((one) => one.id === settings.model) ?? models[0];
}

function contextLength() {
  return model()?.context_length ?? model()?.max_model_len;
}

function showAll() {
  side.show(conversations, current.id, running);
  $("title").textContent = current.title || "New chat";
  document.title = current.title ? `${current.title} · Shoestring` : "Shoestring";
  $("empty").hidden = current.messages.length > 0;
  if (!current.messages.length) showEmpty();
  thread.show(current);
  showComposer();
}

function showComposer() {
  const busy = running.has(current.id);
  const pending = busy ? null : pendingCall(current);
  const words = $("words");
  const button = $("send");
  button.replaceChildren(icon(busy ? "stop" : "send"));
  button.setAttribute("aria-label", busy ? "Stop" : "Send");
  button.title = busy ? "Stop (Esc)" : "Send (Enter)";
  button.disabled = !busy && !words.value.trim();
  button.classList.toggle("stops", busy);
  words.placeholder = pending ? `Result of ${pending.call.name}${pending.of > 1 ? ` (${pending.number} of ${pending.of})` : ""}` : "Write a message";
  $("words-label").textContent = pending ? `Result of ${pending.call.name}` : "Message";
  words.style.height = "auto";
  words.style.height = `${words.scrollHeight}px`;
  showFullness();
}

function showFullness() {
  const last = current.messages.findLast((message) => message.measures?.prompt);
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

function showEmpty() {
  const one = model();
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const length = contextLength();
  const facts = [
    one?.description,
    length ? `Remembers ${number(length)} tokens of a conversation.` : "",
    here ? "Runs on this machine; what you write stays on it." : `Runs on ${location.hostname}.`,
  ];
  const starters = STARTERS.map((text) =>
    el("button", { type: "button", class: "starter", textContent: text, onclick: () => send(text) }),
  );
  $("empty").replaceChildren(
    el("p", { class: "dim", textContent: one ? "You are talking to" : trouble ? "No model" : "Asking the server" }),
    el("h2", { textContent: one?.id ?? (trouble || "…") }),
    ...(one ? facts.filter(Boolean).map((fact) => el("p", { textContent: fact })) : []),
    trouble && !one ? el("button", { type: "button", class: "button", onclick: loadModels }, icon("retry"), "Try again") : "",
    one ? el("div", { class: "starters" }, ...starters) : "",
    el("p", { class: "dim keys" }, ...KEYS.flatMap(([key, does]) => [el("kbd", { textContent: key }), ` ${does} `])),
  );
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
  if (!narrow.matches) $("words").focus();
}

function startNew() {
  openConversation(current && !current.messages.length ? current : storage.newConversation(settings.system ?? ""));
  $("words").focus();
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

// --- turns -----------------------------------------------------------------------------------------------------------

function send(text) {
  const words = text.trim();
  if (!words || running.has(current.id)) return;
  const pending = pendingCall(current);
  if (pending) {
    current.messages.push({ role: "tool", content: words, tool_call_id: pending.call.id });
    if (pendingCall(current)) {
      store(current);
      showAll();
      return;
    }
  } else {
    current.messages.push({ role: "user", content: words });
  }
  current.title ||= words.split("\n")[0].slice(0, 60);
  answerNow(current);
}

/** Runs the last answer again, without the results that its tool calls got. */
function retry(conversation) {
  if (running.has(conversation.id)) return;
  conversation.messages.splice(conversation.messages.findLastIndex((message) => message.role === "assistant"));
  answerNow(conversation);
}

function edit(conversation, message, words) {
  if (running.has(conversation.id)) return;
  conversation.messages.splice(conversation.messages.indexOf(message));
  conversation.messages.push({ role: "user", content: words });
  answerNow(conversation);
}

async function answerNow(conversation) {
  const answer = emptyAnswer(model()?.id ?? "");
  const stop = new AbortController();
  conversation.messages.push(answer);
  conversation.changed = Date.now();
  answer.live = { phase: "waiting", sent: performance.now(), pieces: 0 };
  running.set(conversation.id, stop);
  conversations = [conversation, ...conversations.filter((one) => one !== conversation)];
  history.replaceState(null, "", `#${current.id}`);
  showAll();
  thread.toEnd();
  announce("The model is answering.");
  let saved = performance.now();
  const changed = () => {
    if (performance.now() - saved > 2000) {
      saved = performance.now();
      store(conversation);
    }
    thread.update();
  };
  const ticking = setInterval(() => thread.update(), 250);
  try {
    await runTurn({ conversation, answer, settings, signal: stop.signal, changed, askKey });
  } finally {
    clearInterval(ticking);
    running.delete(conversation.id);
    if (conversations.includes(conversation)) await store(conversation);
    side.show(conversations, current.id, running);
    thread.markLast();
    showComposer();
    announce(answer.error || `Answer: ${answer.content.slice(0, 3000)}`);
    if (answer.finish === "gone") waitForServer();
  }
}

// --- the key ---------------------------------------------------------------------------------------------------------

let asking = null;

/** Asks for an API key; several callers share one dialog. Resolves to whether there is a key to try. */
function askKey() {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    const hadKey = storeKey("");
    $("key-why").textContent = `${hadKey ? "The server did not accept this key." : "This server answers only with a key."} It is kept until you close this tab.`;
    $("key-field").value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.onclose = () => {
      const key = dialog.returnValue === "use" ? $("key-field").value.trim() : "";
      storeKey(key);
      asking = null;
      resolve(Boolean(key));
      if (key && !models.length) loadModels();
    };
  });
  return asking;
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

function isDark() {
  return (document.documentElement.dataset.theme ?? (darkSystem.matches ? "dark" : "light")) === "dark";
}

function nextTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("shoestring.theme", theme);
  } catch {
    // The theme lasts until the tab closes.
  }
  showTheme();
}

function showTheme() {
  $("theme").replaceChildren(icon(isDark() ? "sun" : "moon"));
}

async function exportFile() {
  const address = URL.createObjectURL(new Blob([await storage.exported()], { type: "application/json" }));
  el("a", { href: address, download: `shoestring-${new Date().toISOString().slice(0, 10)}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function importFile(file) {
  try {
    const count = await storage.imported(await file.text());
    const live = (one) => conversations.find((other) => other.id === one.id && running.has(one.id)) ?? one;
    conversations = (await storage.allConversations()).map(live);
    current = conversations.find((one) => one.id === current.id) ?? current;
    showAll();
    toast(`Took in ${count} conversation${count === 1 ? "" : "s"}.`);
  } catch (error) {
    toast(error.message);
  }
}

function wire() {
  const words = $("words");
  $("menu-place").append(iconButton("menu", "Conversations", openSide));
  const theme = iconButton("moon", "Light or dark", nextTheme);
  theme.id = "theme";
  $("tools-place").append(theme, iconButton("sliders", "Settings", () => panel.open(current, model())));
  $("new").append(icon("plus"), "New chat");
  $("new").addEventListener("click", startNew);
  $("latest").append(icon("down"), "Latest");
  $("scrim").addEventListener("click", closeSide);
  $("export").addEventListener("click", exportFile);
  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => $("file").files[0] && importFile($("file").files[0]).then(() => ($("file").value = "")));
  $("key-not").addEventListener("click", () => $("key").close(""));
  narrow.addEventListener("change", closeSide);
  darkSystem.addEventListener("change", showTheme);
  words.addEventListener("input", showComposer);
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (running.has(current.id)) return running.get(current.id).abort();
    const text = words.value;
    words.value = "";
    send(text);
  });
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!running.has(current.id)) $("composer").requestSubmit();
    } else if (event.key === "ArrowUp" && !words.value && thread.editLast()) {
      event.preventDefault();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
      startNew();
    } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      if (document.body.classList.contains("side-open")) closeSide();
      else running.get(current.id)?.abort();
    }
  });
  showTheme();
  closeSide();
}

conversations = await storage.allConversations();
current = conversations.find((one) => one.id === location.hash.slice(1)) ?? storage.newConversation(settings.system ?? "");
wire();
showAll();
if (!narrow.matches) $("words").focus();
await loadModels();
