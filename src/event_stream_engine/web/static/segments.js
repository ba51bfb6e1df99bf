// Builds a segment's filter: groups and conditions as form controls, the same as JSON, and who that is right now.

import { send, settle } from "./requests.js";
import { showFault } from "./forms.js";

const builder = document.getElementById("builder");

const make = (tag, properties = {}, ...children) => {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
};
const label = (control, text) => (control.setAttribute("aria-label", text), control);
const select = (name, options, chosen) => {
  const control = label(document.createElement("select"), name);
  for (const [value, text] of options) control.add(new Option(text, value, false, value === chosen));
  return control;
};

const WORDS = {
  equals: "is", not_equals: "is not", in: "is one of", contains: "contains", starts_with: "starts with",
  less: "is less than", greater: "is greater than", before: "is before", after: "is after", exists: "is known",
};
const KINDS = [["all", "All"], ["any", "Any"], ["none", "None"], ["notall", "Not all"]];
const SPANS = [["days_ago", "days ago"], ["hours_ago", "hours ago"], ["date", "on the date"]];

if (builder) {
  const { operators, states, channels } = JSON.parse(document.getElementById("catalogue").textContent);
  const fields = JSON.parse(document.getElementById("fields").textContent);
  const stateNames = Object.fromEntries(states);
  const form = builder.closest("form");
  const source = document.getElementById("filter-json");
  const places = new Map(); // path in the tree → the element that stands for it
  let root;

  const kindOf = (field) => (field.startsWith("attributes.") ? "attributes" : field);
  const enumerated = (field) => ({ consent: states, channel: channels })[field];

  function makeValue(field, operator, value) {
    const box = make("div", { className: "value" });
    const kind = kindOf(field);
    if (operator === "exists") {
      box.append(select("Whether it is known", [["true", "yes"], ["false", "no"]], String(value ?? true)));
      box.read = () => box.firstChild.value === "true";
    } else if (operator === "before" || operator === "after") {
      const [span, amount] = value && typeof value === "object" ? Object.entries(value)[0] : value === undefined ? ["days_ago", 30] : ["date", value];
      const spans = select("Counted", SPANS, span);
      const amounts = label(make("input", { value: amount }), "Moment");
      const adapt = () => Object.assign(amounts, spans.value === "date" ? { type: "date" } : { type: "number", min: "0", step: "1" });
      adapt();
      if (span === "date") amounts.value = String(amount).slice(0, 10);
      const exact = span === "date" ? String(amount) : ""; // an instant keeps its time of day unless it is changed
      spans.addEventListener("change", () => {
        adapt();
        amounts.value = spans.value === "date" ? new Date().toISOString().slice(0, 10) : "30";
      });
      box.className = "value value-pair";
      box.append(amounts, spans);
      box.read = () => {
        if (spans.value !== "date") return { [spans.value]: amounts.value === "" ? null : Number(amounts.value) };
        return exact.slice(0, 10) === amounts.value ? exact : amounts.value;
      };
    } else if (enumerated(field)) {
      const options = enumerated(field);
      if (operator === "in") {
        const wanted = Array.isArray(value) ? value : value ? [value] : [];
        const checks = options.map(([name, text]) => make("label", { className: "check" }, make("input", { type: "checkbox", value: name, checked: wanted.includes(name) }), text));
        const group = label(make("div", { className: "checks" }, ...checks), "Values");
        group.setAttribute("role", "group");
        box.append(group);
        box.read = () => [...box.querySelectorAll(":checked")].map((check) => check.value);
      } else {
        box.append(select("Value", options, Array.isArray(value) ? value[0] : value));
        box.read = () => box.firstChild.value;
      }
    } else {
      const list = operator === "in";
      const text = list ? (Array.isArray(value) ? value : value === undefined ? [] : [value]).join(", ") : Array.isArray(value) ? value.join(", ") : (value ?? "");
      const isNumber = operator === "less" || operator === "greater";
      const control = label(make("input", { type: isNumber ? "number" : "text", value: typeof text === "object" ? "" : text, placeholder: list ? "one, two, three" : "" }), list ? "Values, separated by commas" : "Value");
      if (isNumber) control.step = "any";
      if (kind === "country") {
        control.setAttribute("list", "known-countries");
        control.placeholder = list ? "US, CA" : "US";
      }
      box.append(control);
      const clean = (part) => (kind === "country" ? part.trim().toUpperCase() : part);
      box.read = () => {
        if (list) return control.value.split(",").map((part) => clean(part.trim())).filter(Boolean);
        return isNumber ? (control.value === "" ? "" : Number(control.value)) : clean(control.value);
      };
    }
    return box;
  }

  function makeRow(leaf) {
    const row = make("div", { className: "filter-row" });
    row.setAttribute("role", "group");
    label(row, "Condition");
    const isAttribute = kindOf(leaf.field) === "attributes";
    const field = select("Field", fields, isAttribute ? "attributes" : leaf.field);
    const name = label(make("input", { type: "text", value: isAttribute ? leaf.field.slice(11) : "", placeholder: "name" }), "Name of the attribute");
    name.setAttribute("list", "known-attributes");
    const fault = make("p", { className: "fault" });
    const remove = label(make("button", { type: "button", className: "remove", textContent: "×", dataset: { removes: "" } }), "Remove this condition");
    let operator, value;
    const current = () => (field.value === "attributes" ? `attributes.${name.value.trim()}` : field.value);
    const compose = (chosen, given) => {
      const known = operators[kindOf(current())];
      operator = select("Operator", known.map((one) => [one, WORDS[one]]), known.includes(chosen) ? chosen : known[0]);
      operator.addEventListener("change", () => {
        const kept = value.read();
        const isPlain = typeof kept === "string" || Array.isArray(kept) || (typeof kept === "object" && ["before", "after"].includes(operator.value));
        compose(operator.value, isPlain ? kept : undefined);
        operator.focus();
      });
      value = makeValue(current(), operator.value, given);
      row.classList.toggle("named", field.value === "attributes");
      row.replaceChildren(field, ...(field.value === "attributes" ? [name] : []), operator, value, remove, fault);
    };
    field.addEventListener("change", () => {
      compose();
      (field.value === "attributes" ? name : field).focus();
    });
    compose(leaf.operator, leaf.value);
    row.fault = fault;
    row.read = (path) => {
      places.set(path, row);
      return { field: current(), operator: operator.value, value: value.read() };
    };
    return row;
  }

  function makeGroup(kind, parts, isRoot) {
    const group = make("div", { className: "group" });
    group.setAttribute("role", "group");
    const kinds = select("How the conditions belong together", KINDS, kind);
    const nobody = make("span", { className: "nobody" });
    const body = make("div", { className: "stack" });
    const fault = make("p", { className: "fault" });
    const head = make("div", { className: "group-head" }, kinds, make("span", { textContent: "of these hold" }));
    if (!isRoot) head.append(label(make("button", { type: "button", className: "remove", textContent: "×", dataset: { removes: "" } }), "Remove this group"));
    const add = (text, maker) => {
      const button = make("button", { type: "button", className: "link-button", textContent: text });
      button.addEventListener("click", () => {
        const made = maker();
        body.append(made);
        made.querySelector("select").focus();
        changed();
      });
      return button;
    };
    body.append(...parts.map((part) => makeNode(part)));
    group.append(
      head,
      body,
      nobody,
      make("div", { className: "group-foot" },
        add("+ Condition", () => makeRow({ field: "consent", operator: "equals", value: "OPT_IN" })),
        add("+ Group", () => makeGroup("any", [{ field: "consent", operator: "equals", value: "OPT_IN" }], false))),
      fault,
    );
    group.fault = fault;
    group.read = (path) => {
      places.set(path, group);
      const negated = kinds.value === "none" || kinds.value === "notall";
      const word = kinds.value === "all" || kinds.value === "notall" ? "and" : "or";
      const inner = `${path}${negated ? ".not" : ""}.${word}`;
      places.set(inner, group);
      const read = { [word]: [...body.children].map((child, place) => child.read(`${inner}.${place}`)) };
      nobody.textContent = body.children.length ? "" : kinds.value === "all" || kinds.value === "none" ? "Nothing asked: everybody." : "Add a condition.";
      return negated ? { not: read } : read;
    };
    return group;
  }

  function makeNode(tree, isRoot = false) {
    if (Array.isArray(tree?.and)) return makeGroup("all", tree.and, isRoot);
    if (Array.isArray(tree?.or)) return makeGroup("any", tree.or, isRoot);
    if (tree?.not) {
      if (Array.isArray(tree.not.or)) return makeGroup("none", tree.not.or, isRoot);
      if (Array.isArray(tree.not.and)) return makeGroup("notall", tree.not.and, isRoot);
      return makeGroup("none", [tree.not], isRoot);
    }
    if (typeof tree?.field !== "string") throw new SyntaxError("A group or a condition is needed: and, or, not, or field with operator and value.");
    return isRoot ? makeGroup("all", [tree], true) : makeRow(tree);
  }

  function readTree() {
    places.clear();
    return root.read("filter");
  }

  function tellFault({ message, field = "" }) {
    for (let path = field; path; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
      const place = places.get(path);
      if (!place) continue;
      place.fault.textContent = message;
      return true;
    }
    return false;
  }

  const count = document.getElementById("segment-count");
  const sample = document.getElementById("segment-sample");
  const ask = settle(async (signal, filter) => {
    count.parentElement.setAttribute("aria-busy", "true");
    try {
      const found = await send("POST", builder.dataset.preview, { filter }, { signal });
      for (const fault of builder.querySelectorAll(".fault")) fault.textContent = "";
      count.textContent = found.people.toLocaleString("en");
      sample.replaceChildren(...found.sample.map((person) => make("li", {},
        make("span", { textContent: person.phone_e164 }),
        make("span", { textContent: [person.country, stateNames[person.consent_state]].filter(Boolean).join(" · ") }))));
      if (!found.sample.length) sample.append(make("li", { className: "empty", textContent: "Nobody. Loosen a condition." }));
    } catch (fault) {
      if (fault.name === "AbortError") throw fault;
      count.textContent = "–";
      sample.replaceChildren(make("li", { className: "empty", textContent: tellFault(fault) ? "Complete the marked condition." : fault.message }));
    }
    count.parentElement.removeAttribute("aria-busy");
  });

  function changed() {
    const filter = readTree();
    if (document.activeElement !== source) source.value = JSON.stringify(filter, null, 2);
    ask(filter);
  }

  function show(tree) {
    root = makeNode(tree, true);
    builder.replaceChildren(root);
    changed();
  }

  builder.addEventListener("input", changed);
  builder.addEventListener("change", changed);
  builder.addEventListener("click", ({ target }) => {
    if (!target.matches("[data-removes]")) return;
    const gone = target.closest(".filter-row") ?? target.closest(".group");
    const after = gone.nextElementSibling ?? gone.previousElementSibling ?? gone.closest(".group");
    const home = gone.parentElement.closest(".group");
    gone.remove();
    (after?.isConnected ? after : home).querySelector("select, button").focus();
    changed();
  });
  source.addEventListener("change", () => {
    const fault = document.querySelector('[data-fault-of="json"]');
    try {
      show(JSON.parse(source.value));
      fault.textContent = "";
    } catch (wrong) {
      fault.textContent = `This is not a filter: ${wrong.message}`;
    }
  });
  form.addEventListener("form:read", ({ detail }) => (detail.filter = readTree()));
  form.addEventListener("form:fault", (event) => {
    if (event.detail.field?.startsWith("filter") && tellFault(event.detail)) event.preventDefault();
  });
  try {
    show(JSON.parse(source.value));
  } catch (fault) {
    showFault(form, { message: fault.message });
  }
}
