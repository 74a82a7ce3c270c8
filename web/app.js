// The dashboard: loads, follows the events, and lets people choose.

import { $, ask, make } from "/assets/text.js";
import { page, pipeline } from "/assets/state.js";
import { showChoices, showConnection, showTiles, showVerdict } from "/assets/head.js";
import { showCharts } from "/assets/chart.js";
import { showAnomalies } from "/assets/anomalies.js";
import { flushTail, showTail, tailed } from "/assets/tail.js";

const RANGES = [["15 min", 15], ["1 h", 60], ["6 h", 360], ["24 h", 1440], ["2 d", 2880]];
const REFRESH = 700; // at most one refresh in so many milliseconds

const choosePanel = (panel) => choose({ panel, chosen: true });

function choose(change) {
  Object.assign(page, change);
  const hash = new URLSearchParams({ pipeline: page.pipeline, minutes: page.minutes });
  if (page.chosen) hash.set("panel", page.panel);
  history.replaceState(null, "", `#${hash}`);
  showTiles(choosePanel);
  showRanges();
  showCharts().catch(report);
}

function showRanges() {
  for (const button of $("ranges").children) button.setAttribute("aria-pressed", String(Number(button.value) === page.minutes));
}

function report(error) {
  console.error(error);
}

async function refresh() {
  page.overview = await ask("/api/overview");
  const names = page.overview.pipelines.map((p) => p.name);
  if (!names.includes(page.pipeline)) page.pipeline = names[0] ?? "";
  const panels = pipeline()?.panels ?? [];
  pick(panels);
  showChoices();
  showConnection();
  showVerdict();
  showTiles(choosePanel);
  await Promise.all([showCharts(), showAnomalies(choosePanel)]);
}

// Until somebody chooses a tile, the page shows what is anomalous.
function pick(panels) {
  const here = panels.find((p) => p.id === page.panel), anomalous = panels.find((p) => p.state === "anomalous");
  if (!here) page.chosen = false;
  if (page.chosen || here?.state === "anomalous") return;
  page.panel = (anomalous ?? here ?? panels[0])?.id ?? "";
}

let timer = null, busy = false;
function refreshSoon() {
  if (timer) return;
  timer = setTimeout(async () => {
    timer = null;
    if (busy) return refreshSoon();
    busy = true;
    await refresh().catch(report);
    busy = false;
  }, REFRESH);
}

function load() {
  return refresh().then(showTail).catch(report);
}

function follow() {
  const events = new EventSource("/api/events");
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  events.onopen = () => { page.browser = "live"; showConnection(); };
  events.onerror = () => {
    page.browser = "down";
    showConnection();
    // A browser gives up on an answer that is no stream (such as "too many listeners"): try again later.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5_000);
  };
  on("resync", load);
  on("status", refreshSoon);
  on("score", (score) => score.pipeline === page.pipeline && refreshSoon());
  on("tail", tailed);
}

function start() {
  const hash = new URLSearchParams(location.hash.slice(1));
  page.pipeline = hash.get("pipeline") ?? "";
  page.panel = hash.get("panel") ?? "";
  page.chosen = page.panel !== "";
  page.minutes = RANGES.map(([, minutes]) => minutes).find((m) => m === Number(hash.get("minutes"))) ?? 60;
  for (const [label, minutes] of RANGES) {
    const button = make("button", "", label);
    button.type = "button";
    button.value = minutes;
    button.addEventListener("click", () => choose({ minutes }));
    $("ranges").append(button);
  }
  showRanges();
  $("pipeline").addEventListener("change", (event) => { page.pipeline = event.target.value; page.panel = ""; page.chosen = false; load(); });
  $("pause").addEventListener("click", () => {
    page.paused = !page.paused;
    $("pause").textContent = page.paused ? "Resume" : "Pause";
    $("pause").setAttribute("aria-pressed", String(page.paused));
    flushTail();
  });
  $("close").addEventListener("click", () => $("record").close());
  $("inject").addEventListener("submit", inject);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showCharts().catch(report));
  if (hash.get("live") === "no") {
    // As it is now and no further: for printing and screenshots.
    page.browser = "live";
    load();
    return;
  }
  // Notices silence: without events nothing else would ask.
  setInterval(refreshSoon, 10_000);
  follow();
}

async function inject(event) {
  event.preventDefault();
  const button = $("inject").querySelector("button");
  const say = (text, ms) => {
    button.textContent = text;
    setTimeout(() => { button.textContent = "Inject an anomaly"; button.disabled = false; }, ms);
  };
  button.disabled = true;
  try {
    const response = await fetch("/api/anomaly", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ field: $("field").value }) });
    say(response.ok ? "On its way…" : response.status === 429 ? "Wait a moment…" : "That failed", 2_500);
  } catch {
    say("That failed", 2_500);
  }
}

start();
