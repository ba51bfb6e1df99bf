// The editor of a query: its parameters, running it, its rows as a table and as a chart, and what is saved of all that.

import { clearFaults, showFault } from "./forms.js";
import { send } from "./requests.js";

const MOST_SHOWN = 1000; // rows in the table; the CSV has all that came
const MOST_DRAWN = 500;
const MOST_LINES = 3;
const NUMBERS = /^(smallint|integer|bigint|numeric|real|double precision)/;

const form = document.getElementById("query-form");
const text = document.getElementById("sql");
const at = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
};
const saved = JSON.parse(at("saved-query").textContent);
const types = JSON.parse(at("parameter-types").textContent);

// ── Parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────

const known = new Map((saved?.parameters ?? []).map((one) => [one.name, { type: one.type, value: one.default ?? "" }]));
const inputTypes = { integer: "number", number: "number", date: "date", text: "text", timestamp: "text" };

/** Find `:name` outside of strings, quoted names, comments and casts; each once, in the order of the text. */
function findParameters(sql) {
  const plain = sql.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$(\w*)\$[\s\S]*?\$\1\$|::|:=/g, " ");
  return [...new Set([...plain.matchAll(/(?<![:\w]):([A-Za-z_]\w*)/g)].map(([, name]) => name))];
}

/** Read what a control holds as JSON has it; null when it is empty. Throws when it is not of its type. */
function readValue(type, raw) {
  if (type === "boolean") return raw === true || raw === "true";
  if (raw === "" || raw === null) return null;
  if (type === "integer" || type === "number") {
    const number = Number(raw);
    if (!Number.isFinite(number) || (type === "integer" && !Number.isSafeInteger(number))) throw new Error("A number is needed.");
    return number;
  }
  return String(raw);
}

function makeControl(name, one) {
  if (one.type === "boolean") return make("input", { type: "checkbox", id: `value-${name}`, checked: one.value === true || one.value === "true" });
  const control = make("input", { type: inputTypes[one.type], id: `value-${name}`, value: one.value, autocomplete: "off" });
  if (one.type === "number") control.step = "any";
  if (one.type === "timestamp") control.placeholder = "2026-03-02T09:00:00Z";
  return control;
}

function showParameters() {
  const names = findParameters(text.value);
  const place = at("parameters");
  if (names.join(" ") === (place.dataset.names ?? "")) return;
  place.dataset.names = names.join(" ");
  place.hidden = names.length === 0;
  place.replaceChildren(...names.map((name) => {
    const one = known.get(name) ?? { type: "text", value: "" };
    known.set(name, one);
    const label = make("label", { htmlFor: `value-${name}`, textContent: name });
    const type = make("select", {}, ...types.map((kind) => new Option(kind, kind, false, kind === one.type)));
    type.setAttribute("aria-label", `Type of ${name}`);
    const row = make("div", { className: "parameter" }, label, makeControl(name, one), type);
    type.addEventListener("change", () => {
      one.type = type.value;
      row.children[1].replaceWith(makeControl(name, one));
    });
    row.addEventListener("input", ({ target }) => {
      if (target !== type) one.value = target.type === "checkbox" ? target.checked : target.value;
    });
    return row;
  }));
}

function readParameters(names = findParameters(text.value)) {
  return names.map((name) => {
    const { type, value } = known.get(name);
    try {
      return { name, type, default: readValue(type, value) };
    } catch (fault) {
      throw Object.assign(new Error(`${name}: ${fault.message}`), { field: "parameters" });
    }
  });
}

/** Read the values that a query is run with; an empty text is one. Throws when another has none. */
function readValues(names) {
  const parameters = readParameters(names);
  const open = parameters.find((one) => one.default === null && one.type !== "text");
  if (open) throw Object.assign(new Error(`${open.name} needs a value.`), { field: "parameters" });
  return Object.fromEntries(parameters.map((one) => [one.name, one.default ?? ""]));
}

// ── The text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Put text at the caret as if it was typed, so that it can be undone. */
function insert(written) {
  text.focus();
  if (!document.execCommand("insertText", false, written)) text.setRangeText(written, text.selectionStart, text.selectionEnd, "end");
  text.dispatchEvent(new Event("input", { bubbles: true }));
}

