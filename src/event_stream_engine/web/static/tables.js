// Sorts a table by the column whose head is pressed; after a refresh the chosen order holds.

const chosen = new Map(); // id of the live part, or the table itself → { column, direction }
const keyOf = (table) => table.closest("[data-live]")?.id ?? table;

const valueOf = (row, column) => {
  const cell = row.cells[column];
  const raw = cell.dataset.value ?? cell.textContent.trim();
  return raw !== "" && !Number.isNaN(Number(raw)) ? Number(raw) : raw;
};

function compare(one, other) {
  if (one === "" || other === "") return (one === "") - (other === ""); // unknown goes last
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}

function sort(table, { column, direction }) {
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [valueOf(one, column), valueOf(other, column)];
    return a === "" || b === "" ? compare(a, b) : direction * compare(a, b);
  });
  body.append(...rows);
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    if (place === column) head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

document.addEventListener("click", ({ target }) => {
  const head = target.closest?.("table[data-sortable] thead th");
  if (!head || !target.closest("button")) return;
  const table = head.closest("table");
  const before = chosen.get(keyOf(table));
  const first = head.classList.contains("number") ? -1 : 1; // the largest number is what people look for
  const order = { column: head.cellIndex, direction: before?.column === head.cellIndex ? -before.direction : first };
  chosen.set(keyOf(table), order);
  sort(table, order);
});

document.addEventListener("live:changed", ({ target }) => {
  const table = target.querySelector("table[data-sortable]");
  const order = chosen.get(target.id);
  if (table && order) sort(table, order);
});
