// Set the chosen colours before anything is drawn. A plain script, so that it runs before the body.
try {
  const chosen = localStorage.getItem("shoestring.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // The browser stores nothing: use the system's colours.
}
