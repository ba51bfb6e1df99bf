// Rules: how often each would have fired, and what one that is being written would have done.

import { clearFaults, readForm, showFault } from "./forms.js";
import { csrfToken, send, settle } from "./requests.js";

/** One after the other: each costs the database some hundredths of a second. */
async function tryAll(places) {
  for (const place of places) {
    try {
      const found = await send("GET", `/api/v1/alerts/rules/${place.dataset.tries}/backtest`);
      place.textContent = found.would_have_fired?.toLocaleString("en") ?? "–";
    } catch (fault) {
      place.textContent = "–";
      place.title = fault.message;
    }
  }
}
tryAll(document.querySelectorAll("[data-tries]"));

const form = document.getElementById("rule-form");
if (form) {
  const kinds = JSON.parse(document.getElementById("kinds").textContent);
  const { metric, scope, scope_filter: filter, window_seconds: length, minimum_sample: sample, action, action_percent: percent } = form.elements;
  const fault = document.getElementById("tried-fault");

  /** Offer only what the metric has. */
  const offer = () => {
    const kind = kinds[metric.value];
    if (!kind) return;
    if (scope.options) {
      for (const option of scope.options) option.disabled = !kind.scopes.includes(option.value);
      if (scope.selectedOptions[0].disabled) scope.value = kind.scopes[0];
      filter.disabled = scope.value === "all";
      document.getElementById("metric-hint").textContent = kind.formula;
    }
    length.disabled = !kind.hasWindow;
    if (kind.hasWindow && scope.value !== "campaign" && length.value === "") length.value = "3600";
    if (!kind.hasWindow) length.value = "";
    sample.disabled = !kind.hasSample;
    action.disabled = scope.value !== "campaign";
    percent.disabled = action.disabled || action.value !== "lower_rate";
    document.getElementById("threshold-hint").textContent = kind.unit;
  };

  const retry = settle(async (signal) => {
    const draft = readForm(form);
    draft.name ||= "A rule without a name";
    const answer = await fetch("/alerts/rules/tried", {
      method: "POST",
      headers: { accept: "text/html, application/problem+json", "content-type": "application/json", "x-csrf-token": csrfToken() },
      body: JSON.stringify(draft),
      signal,
    });
    clearFaults(form);
    fault.textContent = "";
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      fault.textContent = `Not tried: ${problem.detail ?? "the engine did not answer as expected."}`;
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["tried-verdict", "tried-nothing", "tried-table", "tried-periods", "tried-spec"]) {
      const part = document.getElementById(id);
      part.replaceChildren(...page.getElementById(id).childNodes);
      if (id === "tried-spec") part.dispatchEvent(new CustomEvent("live:changed", { bubbles: true }));
    }
  });

  offer();
  retry(); // somebody may have been faster than this script, or the browser has filled in what was written before
  form.addEventListener("input", () => {
    offer();
    try {
      readForm(form);
      retry();
    } catch (problem) {
      showFault(form, problem);
    }
  });
}
