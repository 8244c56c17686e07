// What can be done with one message: look at its other versions, and the buttons.
import { el, iconButton } from "./dom.js";

/**
 * The row below a message: `{node, show({at, of, running})}`. `at` of `of` is the version that is shown. `before` and
 * `after` are called to change it. `buttons` can be pressed at any time, `changes` only while no answer is running.
 */
export function actionRow({ buttons, changes, before, after }) {
  const older = iconButton("left", "Previous version", before);
  const newer = iconButton("right", "Next version", after);
  const count = el("span");
  const versions = el("span", { class: "versions", role: "group", "aria-label": "Versions" }, older, count, newer);
  const actions = el("span", { class: "actions" }, ...buttons, ...changes);
  return {
    node: el("span", { class: "row" }, versions, actions),
    show({ at, of, running }) {
      versions.hidden = of < 2;
      count.textContent = `${at}/${of}`;
      older.disabled = running || at === 1;
      newer.disabled = running || at === of;
      for (const button of changes) button.hidden = running;
    },
  };
}
