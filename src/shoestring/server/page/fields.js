// The settings' fields. What is not valid is said below the field, and the last good value stays in use.
import { el } from "./dom.js";

/** A field with its label and a hint, which screen readers hear with it. */
export function labelled(label, field, hint) {
  const id = `${field.id}-hint`;
  field.setAttribute("aria-describedby", `${id} ${field.getAttribute("aria-describedby") ?? ""}`.trim());
  const name = el("label", { for: field.id, textContent: label });
  return el("div", { class: "field" }, name, field, el("p", { class: "dim", id, textContent: hint }));
}

/** A number within limits: `{node, fill(defaults)}`. Empty: the model's own value. */
export function numberField({ name, label, low, high, whole, hint }, settings, save) {
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

/**
 * Text that is read as a value: `{node, fill()}`. `parse(text)` throws a SyntaxError where the text is not JSON yet, and
 * an Error with a sentence for other faults; `show(value)` gives the text. Empty text deletes the setting.
 */
export function textField({ name, label, hint, placeholder, parse, show, last }, settings, save) {
  const wrong = el("p", { class: "wrong", id: `${name}-wrong`, role: "alert" });
  const area = el("textarea", {
    id: `set-${name}`, rows: 3, class: "mono", spellcheck: false, placeholder, "aria-describedby": wrong.id, oninput: read,
  });
  function say(sentence) {
    wrong.textContent = sentence;
    area.setAttribute("aria-invalid", String(Boolean(sentence)));
  }
  function read() {
    try {
      if (area.value.trim()) settings[name] = parse(area.value);
      else delete settings[name];
      say("");
      save();
    } catch (error) {
      say(`${error instanceof SyntaxError ? "This is not JSON yet." : error.message} ${last}`);
    }
  }
  const node = labelled(label, area, hint);
  node.append(wrong);
  return {
    node,
    fill() {
      area.value = settings[name] === undefined ? "" : show(settings[name]);
      say("");
    },
  };
}
