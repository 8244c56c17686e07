// Before anything is drawn: the colours that were chosen. A plain script, so that it runs before the body.
try {
  const chosen = localStorage.getItem("shoestring.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing: the system's colours.
}
