// What CSS cannot do yet everywhere: put a pop-over beside its button where anchors are unknown. And the colour scheme.

if (!CSS.supports("position-area", "bottom")) {
  document.addEventListener(
    "toggle",
    ({ target, newState }) => {
      if (newState !== "open" || !target.matches?.("[popover]")) return;
      const button = document.querySelector(`[popovertarget="${target.id}"]`);
      if (!button || target.id === "keys") return;
      const anchor = button.getBoundingClientRect();
      const { width, height } = target.getBoundingClientRect();
      const fitsBelow = anchor.bottom + height + 8 < innerHeight;
      Object.assign(target.style, {
        position: "fixed",
        left: `${Math.max(8, Math.min(anchor.right - width, innerWidth - width - 8))}px`,
        top: `${fitsBelow ? anchor.bottom : Math.max(8, anchor.top - height - 8)}px`,
      });
    },
    true,
  );
}

document.querySelector("[data-schemes]")?.addEventListener("change", ({ target }) => {
  const root = document.documentElement;
  if (target.value) root.dataset.theme = target.value;
  else delete root.dataset.theme;
  document.cookie = `ese_scheme=${target.value}; path=/; max-age=${target.value ? 31_536_000 : 0}; samesite=lax`;
  document.dispatchEvent(new CustomEvent("scheme:changed"));
});
