// Counts who is in each segment of a list, one after the other: the page does not wait for it.

import { send } from "./requests.js";

for (const place of document.querySelectorAll("[data-counts]")) {
  try {
    const found = await send("POST", "/api/v1/segments/preview", { filter: JSON.parse(place.dataset.counts) });
    place.textContent = found.people.toLocaleString("en");
  } catch (fault) {
    place.textContent = "–";
    place.title = fault.message;
  }
}
