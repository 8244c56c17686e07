// The message field: it grows with its words, takes files, and keeps both over a reload.
import { onFiles, readFile, withFiles } from "./attachments.js";
import { announce, el, icon, iconButton } from "./dom.js";
import { costOf, kindOf, readMedia, thumbnail } from "./media.js";
import { loadDraft, loadDraftFiles, saveDraft, saveDraftFiles } from "./store.js";
import { toast } from "./toast.js";

/**
 * The form #composer: `{show(), focus()}`. `act`: `state()` gives {busy, pending, model} of the shown conversation,
 * `send(text, media)` and `stop()` act on it, `editLast()` opens its last message for editing and returns whether there is one.
 */
export function composer(act) {
  const form = document.getElementById("composer");
  const words = document.getElementById("words");
  const label = document.getElementById("words-label");
  const button = document.getElementById("send");
  const chips = document.getElementById("chips");
  const picker = document.getElementById("attached");
  let files = loadDraftFiles();

  function show() {
    const { busy, pending } = act.state();
    button.replaceChildren(icon(busy ? "stop" : "send"));
    button.setAttribute("aria-label", busy ? "Stop" : "Send");
    button.title = busy ? "Stop (Esc)" : "Send (Enter)";
    button.disabled = !busy && !words.value.trim() && !files.length;
    button.classList.toggle("stops", busy);
    label.textContent = pending ? `Result of ${pending.call.name}` : "Message";
    const which = pending?.of > 1 ? ` (${pending.number} of ${pending.of})` : "";
    words.placeholder = pending ? `Result of ${pending.call.name}${which}` : "Write a message";
    words.style.height = "auto";
    words.style.height = `${words.scrollHeight}px`;
  }

  function showChips() {
    const chip = (file) =>
      el(
        "li",
        { class: "chip" },
        file.key ? thumbnail(file) : null,
        el("span", { textContent: file.name }),
        file.key ? el("small", { class: "dim", textContent: costOf(file) }) : null,
        iconButton("close", `Remove ${file.name}`, () => {
          changeFiles(files.filter((one) => one !== file));
          words.focus();
        }),
      );
    chips.replaceChildren(...files.map(chip));
    chips.hidden = !files.length;
  }

  function changeFiles(next) {
    files = next;
    if (!saveDraftFiles(files)) toast("The browser cannot store these files: a reload would remove them from the message.");
    showChips();
    show();
  }

  async function take(list) {
    const added = [];
    for (const file of list) {
      try {
        const kind = kindOf(file);
        const read = await (kind ? readMedia(file, kind, act.state().model) : readFile(file));
        added.push(read);
        announce(`${read.name} joins the message. ${costOf(read)}`.trim());
      } catch (error) {
        toast(error.message);
      }
    }
    if (added.length) changeFiles([...files, ...added]);
    words.focus();
  }

  function submit(event) {
    event.preventDefault();
    if (act.state().busy) return act.stop();
    const media = files.filter(({ key }) => key);
    const text = withFiles(words.value.trim(), files.filter(({ key }) => !key));
    if (!text && !media.length) return;
    words.value = "";
    saveDraft("");
    changeFiles([]);
    act.send(text, media);
  }

  const attach = iconButton("clip", "Add a file", () => picker.click());
  form.prepend(attach);
  picker.addEventListener("change", () => take([...picker.files]).then(() => (picker.value = "")));
  onFiles(take);
  words.value = loadDraft();
  showChips();
  words.addEventListener("input", () => {
    saveDraft(words.value);
    show();
  });
  form.addEventListener("submit", submit);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!act.state().busy) form.requestSubmit();
    } else if (event.key === "ArrowUp" && !words.value && act.editLast()) {
      event.preventDefault();
    }
  });

  return { show, focus: () => words.focus() };
}
