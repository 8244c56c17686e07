// The settings panel: system prompt, thinking, sampling, tools. An empty field means the model's own value.
import { el, iconButton } from "./dom.js";
import { saveSettings } from "./store.js";

const NUMBERS = [
  { name: "temperature", label: "Temperature", low: 0, high: 2, hint: "0 is the likeliest word every time" },
  { name: "top_p", label: "Top p", low: 0, high: 1, hint: "share of the likeliest words; 1 is off" },
  { name: "top_k", label: "Top k", low: 0, high: 1000, whole: true, hint: "this many likeliest words; 0 is off" },
  { name: "min_p", label: "Min p", low: 0, high: 1, hint: "at least this share of the likeliest; 0 is off" },
  { name: "presence_penalty", label: "Presence penalty", low: -2, high: 2, hint: "above 0: fewer repetitions" },
  { name: "seed", label: "Seed", low: 0, high: Number.MAX_SAFE_INTEGER, whole: true, hint: "the same seed, the same answer" },
  { name: "max_tokens", label: "Most tokens", low: 1, high: 10_000_000, whole: true, hint: "of one answer, thinking included" },
];
const THINKING = [
  ["", "As the model likes"], ["off", "Off"], ["on", "On"], ["low", "Low effort"], ["medium", "Medium effort"], ["high", "High effort"],
];

/** The panel in the dialog #settings: `{open(conversation, model)}`. `systemChanged(text)` stores the system prompt. */
export function settingsPanel(settings, systemChanged) {
  const dialog = document.getElementById("settings");
  const save = () => saveSettings(settings);
  const system = el("textarea", { id: "set-system", rows: 5, placeholder: "None", oninput: () => systemChanged(system.value) });
  const thinking = el(
    "select",
    { id: "set-thinking", onchange: () => ((settings.thinking = thinking.value), save()) },
    ...THINKING.map(([value, label]) => el("option", { value, textContent: label })),
  );
  const fields = NUMBERS.map((number) => numberField(number, settings, save));
  const toolsWrong = el("p", { class: "wrong", id: "tools-wrong", role: "alert" });
  const tools = el("textarea", {
    id: "set-tools", rows: 4, class: "mono", spellcheck: false, placeholder: '[{"name": "get_weather", "parameters": {…}}]',
    "aria-describedby": "tools-wrong", oninput: readTools,
  });

  function readTools() {
    try {
      settings.tools = tools.value.trim() ? JSON.parse(tools.value).map(toolOf) : [];
      toolsWrong.textContent = "";
      save();
    } catch (error) {
      const reason = error instanceof SyntaxError ? "This is not JSON yet." : "Write a list of tools, each with a name.";
      toolsWrong.textContent = `${reason} The last good tools stay in use.`;
    }
    tools.setAttribute("aria-invalid", String(Boolean(toolsWrong.textContent)));
  }

  let model = null;

  function fill() {
    thinking.value = settings.thinking ?? "";
    tools.value = settings.tools?.length ? JSON.stringify(settings.tools, null, 2) : "";
    for (const field of fields) field.fill(model?.sampling);
  }

  function reset() {
    for (const { name } of NUMBERS) delete settings[name];
    delete settings.thinking;
    settings.tools = [];
    toolsWrong.textContent = "";
    save();
    fill();
  }

  dialog.append(
    el("header", {}, el("h2", { id: "settings-title", textContent: "Settings" }), iconButton("close", "Close", () => dialog.close())),
    labelled("System prompt", system, "For this chat; new chats begin with it too."),
    labelled("Thinking", thinking, "Some models think before they answer."),
    el("fieldset", {}, el("legend", { textContent: "Sampling" }), el("div", { class: "grid" }, ...fields.map((field) => field.node))),
    labelled("Tools", tools, "Definitions as JSON. The page runs none: when the model calls one, you type its result."),
    toolsWrong,
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

function labelled(label, field, hint) {
  const id = `${field.id}-hint`;
  field.setAttribute("aria-describedby", `${id} ${field.getAttribute("aria-describedby") ?? ""}`.trim());
  const name = el("label", { for: field.id, textContent: label });
  return el("div", { class: "field" }, name, field, el("p", { class: "dim", id, textContent: hint }));
}

// A number, which applies only within its limits. Empty: the model's own value.
function numberField({ name, label, low, high, whole, hint }, settings, save) {
  const wrong = el("p", { class: "wrong", role: "alert" });
  const limits = { min: low, max: high, step: whole ? 1 : "any" };
  const input = el("input", { id: `set-${name}`, type: "number", inputMode: "decimal", ...limits, oninput: read });
  function read() {
    const { valid } = input.validity;
    wrong.textContent = valid ? "" : `A ${whole ? "whole number" : "number"} from ${low} to ${high}.`;
    input.setAttribute("aria-invalid", String(!valid));
    if (!valid || input.value === "") delete settings[name];
    else settings[name] = Number(input.value);
    save();
  }
  const node = labelled(label, input, hint);
  node.append(wrong);
  return {
    node,
    fill(defaults) {
      input.value = settings[name] ?? "";
      input.placeholder = defaults?.[name] ?? "model's own";
      wrong.textContent = "";
      input.setAttribute("aria-invalid", "false");
    },
  };
}

function toolOf(raw) {
  const tool = raw?.type === "function" ? raw : { type: "function", function: raw };
  if (typeof tool.function?.name !== "string" || !tool.function.name) throw new TypeError("no name");
  return tool;
}
