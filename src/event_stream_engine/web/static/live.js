// Keeps the figures of a page fresh: asks for the same address again and changes only what differs.

// A page where something runs says itself how often it wants to be asked for, as long as it runs.
const refreshMs = () => Number(document.querySelector("[data-every-ms]")?.dataset.everyMs) || 30_000;
const RETRY_MS = 5000;
const freshness = document.getElementById("freshness");
const liveness = document.getElementById("liveness");
let refreshedAt = performance.now();
let tookMs = 0;
let refreshing = false;
let wanted = false;
let due = 0;
let signedOut = false;
let failing = false;
let healthState = "";
let streamState = "";

/** Make `old` like `fresh` and keep what the reader holds: focus, open pop-overs and details, scroll, selection. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !["open", "aria-sort"].includes(name)) old.removeAttribute(name);
  }
  const olds = [...old.childNodes];
  const freshes = [...fresh.childNodes];
  freshes.forEach((child, place) => (place < olds.length ? morph(olds[place], child) : old.append(child)));
  olds.slice(freshes.length).forEach((child) => child.remove());
}

/** Take over the parts of another page that are here, too. */
function adopt(page) {
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const fresh = page.getElementById(part.id);
    if (fresh && !part.isEqualNode(fresh)) {
      morph(part, fresh);
      part.dispatchEvent(new CustomEvent("live:changed", { bubbles: true }));
    }
  }
}

async function refresh() {
  if (refreshing || signedOut || document.hidden) return;
  refreshing = true;
  wanted = false;
  const began = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "x-refresh": "figures" }, redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) {
      signedOut = true;
    } else if (answer.ok) {
      adopt(new DOMParser().parseFromString(await answer.text(), "text/html"));
      refreshedAt = performance.now();
      failing = false;
    } else {
      failing = true;
    }
  } catch {
    failing = true; // away for now; how old the figures are is shown until it is back
  }
  tookMs = performance.now() - began;
  refreshing = false;
  schedule(failing ? RETRY_MS : wanted ? soonMs() : Math.max(refreshMs(), 3 * tookMs));
  showFreshness();
}

function schedule(delayMs) {
  clearTimeout(due);
  due = setTimeout(refresh, delayMs);
}

/** Many events make one refresh, and all refreshes together take a quarter of the server's time at most. */
function soonMs() {
  return Math.max(250, Math.max(1000, 4 * tookMs) - (performance.now() - refreshedAt));
}

function showFreshness() {
  const isStale = performance.now() - refreshedAt > Math.max(2 * refreshMs(), 10_000);
  document.documentElement.toggleAttribute("data-stale", isStale || signedOut);
  const state = signedOut ? "signed out" : failing ? "retrying" : healthState || (isStale ? "stale" : streamState || `${refreshMs() / 1000} s`);
  if (liveness.textContent !== state) liveness.textContent = state;
}

if (freshness) {
  document.addEventListener("feed:event", () => {
    if (wanted) return;
    wanted = true;
    if (!refreshing) schedule(soonMs());
  });
  document.addEventListener("feed:state", ({ detail }) => {
    streamState = detail;
    showFreshness();
  });
  document.addEventListener("health:state", ({ detail }) => {
    healthState = detail;
    showFreshness();
  });
  document.addEventListener("live:fresh", ({ detail }) => adopt(detail));
  document.addEventListener("live:refresh", refresh);
  document.addEventListener("visibilitychange", refresh);
  schedule(refreshMs());
  setInterval(showFreshness, 5000);
  showFreshness();
} else {
  // A page that holds still, like a form, still says what fires.
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch("/alerts/banner", { headers: { accept: "text/html" }, redirect: "manual" }).catch(() => null);
    if (answer?.ok) adopt(new DOMParser().parseFromString(await answer.text(), "text/html"));
  }, 30_000);
}
