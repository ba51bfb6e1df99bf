// Draws the charts after the figures are there. The library is loaded only then.

const themes = document.getElementById("chart-themes");
const tip = document.getElementById("tip");
const drawn = new Map(); // id of the data block → { definition, view, finish }
const dark = matchMedia("(prefers-color-scheme: dark)");
let library;

const scheme = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");

function config() {
  const bound = structuredClone(JSON.parse(themes.textContent)[scheme()]);
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  const small = bound.params.find(({ name }) => name === "small");
  small.value = Math.round(small.value * rem * 2) / 2;
  return bound;
}

/** Show what a column holds beside the pointer. */
function showTip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  const { When: when, ...facts } = value;
  const title = Object.assign(document.createElement("p"), { textContent: when });
  const list = document.createElement("dl");
  for (const [term, text] of Object.entries(facts)) {
    list.append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: text }));
  }
  tip.replaceChildren(title, list);
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
  const top = Math.max(8, Math.min(event.clientY - height / 2, innerHeight - height - 8));
  tip.style.translate = `${Math.max(8, left)}px ${top}px`;
}

async function draw(block) {
  const place = document.getElementById(block.dataset.chart);
  const { spec, rows } = JSON.parse(block.textContent);
  const definition = JSON.stringify(spec);
  const known = drawn.get(block.id);
  if (known?.definition === definition) {
    await known.view.data("rows", rows).runAsync();
    return;
  }
  library ??= import(themes.dataset.bundle);
  const { vegaEmbed } = await library.catch((fault) => {
    library = undefined; // so that the next refresh tries again
    throw fault;
  });
  known?.finish();
  const { view, finalize } = await vegaEmbed(
    place,
    { ...spec, datasets: { rows } },
    { actions: false, ast: true, config: config(), defaultStyle: false, renderer: "svg", tooltip: showTip },
  );
  place.querySelector("svg")?.setAttribute("aria-hidden", "true");
  drawn.set(block.id, { definition, view, finish: finalize });
}

async function drawSafely(block) {
  const { classList } = document.getElementById(block.dataset.chart);
  try {
    await draw(block);
    classList.remove("undrawn");
  } catch (fault) {
    classList.add("undrawn");
    console.error(`${block.id} could not be drawn`, fault);
  }
}

/** Bind the names of the palette anew; at once, because a print does not wait. */
function recolour(name) {
  const { params } = JSON.parse(themes.textContent)[name];
  for (const { view } of drawn.values()) {
    for (const { name: colour, value } of params) if (colour !== "small") view.signal(colour, value);
    view.run();
  }
}

const blocks = [...document.querySelectorAll("script.chart-spec")];
if (blocks.length) {
  requestAnimationFrame(() => setTimeout(() => blocks.forEach(drawSafely))); // the figures are painted first
  document.addEventListener("live:changed", ({ target }) => {
    const isSettled = drawn.has(target.id) || document.getElementById(target.dataset.chart)?.classList.contains("undrawn");
    if (isSettled) drawSafely(target); // else its first drawing is under way
  });
  const recolourAsChosen = () => recolour(scheme());
  dark.addEventListener("change", recolourAsChosen);
  document.addEventListener("scheme:changed", recolourAsChosen);
  addEventListener("beforeprint", () => recolour("light"));
  addEventListener("afterprint", recolourAsChosen);
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
}
