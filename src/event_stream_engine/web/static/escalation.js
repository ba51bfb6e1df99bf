// The path of the escalation as a form: steps and contacts come, go and change places; what is read follows their order.

const form = document.querySelector("[data-policy]");
const steps = document.getElementById("steps");
const copy = (name) => document.getElementById(`${name}-template`).content.firstElementChild.cloneNode(true);
const seconds = (control) => Math.round(Number(control.value) * 60);

/** Tell each place of a fault which field it belongs to, now that the order is known. */
function nameFaults(owner, path) {
  for (const place of owner.querySelectorAll("[data-place]")) {
    if (place.closest("[data-contact], [data-step]") === owner) place.dataset.faultOf = `${path}.${place.dataset.place}`;
  }
}

function readContact(row, path) {
  nameFaults(row, path);
  const channels = row.querySelectorAll("[data-of=channel]:checked");
  return { name: row.querySelector("[data-of=name]").value, channel_ids: [...channels].map((one) => one.value) };
}

function readStep(card, number) {
  const path = `steps.${number}`;
  nameFaults(card, path);
  const waits = [...card.querySelectorAll("[data-of=after]")].filter((control) => control.value !== "");
  const contacts = [...card.querySelectorAll("[data-contact]")];
  return {
    name: card.querySelector("[data-of=name]").value,
    after_seconds: Object.fromEntries(waits.map((control) => [control.dataset.severity, seconds(control)])),
    contacts: contacts.map((row, place) => readContact(row, `${path}.contacts.${place}`)),
  };
}

form?.addEventListener("form:read", ({ detail }) => {
  const levels = [...form.querySelectorAll("[data-level]")].map((row) => [
    row.dataset.level,
    { meaning: row.querySelector("[data-of=meaning]").value, response_seconds: seconds(row.querySelector("[data-of=response]")) },
  ]);
  detail.levels = Object.fromEntries(levels);
  detail.steps = [...steps.children].map(readStep);
});

form?.addEventListener("click", ({ target }) => {
  const card = target.closest("[data-step]");
  if (target.closest("[data-adds=step]")) {
    const made = copy("step");
    steps.append(made);
    made.querySelector("input").focus();
  } else if (target.closest("[data-adds=contact]")) {
    const made = copy("contact");
    card.querySelector("[data-contacts]").append(made);
    made.querySelector("input").focus();
  } else if (target.closest("[data-removes=contact]")) {
    target.closest("[data-contact]").remove();
  } else if (target.closest("[data-removes=step]")) {
    card.remove();
  } else if (target.closest("[data-moves=up]")) {
    card.previousElementSibling?.before(card);
    target.closest("button").focus();
  }
});