let isLeaving = false; // Escape, then Tab: the way out for who has no mouse
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) {
    event.preventDefault();
    run();
  } else if (event.key === "Tab" && !isLeaving && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const start = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
    const chosen = text.value.slice(start, text.selectionEnd);
    if (!event.shiftKey && !chosen.includes("\n")) insert("    ");
    else {
      text.setSelectionRange(start, text.selectionEnd);
      insert(event.shiftKey ? chosen.replace(/^ {1,4}/gm, "") : chosen.replace(/^/gm, "    "));
      text.setSelectionRange(start, text.selectionEnd);
    }
  }
  isLeaving = event.key === "Escape";
});
text.addEventListener("input", showParameters);

/** Say where in the text a fault is, counted in letters, and select the word there. */
function pointAt(letters) {
  const position = [...text.value].slice(0, letters).join("").length;
  const before = text.value.slice(0, position).split("\n");
  const length = /^\w+|^[\s\S]/.exec(text.value.slice(position))?.[0].length ?? 0;
  text.focus();
  text.setSelectionRange(position, position + length);
  const lineHeight = parseFloat(getComputedStyle(text).lineHeight);
  text.scrollTop = Math.max(0, (before.length - 3) * lineHeight);
  return `Line ${before.length}, column ${[...before.at(-1)].length + 1}: `;
}

function tellFault(fault) {
  const place = Number.isInteger(fault.position) ? pointAt(fault.position) : "";
  const isOurs = ["sql", "parameters"].includes(fault.field?.split(".")[0]);
  showFault(form, { message: place + fault.message, field: isOurs ? fault.field : "sql" });
}

// ── Running ──────────────────────────────────────────────────────────────────────────────────────────────────────────

let running; // the controller of the request that is under way
let result;

