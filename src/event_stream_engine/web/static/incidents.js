// Response clocks that count on, and the version of an incident that whoever changes it has seen.

const served = Date.parse(document.getElementById("as-of")?.dateTime ?? "") || Date.now();
const loaded = performance.now();

/** Write a length of time as the server does. */
function formatDuration(seconds) {
  const pair = (large, unit, small, smallUnit) => (small ? `${large} ${unit} ${String(small).padStart(2, "0")} ${smallUnit}` : `${large} ${unit}`);
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(seconds / 60);
  if (whole < 3600) return pair(Math.floor(whole / 60), "m", whole % 60, "s");
  if (minutes < 48 * 60) return pair(Math.floor(minutes / 60), "h", minutes % 60, "m");
  const hours = Math.round(seconds / 3600);
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

// By the server's clock, because the reader's may be wrong.
function countOn() {
  const now = served + performance.now() - loaded;
  for (const place of document.querySelectorAll("[data-counts-to]")) {
    const left = (Date.parse(place.dateTime) - now) / 1000;
    const text = left > 0 ? `${formatDuration(left)} left` : `${formatDuration(-left)} over`;
    if (place.textContent !== text) place.textContent = text;
  }
}
if (document.querySelector("[data-live]")) setInterval(countOn, 1000);
document.addEventListener("live:changed", countOn);

// A form says the version that was on the page when somebody began with it, not one that came in beneath an open dialog.
const version = () => Number(document.getElementById("incident-version").dataset.version);

document.addEventListener("focusin", ({ target }) => {
  const form = target.form?.closest("[data-versioned]");
  if (form && !form.dataset.seen) form.dataset.seen = version();
});
document.addEventListener("form:read", ({ target, detail }) => {
  if (target.hasAttribute("data-versioned")) detail.version = Number(target.dataset.seen) || version();
});
document.addEventListener(
  "close",
  ({ target }) => {
    const form = target.querySelector?.("[data-versioned]");
    if (!form) return;
    delete form.dataset.seen;
    document.dispatchEvent(new CustomEvent("live:refresh")); // after a refusal, to see what others did
  },
  true,
);
