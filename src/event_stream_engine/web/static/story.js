// The story of a message in a drawer, opened from any row that names one. Its address holds it, so that it can be shared.

const HASH = /^#message=([\w-]+)$/;
let drawer;

function makeDrawer() {
  drawer = Object.assign(document.createElement("dialog"), { className: "drawer", id: "story" });
  drawer.setAttribute("aria-label", "Story of a message");
  drawer.addEventListener("click", ({ target }) => {
    if (target === drawer || target.closest("[data-closes]")) drawer.close();
    const reveals = target.closest("[data-reveals-story]");
    if (reveals) load(`${reveals.dataset.revealsStory}?reveal=true`);
  });
  // Esc closes it, and the browser gives the focus back to the row it came from.
  drawer.addEventListener("close", () => {
    if (HASH.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
  });
  document.body.append(drawer);
}

async function load(address) {
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = page.querySelectorAll("#story-parts > *");
    if (!parts.length) throw new Error(page.querySelector("main p")?.textContent ?? "");
    drawer.replaceChildren(...parts);
    drawer.querySelector("[data-closes]").hidden = false;
  } catch (fault) {
    const text = document.createElement("p");
    text.textContent = fault instanceof TypeError ? "The engine does not answer. Close this and open it again." : fault.message || "There is no such message.";
    drawer.replaceChildren(text);
  }
}

function open(message) {
  if (!drawer) makeDrawer();
  drawer.replaceChildren(Object.assign(document.createElement("p"), { textContent: "Loading…" }));
  if (!drawer.open) drawer.showModal();
  history.replaceState(null, "", `#message=${message}`);
  load(`/messages/${message}`);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-story]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(link.dataset.story);
});

const openShared = () => {
  const found = HASH.exec(location.hash);
  if (found) open(found[1]);
};
window.addEventListener("hashchange", openShared);
openShared();