async function run() {
  if (running) return;
  clearFaults(form);
  running = new AbortController();
  const began = performance.now();
  const state = at("run-state");
  const tick = () => (state.textContent = `Running, ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const timer = setInterval(tick, 100);
  at("run").setAttribute("aria-busy", "true");
  at("cancel").hidden = false;
  try {
    const values = readValues(findParameters(text.value));
    result = await send("POST", "/api/v1/queries/run", { sql: text.value, parameters: values }, { signal: running.signal });
    state.textContent = "";
    showResult();
  } catch (fault) {
    state.textContent = fault.name === "AbortError" ? "Cancelled." : "";
    if (fault.name !== "AbortError") tellFault(fault);
  } finally {
    clearInterval(timer);
    running = undefined;
    at("run").removeAttribute("aria-busy");
    at("cancel").hidden = true;
  }
}

at("run").addEventListener("click", run);
at("cancel").addEventListener("click", () => running?.abort());

const isNumber = (column) => NUMBERS.test(column.type);

const inZone = new Intl.DateTimeFormat("sv-SE", { timeZone: at("result-state").dataset.zone, dateStyle: "short", timeStyle: "medium" });

/** Write a value for people: instants by the workspace's clock, all else as it came. */
function write(value, column) {
  if (value === null) return "–";
  return column.type === "timestamp with time zone" && !Number.isNaN(Date.parse(value)) ? inZone.format(new Date(value)) : String(value);
}

function showResult() {
  const { columns, rows, truncated, duration_ms: took } = result;
  const count = `${rows.length.toLocaleString("en")} row${rows.length === 1 ? "" : "s"}`;
  at("result").hidden = false;
  const hasInstants = columns.some(({ type }) => type === "timestamp with time zone");
  at("result-state").textContent = `${count} in ${took < 1000 ? `${Math.max(1, Math.round(took))} ms` : `${(took / 1000).toFixed(1)} s`}${hasInstants ? `; times are ${at("result-state").dataset.zone}` : ""}`;
  const cut = at("result-cut");
  cut.hidden = !truncated && rows.length <= MOST_SHOWN;
  cut.textContent = truncated
    ? `Truncated: there is more than these ${count}. Narrow the query, or add LIMIT.`
    : `The first ${MOST_SHOWN.toLocaleString("en")} of ${count} are shown; the CSV has all of them.`;
  const head = make("tr", {}, ...columns.map((column) => {
    const button = make("button", { type: "button", textContent: column.name });
    return make("th", { scope: "col", className: isNumber(column) ? "number" : "text", title: column.type }, button);
  }));
  const body = rows.slice(0, MOST_SHOWN).map((row) => make("tr", {}, ...row.map((value, place) => {
    const cell = make("td", { className: isNumber(columns[place]) ? "number" : "text", textContent: write(value, columns[place]) });
    cell.dataset.value = value ?? "";
    if (value === null) cell.classList.add("none");
    return cell;
  })));
  const table = make("table", { className: "data", dataset: { sortable: "" } }, make("caption", { className: "sr", textContent: "Result" }), make("thead", {}, head), make("tbody", {}, ...body));
  at("result-table").replaceChildren(rows.length ? table : make("p", { className: "empty", textContent: "No rows." }));
  offerChart();
}

// ── The chart ────────────────────────────────────────────────────────────────────────────────────────────────────────

let choice = saved?.chart ?? null;

/** Offer the columns there are; what was chosen before stays chosen where it can. */
function offerChart() {
  const { columns, rows } = result;
  const numbers = columns.filter(isNumber).map(({ name }) => name);
  const names = columns.map(({ name }) => name);
  const canDraw = numbers.length > 0 && columns.length > 1 && rows.length > 0;
  document.querySelector(".chart-choice").hidden = !canDraw;
  if (choice && (!names.includes(choice.x) || !choice.y.every((name) => numbers.includes(name)))) choice = null;
  const x = choice?.x ?? names.find((name) => !numbers.includes(name)) ?? names[0];
  const y = choice?.y ?? numbers.filter((name) => name !== x).slice(0, 1);
  at("chart-kind").value = choice?.kind ?? "";
  at("chart-x").replaceChildren(...names.map((name) => new Option(name, name, false, name === x)));
  at("chart-y").replaceChildren(...numbers.map((name) => make("label", { className: "check" }, make("input", { type: "checkbox", value: name, checked: y.includes(name) }), make("i", { className: "key" }), name)));
  draw(canDraw);
}

async function draw(canDraw = true) {
  const place = at("chart-place");
  const fault = at("chart-fault");
  const { value: kind } = at("chart-kind");
  const chosen = [...at("chart-y").querySelectorAll(":checked")];
  fault.textContent = "";
  for (const part of document.querySelectorAll("#chart-y, #chart-x")) part.closest("label, span").hidden = !kind;
  choice = kind && canDraw ? { kind, x: at("chart-x").value, y: chosen.map((one) => one.value) } : null;
  place.hidden = !choice || chosen.length === 0;
  if (place.hidden) {
    if (choice) fault.textContent = "Choose a column of numbers.";
    return;
  }
  if (chosen.length > MOST_LINES) {
    fault.textContent = `${MOST_LINES} columns at most can be told apart.`;
    return;
  }
  const { columns, rows } = result;
  const drawn = rows.slice(0, MOST_DRAWN);
  const take = (name) => {
    const column = columns.findIndex((one) => one.name === name);
    return { name, values: drawn.map((row) => row[column]) };
  };
  try {
    const { spec, rows: points, summary, nothing, colours } = await send("POST", "/reports/queries/chart", { kind: choice.kind, x: take(choice.x), y: choice.y.map(take) });
    at("result-chart").setAttribute("aria-label", summary);
    at("result-nothing").textContent = nothing;
    for (const label of at("chart-y").children) label.children[1].className = `key ${(colours[label.children[0].value] ?? "none").replace("_", "-")}`;
    const block = at("result-spec");
    block.textContent = JSON.stringify({ spec, rows: points });
    block.dispatchEvent(new CustomEvent("live:changed", { bubbles: true }));
    if (rows.length > MOST_DRAWN) fault.textContent = `Drawn: the first ${MOST_DRAWN} rows.`;
  } catch (problem) {
    fault.textContent = problem.message;
    place.hidden = true;
  }
}

document.querySelector(".chart-choice").addEventListener("change", () => draw());

// ── Taking the rows away ─────────────────────────────────────────────────────────────────────────────────────────────

/** A spreadsheet runs what begins like a formula: an apostrophe makes it a text. The rule is that of kernel/cells.py. */
function guard(value) {
  if (typeof value === "number") return String(value);
  const raw = String(value ?? "");
  const isFormula = /^(?:[\s\p{Z}\p{C}]*[=+\-@＝＋－＠]|[\t\r\n])/u.test(raw);
  return isFormula && !/^[+-]\d+(?:\.\d+)?%?$/.test(raw) ? `'${raw}` : raw;
}

at("result-csv").addEventListener("click", () => {
  const quote = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [result.columns.map(({ name }) => name), ...result.rows].map((row) => row.map((value) => quote(guard(value))).join(","));
  const address = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" }));
  const name = (form.elements.name?.value || saved?.name || "query").replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase();
  make("a", { href: address, download: `${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
});

const exporting = at("export-form");
if (exporting) {
  document.querySelector("[data-dialog=export-dialog]").addEventListener("click", () => {
    at("export-changed").hidden = text.value === saved.sql;
  });
  exporting.addEventListener("form:read", ({ detail }) => {
    detail.parameters = readValues(saved.parameters.map(({ name }) => name));
  });
}

// ── Saving and scheduling ────────────────────────────────────────────────────────────────────────────────────────────

form.addEventListener("form:read", ({ detail }) => {
  detail.parameters = readParameters();
  detail.chart = result ? (choice?.y.length ? choice : null) : (saved?.chart ?? null);
});
form.addEventListener("form:fault", (event) => {
  if (!event.detail.field?.startsWith("parameters.")) return;
  event.preventDefault();
  showFault(form, { message: event.detail.message, field: "parameters" });
});

document.addEventListener("click", ({ target }) => {
  const brings = target.closest?.("[data-brings]");
  if (brings) {
    text.select();
    insert(at(brings.dataset.brings).textContent);
    text.scrollIntoView({ block: "center" });
  }
});

const scheduling = at("schedule-form");
if (scheduling) {
  document.addEventListener("click", ({ target }) => {
    const opener = target.closest?.("[data-schedule]");
    if (!opener) return;
    const { id, weekday, runs_at: time, channel_id: channel, given, is_enabled: isOn } = JSON.parse(opener.dataset.schedule);
    scheduling.reset();
    scheduling.dataset.method = id ? "PUT" : "POST";
    scheduling.dataset.action = `/api/v1/queries/schedules${id ? `/${id}` : ""}`;
    if (!id) return;
    scheduling.elements.weekday.value = weekday ?? "";
    scheduling.elements.runs_at.value = time;
    scheduling.elements.channel_id.value = channel;
    scheduling.elements.is_enabled.checked = isOn;
    for (const control of scheduling.querySelectorAll("[data-given]")) control.value = given[control.dataset.given] ?? "";
  });
  scheduling.addEventListener("form:read", ({ detail }) => {
    if (scheduling.dataset.method === "PUT") delete detail.query_id;
    detail.given = {};
    for (const { value, dataset } of scheduling.querySelectorAll("[data-given]")) {
      if (value !== "") detail.given[dataset.given] = readValue(dataset.type, value);
    }
  });
}

// ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const list = at("table-list");

function showTables(tables) {
  list.replaceChildren(...tables.map(({ name, description, columns }) => {
    const rows = columns.map((column) => make("li", {}, make("button", { type: "button", textContent: column.name, dataset: { inserts: column.name } }), make("small", { textContent: column.type })));
    const table = make("details", {}, make("summary", { textContent: name }), make("p", { className: "hint", textContent: description }), make("ul", {}, ...rows));
    const put = make("button", { type: "button", className: "quiet", textContent: "+", title: `Put ${name} into the text`, dataset: { inserts: name } });
    put.setAttribute("aria-label", put.title);
    return make("div", { className: "table" }, table, put);
  }));
}

list.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-inserts]");
  if (!button) return;
  const before = text.value.slice(0, text.selectionStart);
  insert((/[\w"]$/.test(before) ? " " : "") + button.dataset.inserts);
});

at("table-search").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  for (const table of list.querySelectorAll(".table")) {
    const rows = [...table.querySelectorAll("li")];
    const isNamed = table.querySelector("summary").textContent.includes(wanted);
    const hits = rows.filter((row) => row.firstChild.textContent.toLowerCase().includes(wanted));
    table.hidden = !isNamed && hits.length === 0;
    table.firstChild.open = wanted !== "" && hits.length > 0;
    for (const row of rows) row.hidden = !isNamed && !hits.includes(row);
  }
});

send("GET", list.dataset.tables).then(({ items }) => showTables(items), (fault) => (list.firstElementChild.textContent = fault.message));
showParameters();
