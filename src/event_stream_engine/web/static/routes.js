// The form of a route: ticks that make a list, and one condition on a label in each line.

/** Read `label = value` or `label =~ expression`. */
function readMatcher(line) {
  const found = /^([^=]+?)\s*(=~?)\s*(.*)$/.exec(line);
  if (!found) throw Object.assign(new Error(`“${line}” is no condition. Write it like campaign = Spring, or host =~ web-.*`), { field: "matchers" });
  return { label: found[1].trim(), value: found[3], is_regex: found[2] === "=~" };
}

document.addEventListener("form:read", ({ target, detail }) => {
  for (const { dataset } of target.querySelectorAll("[data-set]")) detail[dataset.set] = [];
  for (const box of target.querySelectorAll("[data-set]")) if (box.checked) detail[box.dataset.set].push(box.value);
  const lines = target.querySelector("[data-matchers]");
  if (lines) detail.matchers = lines.value.split("\n").map((line) => line.trim()).filter(Boolean).map(readMatcher);
});
