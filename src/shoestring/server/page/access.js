// The dialog that asks for an API key.
import { storeKey } from "./api.js";

let asking = null;

/** Asks for a key; several callers share one dialog. Resolves to whether there is a key to try. */
export function askKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const field = document.getElementById("key-field");
    const hadKey = storeKey("");
    const why = hadKey ? "The server did not accept this key." : "This server answers only with a key.";
    document.getElementById("key-why").textContent = `${why} It is kept until you close this tab.`;
    document.getElementById("key-not").onclick = () => dialog.close("");
    field.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.onclose = () => {
      const key = dialog.returnValue === "use" ? field.value.trim() : "";
      storeKey(key);
      asking = null;
      resolve(Boolean(key));
    };
  });
  return asking;
}
