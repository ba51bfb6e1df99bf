// Shows what a person will get while a template is written or chosen, and how many people a segment has.

import { send, settle } from "./requests.js";

const place = document.getElementById("preview-text");
const facts = document.getElementById("preview-facts");

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function tell(pairs) {
  facts.replaceChildren(...pairs.filter(([, text]) => text).flatMap(([term, text]) => [
    Object.assign(document.createElement("dt"), { textContent: term }),
    Object.assign(document.createElement("dd"), { textContent: text }),
  ]));
}

function nameCharacter(size) {
  if (!size.foreign_character) return "";
  const name = (size.foreign_name ?? "").toLowerCase();
  return `“${size.foreign_character}” (${name}) is not in GSM-7, so that a segment holds 67 to 70 characters instead of 153 to 160`;
}

function show(found) {
  const { size } = found;
  place.textContent = found.text ?? "";
  tell([
    ["Not sent", found.missing.length ? `this person has no ${found.missing.join(", ")}, and the template no fallback for it` : found.detail],
    ["Length", size && `${plural(size.characters, "character")} of at most ${size.longest.toLocaleString("en")}`],
    ["Segments", size && found.channel !== "whatsapp" && `${size.segments.toLocaleString("en")} in ${size.encoding}`],
    ["UCS-2", size && found.channel !== "whatsapp" && nameCharacter(size)],
    ["Variables", found.variables && Object.entries(found.variables).map(([name, text]) => `${name}: ${text}`).join(", ")],
  ]);
}

async function preview(content, user, signal) {
  try {
    const found = await send("POST", "/api/v1/templates/preview", { template: { name: "preview", ...content }, user: user || null }, { signal });
    show({ ...found, channel: content.channel });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    place.textContent = "";
    tell([["Not usable", fault.message]]);
  }
}

const editor = document.getElementById("template-form");
if (editor) {
  const person = document.getElementById("preview-person");
  const { body, channel, content_sid: sid, content_variables: variables } = editor.elements;
  const part = document.getElementById("whatsapp-part");
  const ask = settle((signal) => {
    const isWhatsapp = channel.value === "whatsapp";
    let filled = {};
    try {
      filled = JSON.parse(variables.value || "{}");
    } catch {
      tell([["Variables", "are not valid JSON yet"]]);
      return undefined;
    }
    if (!body.value) {
      place.textContent = "";
      tell([]);
      return undefined;
    }
    return preview({ channel: channel.value, body: body.value, content_sid: (isWhatsapp && sid.value.trim()) || null, content_variables: isWhatsapp ? filled : {} }, person.value, signal);
  });
  const adapt = () => {
    part.hidden = channel.value !== "whatsapp";
    for (const control of [sid, variables]) control.disabled = part.hidden;
  };
  channel.addEventListener("change", adapt);
  for (const name of ["input", "change"]) editor.addEventListener(name, () => ask());
  adapt();
  ask();
}

const form = document.getElementById("campaign-form");
if (form) {
  const count = document.getElementById("reach-count");
  const time = document.getElementById("reach-time");
  const { segment_id: segment, template_id: template, rate_per_second: rate } = form.elements;
  let people = null;
  let sample = "";

  // As `format_duration` on the server writes it, without its finer cases.
  const duration = (seconds) => {
    if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} m`;
    return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
  };
  const tellTime = () => {
    const speed = Number(rate.value);
    time.textContent = people && speed >= 1 ? `At ${speed.toLocaleString("en")} a second about ${duration(people / speed)}, quiet hours aside. Who has not opted in gets nothing.` : "";
  };
  const askTemplate = settle(async (signal) => {
    const { channel, body, content_sid, content_variables } = await send("GET", `/api/v1/templates/${template.value}`, undefined, { signal });
    await preview({ channel, body, content_sid, content_variables }, sample, signal);
  }, 0);
  const askSegment = settle(async (signal) => {
    count.parentElement.setAttribute("aria-busy", "true");
    try {
      const { filter } = await send("GET", `/api/v1/segments/${segment.value}`, undefined, { signal });
      const found = await send("POST", "/api/v1/segments/preview", { filter }, { signal });
      people = found.people;
      sample = found.sample[0]?.id ?? "";
      count.textContent = people.toLocaleString("en");
    } catch (fault) {
      if (fault.name === "AbortError") throw fault;
      people = null;
      count.textContent = "–";
      time.textContent = fault.message;
      return;
    } finally {
      count.parentElement.removeAttribute("aria-busy");
    }
    tellTime();
    askTemplate();
  }, 0);
  segment.addEventListener("change", () => askSegment());
  template.addEventListener("change", () => askTemplate());
  rate.addEventListener("input", tellTime);
  askSegment();
}
