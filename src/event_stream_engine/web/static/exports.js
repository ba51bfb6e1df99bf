// Links to files: asked for in a dialog, shown once, copied where the browser lets us.

import { clearFaults } from "./forms.js";

const dialog = document.getElementById("link-dialog");
const form = document.getElementById("link-form");
const made = document.getElementById("link-made");
const url = document.getElementById("link-url");
const until = document.getElementById("link-until");

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-link]");
  if (!button) return;
  clearFaults(form);
  form.dataset.action = button.dataset.link;
  made.hidden = true;
  dialog.showModal();
});

form.addEventListener("form:sent", async ({ detail }) => {
  made.hidden = false;
  url.value = detail.url;
  url.select();
  const end = new Date(detail.until).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const isCopied = await navigator.clipboard?.writeText(detail.url).then(() => true, () => false);
  until.textContent = `${isCopied ? "Copied. " : ""}Good until ${end}.`;
});
