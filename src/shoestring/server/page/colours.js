// Light or dark: the system's choice until one is made here. theme.js applies it before anything is drawn.
import { icon, iconButton } from "./dom.js";

const darkSystem = matchMedia("(prefers-color-scheme: dark)");

/** The button that changes between light and dark. */
export function themeButton() {
  const button = iconButton("moon", "Light or dark", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("shoestring.theme", theme);
    } catch {
      // The theme lasts until the tab closes.
    }
    show();
  });
  const show = () => button.replaceChildren(icon(isDark() ? "sun" : "moon"));
  darkSystem.addEventListener("change", show);
  show();
  return button;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (darkSystem.matches ? "dark" : "light")) === "dark";
}
