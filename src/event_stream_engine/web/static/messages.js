// A row of a campaign's messages opens its decision: the six steps, fetched when somebody asks for them.

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.(".message-open");
  if (!button) return;
  const row = button.closest("tr");
  const open = row.nextElementSibling?.classList.contains("decision") ? row.nextElementSibling : null;
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    open.remove();
    return;
  }
  const cell = Object.assign(document.createElement("td"), { colSpan: row.cells.length, textContent: "Loading…" });
  const details = document.createElement("tr");
  details.className = "decision";
  details.append(cell);
  row.after(details);
  try {
    const answer = await fetch(button.dataset.decision, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    cell.replaceChildren(...page.querySelectorAll("#decision > *"));
    if (!cell.hasChildNodes()) throw new Error("nothing came");
  } catch {
    cell.textContent = "The decision could not be loaded. Close the row and open it again.";
  }
});
