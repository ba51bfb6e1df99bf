// Keyboard first.

const list = document.getElementById("keys");
const actions = {
  "?": () => list.togglePopover(),
  "/": () => document.querySelector("input[type=search]")?.focus(),
  p: () => document.dispatchEvent(new CustomEvent("feed:toggle")),
  r: () => document.dispatchEvent(new CustomEvent("live:refresh")),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, [contenteditable]")) return;
  if (!(key in actions)) return;
  event.preventDefault();
  actions[key]();
});

document.querySelector("[data-opens-keys]")?.addEventListener("click", () => {
  document.getElementById("operator-menu").hidePopover();
  list.showPopover();
});
