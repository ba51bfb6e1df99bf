// A person's number, shown on demand: each time it is asked for, that is recorded.

import { send } from "./requests.js";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-reveals]");
  if (!button) return;
  const place = document.getElementById(button.dataset.shows);
  try {
    const found = await send("GET", button.dataset.reveals);
    place.textContent = found.phone_e164;
    button.remove();
  } catch (fault) {
    document.getElementById("saved").textContent = fault.message;
  }
});
