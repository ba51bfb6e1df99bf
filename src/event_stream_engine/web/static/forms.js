// Forms that speak to the JSON API: `data-method`, `data-action` and `data-then`, faults at the field they belong to.

import { send } from "./requests.js";

/** Read what a clock in a zone shows as an instant. Twice, because the first guess may lie across a clock change. */
function instantIn(zone, local) {
  const wanted = new Date(`${local}Z`).getTime();
  const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  let at = wanted;
  for (const _ of [1, 2]) at += wanted - new Date(`${shown.format(at).replace(" ", "T")}Z`).getTime();
  return new Date(at).toISOString();
}

const readers = {
  text: (control) => control.value,
  number: (control) => (control.value === "" ? null : Number(control.value)),
  boolean: (control) => control.checked,
  words: (control) => control.value.split(/[,\n]/).map((word) => word.trim()).filter(Boolean),
  instant: (control) => (control.value ? instantIn(control.dataset.zone, control.value) : null),
  optional: (control) => (control.value.trim() === "" ? null : control.value),
  labels: (control) => Object.fromEntries(control.value.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
    const [name, ...value] = line.split("=");
    return [name.trim(), value.join("=").trim()];
  })),
  json: (control) => JSON.parse(control.value || "{}"),
};

/** Return what a form says as the API wants it. A listener of `form:read` may add what controls cannot hold, or throw. */
export function readForm(form) {
  const body = {};
  for (const control of form.elements) {
    if (!control.name || control.disabled || (control.type === "radio" && !control.checked)) continue;
    const read = readers[control.dataset.kind ?? (control.type === "checkbox" ? "boolean" : control.type === "number" ? "number" : "text")];
    try {
      body[control.name] = read(control);
    } catch {
      throw Object.assign(new Error("This is not valid JSON. Check quotes, commas and brackets."), { field: control.name });
    }
    if (control.hasAttribute("data-leave-out") && (body[control.name] === null || body[control.name] === "")) delete body[control.name];
  }
  // What a listener throws goes to the window and not to whoever dispatches; unheard, the form would be sent without it.
  let fault;
  const hear = (event) => {
    fault = event.error;
    event.preventDefault();
  };
  addEventListener("error", hear);
  form.dispatchEvent(new CustomEvent("form:read", { detail: body, bubbles: true }));
  removeEventListener("error", hear);
  if (fault) throw fault;
  return body;
}

export function clearFaults(form) {
  for (const place of form.querySelectorAll(".fault")) place.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

/** Show a fault where it belongs: at its field, else at the nearest enclosing one, else at the head of the form. */
export function showFault(form, { message, field }) {
  const told = new CustomEvent("form:fault", { detail: { message, field }, cancelable: true });
  if (!form.dispatchEvent(told)) return;
  for (let name = field; name; name = name.includes(".") ? name.slice(0, name.lastIndexOf(".")) : "") {
    const place = form.querySelector(`[data-fault-of="${CSS.escape(name)}"]`);
    if (!place) continue;
    place.textContent = message;
    const control = form.elements[name];
    if (control instanceof HTMLElement) {
      control.setAttribute("aria-invalid", "true");
      control.focus();
    }
    return;
  }
  const place = form.querySelector(".form-fault");
  if (place) {
    place.textContent = message;
    place.scrollIntoView({ block: "nearest" });
  }
}

const fill = (address, values) => address.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values?.[name] ?? ""));

async function submit(form, button) {
  clearFaults(form);
  button?.setAttribute("aria-busy", "true");
  try {
    const body = form.dataset.method === "DELETE" || form.hasAttribute("data-bodiless") ? undefined : readForm(form);
    const answer = await send(form.dataset.method, form.dataset.action, body);
    if (button?.dataset.next) await send("POST", fill(button.dataset.next, answer));
    const then = form.dataset.then;
    if (then === "reload") location.reload();
    else if (then === "refresh") {
      form.closest("dialog")?.close();
      document.dispatchEvent(new CustomEvent("live:refresh"));
    } else if (then) location.assign(fill(then, answer));
    form.dispatchEvent(new CustomEvent("form:sent", { detail: answer, bubbles: true }));
  } catch (fault) {
    showFault(form, fault);
    button?.removeAttribute("aria-busy");
    return;
  }
  if (form.dataset.then === "refresh" || !form.dataset.then) button?.removeAttribute("aria-busy");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.method) return;
  event.preventDefault();
  const button = event.submitter;
  if (button?.getAttribute("aria-busy") !== "true") submit(form, button);
});

// Dialogs: what opens them, and what closes them without doing anything.
document.addEventListener("click", (event) => {
  const { target } = event;
  const opener = target.closest?.("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    for (const form of dialog.querySelectorAll("form")) clearFaults(form);
    dialog.showModal();
  }
  target.closest?.("[data-closes]")?.closest("dialog").close();
  if (target instanceof HTMLDialogElement && event.detail > 0) {
    // A click on the backdrop is one on the dialog, beside its box.
    const { left, right, top, bottom } = target.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    if (x < left || x > right || y < top || y > bottom) target.close();
  }
});

// A filter that takes effect when it is chosen.
document.addEventListener("change", ({ target }) => {
  if (target.matches?.("[data-submits]")) target.form.requestSubmit();
});

// Until all modules are there, what needs them does not take a click that would be lost. Forms say method="dialog", so that
// none is ever sent by the browser itself, with its fields in the address.
addEventListener("DOMContentLoaded", () => document.documentElement.toggleAttribute("data-ready", true));

document.querySelector("[data-prints]")?.addEventListener("click", () => print());
