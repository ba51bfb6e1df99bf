// Taking alerts in hand, and being silent about them.

import { send } from "./requests.js";

async function act(button, method, address) {
  button.setAttribute("aria-busy", "true");
  try {
    await send(method, address);
    document.dispatchEvent(new CustomEvent("live:refresh"));
  } catch (fault) {
    document.getElementById("saved").textContent = fault.message;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-acknowledges], [data-ends-silence]");
  if (!button || button.getAttribute("aria-busy") === "true") return;
  const { acknowledges, endsSilence } = button.dataset;
  if (acknowledges) act(button, "POST", `/api/v1/alerts/${acknowledges}/acknowledge`);
  else act(button, "DELETE", `/api/v1/silences/${endsSilence}`);
});

// The hours of a silence count when a day is chosen.
document.addEventListener("form:read", ({ target, detail }) => {
  if (!target.matches(".silence-form")) return;
  const weekdays = [...target.querySelectorAll("[data-weekday]:checked")].map(({ dataset }) => Number(dataset.weekday));
  if (!weekdays.length) return;
  const hour = (name) => target.querySelector(`[data-hour=${name}]`).value;
  detail.schedule = { weekdays, starts: hour("starts"), ends: hour("ends"), timezone: target.elements.ends_at.dataset.zone };
});

// From the list one comes here to be silent.
if (location.hash === "#silence") document.querySelector("dialog#silence")?.showModal();
