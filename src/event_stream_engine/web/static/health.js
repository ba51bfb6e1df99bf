// Asks every few seconds whether the engine is all right, at an address that costs little, and says loudly when it is
// not: also when the answer itself stays away.

const watched = document.getElementById("watched");
const EVERY_MS = 3000;
const UNSEEN_MS = 15_000; // in a tab that nobody looks at; its title still tells
const ANSWER_MS = 5000;

if (watched) {
  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: watched.dataset.zone });
  const icon = document.querySelector("link[rel=icon]");
  const title = document.title;
  const icons = { ok: icon.href, failed: watched.dataset.failedIcon };
  let silentSince = null;

  const look = async () => {
    let state = "";
    try {
      const answer = await fetch("/monitoring/health", { headers: { accept: "text/html" }, redirect: "manual", signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.type === "opaqueredirect" || answer.status === 401) return; // signed out, which live.js says
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.dispatchEvent(new CustomEvent("live:fresh", { detail: page }));
      silentSince = null;
    } catch {
      silentSince ??= new Date();
      await showSilence();
      state = "retrying";
    }
    document.dispatchEvent(new CustomEvent("health:state", { detail: state }));
    setTimeout(look, document.hidden ? UNSEEN_MS : EVERY_MS);
  };

  /** The probe is open to everybody, so it still tells why when nobody can be let in. */
  const showSilence = async () => {
    let away = null;
    try {
      const answer = await fetch("/readyz", { signal: AbortSignal.timeout(ANSWER_MS) });
      away = (await answer.json()).away_since ?? silentSince;
    } catch {
      // Nobody answers at all.
    }
    const form = document.getElementById(away ? "outage-database" : "outage-web").content.cloneNode(true);
    const since = new Date(away ?? silentSince);
    form.querySelector("time").textContent = `since ${clock.format(since)}`;
    const page = document.implementation.createHTMLDocument();
    page.body.innerHTML = '<div id="outage" data-live></div>';
    page.body.firstElementChild.append(form);
    document.dispatchEvent(new CustomEvent("live:fresh", { detail: page }));
  };

  const announce = () => {
    const failed = watched.querySelector("[data-failed]")?.dataset.failed;
    document.title = failed ? `Failed: ${failed} · ${title}` : title;
    const wanted = failed ? icons.failed : icons.ok;
    if (icon.href !== wanted) icon.href = wanted;
  };

  new MutationObserver(announce).observe(watched, { childList: true, subtree: true, attributes: true });
  announce();
  setTimeout(look, EVERY_MS);
}
