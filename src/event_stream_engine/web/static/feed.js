// The live feed: server-sent events, newest first. It never moves a row that someone points at, reads or has paused.

const MOST_ROWS = 100;
const SAMPLE_MS = 5000;
const RETRY_MS = 5000;
const feed = document.getElementById("feed");

if (feed) {
  const box = feed.parentElement;
  const pauseButton = document.getElementById("pause");
  const waitingText = document.getElementById("waiting");
  const sampledText = document.getElementById("sampled");
  const rowTemplate = document.getElementById("event-row").content;
  const kinds = JSON.parse(feed.dataset.kinds);
  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: feed.dataset.zone });
  const waiting = [];
  let skipped = 0;
  let paused = false;

  const makeRow = (event) => {
    const row = rowTemplate.firstElementChild.cloneNode(true);
    const [mark, name] = kinds[event.event_type] ?? ["accent", event.event_type];
    const link = row.querySelector(".kind-name");
    const part = (selector) => row.querySelector(selector);
    row.dataset.id = event.id;
    row.classList.add("new");
    part("time").dateTime = event.timestamp;
    part("time").textContent = clock.format(new Date(event.timestamp));
    part(".dot").className = `dot ${mark}`;
    link.textContent = name;
    if (event.message_id) link.dataset.story = event.message_id;
    if (event.page) link.href = event.page;
    part(".what").textContent = event.campaign_name ?? "";
    part(".who").textContent = event.recipient ?? event.from_phone ?? "";
    part(".detail").textContent = event.detail;
    return row;
  };

  // Read back in its list, a row would slide away under the eyes; while it is at the top, new ones may come.
  const isHeld = () =>
    paused || box.scrollTop > 0 || box.matches(":hover, :focus-visible, :has(:focus-visible)") || document.querySelector("dialog[open]");

  const show = () => {
    if (!isHeld()) {
      skipped = 0;
      if (!waiting.length) return void (waitingText.textContent = "");
      const rows = waiting.splice(0).reverse().map(makeRow);
      feed.prepend(...rows);
      while (feed.children.length > MOST_ROWS) feed.lastElementChild.remove();
      document.getElementById("feed-empty").hidden = true;
    }
    const held = waiting.length + skipped;
    waitingText.textContent = held ? `${held.toLocaleString("en")} waiting` : "";
  };

  const setPaused = (value) => {
    paused = value;
    pauseButton.setAttribute("aria-pressed", String(paused));
    pauseButton.textContent = paused ? "Resume" : "Pause";
    show();
  };

  // How much of what came in the last seconds is shown: [when, shown, left out].
  let lately = [];
  const sayShare = (...more) => {
    lately = [...lately, ...more].filter(([at]) => performance.now() - at < SAMPLE_MS);
    const [shown, leftOut] = lately.reduce(([a, b], [, c, d]) => [a + c, b + d], [0, 0]);
    sampledText.hidden = !leftOut;
    sampledText.textContent = `1 of ${Math.max(2, Math.round((shown + leftOut) / Math.max(shown, 1))).toLocaleString("en")} shown`;
  };
  setInterval(() => sayShare(), 1000);

  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
  let source;
  // From the page's own place in the log on: nothing that comes between page and stream is missed.
  let place = feed.dataset.after;

  const connect = () => {
    source = new EventSource(`${feed.dataset.stream}&after=${encodeURIComponent(place)}`);
    source.addEventListener("open", () => tell("feed:state", "live"));
    source.addEventListener("error", () => {
      const isGivenUp = source.readyState === EventSource.CLOSED; // the answer was an error: the browser does not try again
      tell("feed:state", isGivenUp ? "" : "retrying");
      if (isGivenUp) setTimeout(connect, RETRY_MS);
    });
    source.addEventListener("feed", ({ data, lastEventId }) => {
      place = lastEventId;
      const event = JSON.parse(data);
      waiting.push(event);
      if (waiting.length > MOST_ROWS) {
        waiting.shift();
        skipped += 1;
      }
      sayShare([performance.now(), 1, 0]);
      show();
      tell("feed:event", event);
    });
    source.addEventListener("sampled", ({ data, lastEventId }) => {
      place = lastEventId;
      const { left_out: leftOut } = JSON.parse(data);
      skipped += leftOut;
      sayShare([performance.now(), 0, leftOut]);
      show();
      tell("feed:sampled", leftOut);
    });
  };
  connect();
  window.addEventListener("pagehide", () => source.close());

  for (const name of ["pointerleave", "scroll", "focusout"]) box.addEventListener(name, () => requestAnimationFrame(show));
  document.addEventListener("feed:toggle", () => setPaused(!paused));
  pauseButton.addEventListener("click", () => setPaused(!paused));
  pauseButton.hidden = false;
}
