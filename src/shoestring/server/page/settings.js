// How answers are made: a panel with the system prompt, thinking, sampling, tools. Empty means the model's own.
import { el, iconButton } from "./dom.js";
import { keepSettings } from "./store.js";

const NUMBERS = [
  { name: "temperature", label: "Temperature", low: 0, high: 2, step: 0.05, hint: "0 is the likeliest word every time" },
  { name: "top_p", label: "Top p", low: 0, high: 1, step: 0.05, hint: "share of the likeliest words; 1 is off" },
  { name: "top_k", label: "Top k", low: 0, high: 1000, step: 1, hint: "this many likeliest words; 0 is off" },
  { name: "min_p", label: "Min p", low: 0, high: 1, step: 0.01, hint: "at least this share of the likeliest; 0 is off" },
  { name: "presence_penalty", label: "Presence penalty", low: -2, high: 2, step: 0.1, hint: "above 0: fewer repetitions" },
  { name: "seed", label: "Seed", low: 0, high: Number.MAX_SAFE_INTEGER, step: 1, hint: "the same seed, the same answer" },
  { name: "max_tokens", label: "Most tokens", low: 1, high: 10_000_000, step: 1, hint: "of one answer, thinking included" },
];
const THINKING = [
  ["", "As the model likes"], ["off", "Off"], ["on", "On"], ["low", "Low effort"], ["medium", "Medium effort"], ["high", "High effort"],
];

/** `{open(conversation, model), settings}` over the dialog #settings. `systemChanged(text)` keeps the system prompt. */
export function settingsPanel(settings, systemChanged) {
  const dialog = document.getElementById("settings");
  const save = () => keepSettings(settings);
  const system = el("textarea", { id: "set-system", rows: 5, placeholder: "None", oninput: () => systemChanged(system.value) });
  const thinking = el(
    "select",
    { id: "set-thinking", onchange: () => ((settings.thinking = thinking.value), save()) },
    ...THINKING.map(([value, label]) => el("option", { value, textContent: label })),
  );
  const fields = NUMBERS.map((given) => numberField(given, settings, save));
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
      const reason = error instanceof SyntaxError ? "This is not JSON yet." : "A list of tools is wanted, each with a name.";
      toolsWrong.textContent = `${reason} The last good tools stay in use.`;
    }
    tools.setAttribute("aria-invalid", String(Boolean(toolsWrong.textContent)));
  }

  function fill(model) {
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
    fill(shownModel);
  }

  let shownModel = null;
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
    open(conversation, model) {
      shownModel = model;
      system.value = conversation.system;
      fill(model);
      dialog.showModal();
    },
  };
}

function labelled(label, field, hint) {
  const told = `${field.id}-hint`;
  field.setAttribute("aria-describedby", `${told} ${field.getAttribute("aria-describedby") ?? ""}`.trim());
  return el(
    "div",
    { class: "field" },
    el("label", { for: field.id, textContent: label }),
    field,
    hint ? el("p", { class: "dim", id: told, textContent: hint }) : null,
  );
}

// A number that holds only while it is within its limits; empty is the model's own.
function numberField({ name, label, low, high, step, hint }, settings, save) {
  const wrong = el("p", { class: "wrong", role: "alert" });
  const input = el("input", { id: `set-${name}`, type: "number", inputMode: "decimal", min: low, max: high, step: "any" });
  input.addEventListener("input", () => {
    const value = input.value === "" ? undefined : Number(input.value);
    const bad = input.validity.badInput || (value !== undefined && !(value >= low && value <= high)) ||
      (step === 1 && value !== undefined && !Number.isInteger(value));
    wrong.textContent = bad ? `A ${step === 1 ? "whole number" : "number"} from ${low} to ${high}.` : "";
    input.setAttribute("aria-invalid", String(bad));
    if (bad || value === undefined) delete settings[name];
    else settings[name] = value;
    save();
  });
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
