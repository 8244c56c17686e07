// Functions that make document nodes. Text only ever becomes a text node.

/** An element. `properties`: names with `on…` are listeners; names with a hyphen, `role` and `for` are attributes. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Strokes of a 20 × 20 drawing. */
const STROKES = {
  send: "M10 16V4M5 9l5-5 5 5",
  stop: "M6 6h8v8H6z",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  done: "M4 10.5l4 4 8-9",
  onward: "M4 5l5 5-5 5M10 5l5 5-5 5",
  retry: "M15.5 8A6 6 0 1 0 16 11.5M16 4v4h-4",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
  trash: "M4 6h12M8 6V4h4v2M6 6l1 10h6l1-10",
  plus: "M10 4v12M4 10h12",
  menu: "M3 6h14M3 10h14M3 14h14",
  close: "M5 5l10 10M15 5L5 15",
  sliders: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1 1M14.7 14.7l1 1M15.7 4.3l-1 1M5.3 14.7l-1 1",
  moon: "M16 12A6.5 6.5 0 0 1 8 4a6.5 6.5 0 1 0 8 8z",
  down: "M10 4v12M5 11l5 5 5-5",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  search: "M8.5 3.5a5 5 0 1 0 0 10a5 5 0 1 0 0-10M12.5 12.5l4 4",
  clip: "M16 9.5l-6 6a3.4 3.4 0 0 1-4.8-4.8l6.4-6.4a2.3 2.3 0 0 1 3.2 3.2l-6.3 6.3a1 1 0 0 1-1.5-1.5l5.6-5.6",
  save: "M10 3v9M6.5 8.5L10 12l3.5-3.5M4 14v3h12v-3",
  tool: "M12.5 3.5a4 4 0 0 0-4.6 5.4L3.5 13.3l3.2 3.2 4.4-4.4a4 4 0 0 0 5.4-4.6L14 10l-2.6-1.4L10 6z",
};

/** The icon of this name, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon, and a label for screen readers. */
export function iconButton(name, label, press, more = "") {
  return el("button", { type: "button", class: `quiet ${more}`, title: label, "aria-label": label, onclick: press }, icon(name));
}

/** A button that copies text, and shows the result for a moment. */
export function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    const copied = await copyText(text());
    button.replaceChildren(icon(copied ? "done" : "close"));
    button.title = copied ? "Copied" : "The browser did not allow it";
    announce(button.title);
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.title = label;
    }, 1500);
  });
  return button;
}

/** Copies a text. Resolves to whether the browser allowed it. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have no clipboard object on pages that come from another machine without HTTPS.
    const area = el("textarea", { value: text, class: "unseen" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** Says something to screen readers. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** A number with separators: 12,345. */
export const { format: number } = new Intl.NumberFormat("en");

/** Milliseconds as 0.4 s, 12 s, 3 min 5 s. */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return seconds < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
