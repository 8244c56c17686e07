// The settings panel: system prompt, thinking, sampling, the form of answers, tools. An empty field means the model's
// own value.
import { el, iconButton } from "./dom.js";
import { labelled, numberField, textField } from "./fields.js";
import { saveSettings } from "./store.js";

const NUMBERS = [
  { name: "temperature", label: "Temperature", low: 0, high: 2, hint: "0 is the likeliest word every time" },
  { name: "top_p", label: "Top p", low: 0, high: 1, hint: "share of the likeliest words; 1 is off" },
  { name: "top_k", label: "Top k", low: 0, high: 1000, whole: true, hint: "this many likeliest words; 0 is off" },
  { name: "min_p", label: "Min p", low: 0, high: 1, hint: "at least this share of the likeliest; 0 is off" },
  { name: "presence_penalty", label: "Presence penalty", low: -2, high: 2, hint: "above 0: fewer repetitions" },
  { name: "frequency_penalty", label: "Frequency penalty", low: -2, high: 2, hint: "grows with each repetition" },
  { name: "repetition_penalty", label: "Repetition penalty", low: 0.1, high: 10, hint: "counts the prompt too; 1 is off" },
  { name: "seed", label: "Seed", low: 0, high: Number.MAX_SAFE_INTEGER, whole: true, hint: "the same seed, the same answer" },
  { name: "max_tokens", label: "Most tokens", low: 1, high: 10_000_000, whole: true, hint: "of one answer, thinking included" },
];
const THINKING = [
  ["", "As the model likes"], ["off", "Off"], ["on", "On"], ["low", "Low effort"], ["medium", "Medium effort"], ["high", "High effort"],
];
const indented = (value) => JSON.stringify(value, null, 2);
const STOP = {
  name: "stop",
  label: "Stop strings",
  hint: "One a line; an answer ends before the first that it would write. \\n is a line break.",
  placeholder: "END\\n",
  parse: (text) => text.split("\n").filter(Boolean).map(unescaped),
  show: (stops) => stops.map(escaped).join("\n"),
  last: "",
};
const SCHEMA = {
  name: "schema",
  label: "JSON schema",
  hint: "Every answer is JSON of this form.",
  placeholder: '{"type": "object", "properties": {…}}',
  parse: schemaOf,
  show: indented,
  last: "The last good schema stays in use.",
};
const TOOLS = {
  name: "tools",
  label: "Tools",
  hint: "Definitions as JSON. The page runs none: when the model calls one, you type its result.",
  placeholder: '[{"name": "get_weather", "parameters": {…}}]',
  parse: toolsOf,
  show: (tools) => (tools.length ? indented(tools) : ""),
  last: "The last good tools stay in use.",
};

/**
 * The panel in the dialog #settings: `{open(conversation, model)}`. `systemChanged(text)` stores the system prompt;
 * `changed()` is called after any other change.
 */
export function settingsPanel(settings, systemChanged, changed) {
  const dialog = document.getElementById("settings");
  const save = () => {
    saveSettings(settings);
    changed();
  };
  const system = el("textarea", { id: "set-system", rows: 5, placeholder: "None", oninput: () => systemChanged(system.value) });
  const thinking = el(
    "select",
    { id: "set-thinking", onchange: () => ((settings.thinking = thinking.value), save()) },
    ...THINKING.map(([value, label]) => el("option", { value, textContent: label })),
  );
  const numbers = NUMBERS.map((number) => numberField(number, settings, save));
  const texts = [STOP, SCHEMA, TOOLS].map((text) => textField(text, settings, save));
  const [stop, schema, tools] = texts.map(({ node }) => node);
  let model = null;

  function fill() {
    thinking.value = settings.thinking ?? "";
    for (const field of texts) field.fill();
    for (const field of numbers) field.fill(model?.sampling);
  }

  function reset() {
    for (const { name } of [...NUMBERS, STOP, SCHEMA, TOOLS]) delete settings[name];
    delete settings.thinking;
    save();
    fill();
  }

  const grid = el("div", { class: "grid" }, ...numbers.map(({ node }) => node));
  dialog.append(
    el("header", {}, el("h2", { id: "settings-title", textContent: "Settings" }), iconButton("close", "Close", () => dialog.close())),
    labelled("System prompt", system, "For this chat; new chats begin with it too."),
    labelled("Thinking", thinking, "Some models think before they answer."),
    el("fieldset", {}, el("legend", { textContent: "Sampling" }), grid),
    el("fieldset", {}, el("legend", { textContent: "Form of answers" }), stop, schema),
    tools,
    el("button", { type: "button", class: "button", textContent: "Back to the model's own", onclick: reset }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  return {
    open(conversation, currentModel) {
      model = currentModel;
      system.value = conversation.system;
      fill();
      dialog.showModal();
    },
  };
}

function unescaped(line) {
  return line.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter]);
}

function escaped(stop) {
  return stop.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

function schemaOf(text) {
  const schema = JSON.parse(text);
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw new Error("A schema is an object: {…}.");
  return schema;
}

function toolsOf(text) {
  const tools = JSON.parse(text);
  if (!Array.isArray(tools)) throw new Error("Write a list of tools, each with a name.");
  return tools.map((raw) => {
    const tool = raw?.type === "function" ? raw : { type: "function", function: raw };
    if (typeof tool.function?.name !== "string" || !tool.function.name) throw new Error("Write a list of tools, each with a name.");
    return tool;
  });
}
