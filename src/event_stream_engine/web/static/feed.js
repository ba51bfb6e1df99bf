// The live feed: server-sent events, newest first. It never moves a row that someone points at, reads or has paused.

const MOST_ROWS = 100;
const feed = document.getElementById("feed");

if (feed) {
  const box = feed.parentElement;
  const pauseButton = document.getElementById("pause");
  const waitingText = document.getElementById("waiting");
  const rowTemplate = document.getElementById("event-row").content;
  const kinds = JSON.parse(feed.dataset.kinds);
  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: feed.dataset.zone });
  const waiting = [];
  let skipped = 0;
  let paused = false;

  // As `format_duration` on the server writes it.
  const duration = (seconds) => {
    if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 9.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    const pair = (large, big, small, little) => (small ? `${large} ${big} ${String(small).padStart(2, "0")} ${little}` : `${large} ${big}`);
    if (whole < 3600) return pair(Math.floor(whole / 60), "m", whole % 60, "s");
    const minutes = Math.round(seconds / 60);
    if (minutes < 48 * 60) return pair(Math.floor(minutes / 60), "h", minutes % 60, "m");
    const hours = Math.round(seconds / 3600);
    return pair(Math.floor(hours / 24), "d", hours % 24, "h");
  };

  const describe = (event) => {
    if (event.delivery_time_seconds != null) return `in ${duration(event.delivery_time_seconds)}`;
    if (event.estimated_recipients) return `${event.estimated_recipients.toLocaleString("en")} recipients`;
    if (event.message_body) return `“${event.message_body}”`;
    return [event.error_code, event.description].filter(Boolean).join(" ");
  };

  const makeRow = (event) => {
    const row = rowTemplate.firstElementChild.cloneNode(true);
    const [mark, name] = kinds[event.event_type] ?? ["accent", event.event_type.replaceAll("_", " ")];
    const part = (selector) => row.querySelector(selector);
    row.dataset.id = event.id;
    row.classList.add("new");
    part("time").dateTime = event.timestamp;
    part("time").textContent = clock.format(new Date(event.timestamp));
    part(".dot").className = `dot ${mark}`;
    part(".kind-name").textContent = name;
    part(".what").textContent = event.campaign_name ?? "";
    part(".who").textContent = event.recipient ?? event.from_phone ?? "";
    part(".detail").textContent = describe(event);
    return row;
  };

  // Read back in its list, a row would slide away under the eyes; while it is at the top, new ones may come.
  const isHeld = () => paused || box.matches(":hover") || box.matches(":focus-visible") || box.scrollTop > 0;

  const show = () => {
    if (!isHeld() && waiting.length) {
      const rows = waiting.splice(0).reverse().map(makeRow);
      feed.prepend(...rows);
      while (feed.children.length > MOST_ROWS) feed.lastElementChild.remove();
      document.getElementById("feed-empty").hidden = true;
      skipped = 0;
    }
    const count = waiting.length + skipped;
    waitingText.textContent = count ? `${count.toLocaleString("en")} waiting` : "";
  };

  const setPaused = (value) => {
    paused = value;
    pauseButton.setAttribute("aria-pressed", String(paused));
    pauseButton.textContent = paused ? "Resume" : "Pause";
    show();
  };

  // From the page's own place in the log on: nothing that comes between page and stream is missed.
  const source = new EventSource(`${feed.dataset.stream}?after=${encodeURIComponent(feed.dataset.after)}`);
  const tell = (state) => document.dispatchEvent(new CustomEvent("feed:state", { detail: state }));
  source.addEventListener("open", () => tell("live"));
  source.addEventListener("error", () => tell(source.readyState === EventSource.CLOSED ? "" : "retrying"));
  source.addEventListener("feed", ({ data }) => {
    waiting.push(JSON.parse(data));
    if (waiting.length > MOST_ROWS) {
      waiting.shift();
      skipped += 1;
    }
    show();
    document.dispatchEvent(new CustomEvent("feed:event"));
  });
  window.addEventListener("pagehide", () => source.close());

  for (const name of ["pointerleave", "scroll", "focusout"]) box.addEventListener(name, () => requestAnimationFrame(show));
  document.addEventListener("feed:toggle", () => setPaused(!paused));
  pauseButton.addEventListener("click", () => setPaused(!paused));
  pauseButton.hidden = false;
}
