// The dashboard. Everything that comes from a record or a configuration is hostile: it becomes a text node
// (textContent), never markup, and charts get numbers only.
"use strict";

const RANGES = [["15 min", 15], ["1 h", 60], ["6 h", 360], ["24 h", 1440], ["2 d", 2880]];
const STATES = { normal: "Normal", anomalous: "Anomalous", learning: "Learning", stale: "No new data", empty: "No data yet" };
const MAX_TAIL = 100;
const REFRESH = 700; // at most one refresh in so many milliseconds
const LAG = 5 * 60_000; // data older than this are shown "as of" their own time

const $ = (id) => document.getElementById(id);
const page = { overview: null, pipeline: "", panel: "", minutes: 60, paused: false, browser: "connecting" };

/* ---- small helpers ---- */

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

async function ask(path, parameters = {}) {
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

const two = (number) => String(number).padStart(2, "0");
function clock(time) {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
function when(time) {
  const at = new Date(time);
  const today = new Date().toDateString() === at.toDateString();
  return today ? clock(time) : `${at.toLocaleDateString(undefined, { day: "numeric", month: "short", year: at.getFullYear() === new Date().getFullYear() ? undefined : "numeric" })} ${clock(time)}`;
}
function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 }).format(value);
}
const percent = (share) => (share === null || share === undefined ? "–" : `${number(share * 100)} %`);
const shown = (value, unit) => (unit === "share" ? percent(value) : number(value));
const pipeline = () => page.overview?.pipelines.find((p) => p.name === page.pipeline);
const panel = () => pipeline()?.panels.find((p) => p.id === page.panel);

/* ---- header and verdict ---- */

function showConnection() {
  const feeds = Object.values(page.overview?.feeds ?? {});
  const trouble = feeds.find((feed) => feed.state === "waiting" || feed.state === "failed");
  const starting = feeds.find((feed) => feed.state === "starting");
  const pill = $("connection");
  const [state, text] =
    page.browser === "down" ? ["down", "Reconnecting…"]
    : trouble ? ["down", "Kafka: waiting"]
    : page.browser === "connecting" || !page.overview ? ["waiting", "Connecting…"]
    : starting ? ["waiting", "Starting…"]
    : ["live", "Live"];
  pill.dataset.state = state;
  pill.textContent = text;
  const notice = page.browser === "down" ? "The connection to the dashboard is lost; trying again. What you see may be old." : trouble?.reason ?? starting?.reason ?? "";
  $("notice").textContent = notice;
  $("notice").hidden = !notice;
}

function showVerdict() {
  const current = pipeline();
  if (!current) return;
  const scored = current.panels.filter((p) => p.state !== "empty");
  const bad = scored.filter((p) => p.state === "anomalous");
  const names = new Intl.ListFormat("en").format(bad.map((p) => p.title));
  $("verdict").dataset.state = current.state;
  $("headline").textContent =
    current.state === "anomalous" ? (bad.length === 1 ? `${names} is anomalous` : `${bad.length} of ${scored.length} are anomalous: ${names}`)
    : current.state === "normal" ? "All is as expected"
    : current.state === "learning" ? "Learning what is normal"
    : current.state === "stale" ? "No new scores are coming"
    : "Waiting for the first scores";
  const parts = [];
  if (current.rate !== null) parts.push(`${number(current.rate)} records a second`);
  if (scored.length) parts.push(`${scored.length} ${scored.length === 1 ? "series group" : "series groups"} watched`);
  if (current.until !== null) parts.push(`windows closed until ${when(current.until)}`);
  if (current.state === "empty") parts.push("a window closes soon after its end, once records arrive");
  $("subline").textContent = parts.join(" · ");
  document.title = `${current.state === "anomalous" ? "● " : ""}${current.name} – outlier`;
}

function showChoices() {
  const { pipelines, fields, version } = page.overview;
  $("version").textContent = `outlier ${version}`;
  $("pipeline-name").textContent = page.pipeline;
  $("pipeline-name").hidden = pipelines.length > 1;
  $("pipeline-choice").hidden = pipelines.length < 2;
  fill($("pipeline"), pipelines.map((p) => p.name), page.pipeline);
  $("inject").hidden = !fields;
  if (fields) fill($("field"), fields, $("field").value);
}

function fill(select, values, chosen) {
  if ([...select.options].map((o) => o.value).join("\n") !== values.join("\n")) {
    select.replaceChildren(...values.map((value) => new Option(value, value)));
  }
  if (values.includes(chosen)) select.value = chosen;
}

/* ---- tiles ---- */

function showTiles() {
  const panels = pipeline()?.panels ?? [];
  const tiles = $("tiles");
  if ([...tiles.children].map((t) => t.dataset.id).join("\n") !== panels.map((p) => p.id).join("\n")) {
    tiles.replaceChildren(...panels.map((p) => {
      const tile = make("button", "tile");
      tile.type = "button";
      tile.dataset.id = p.id;
      tile.addEventListener("click", () => choose({ panel: p.id }));
      return tile;
    }));
  }
  panels.forEach((p, i) => showTile(tiles.children[i], p));
}

function showTile(tile, p) {
  tile.dataset.state = p.state;
  tile.setAttribute("aria-pressed", String(p.id === page.panel));
  const first = p.series[0], last = p.last[0];
  const main = make("span", "main"), against = make("span", "against");
  if (!p.series.length) {
    main.textContent = "–";
    against.textContent = "no detector counts this group";
  } else if (p.bad_share !== null) {
    main.append(percent(p.bad_share), make("small", "", "bad"));
    against.textContent = `expected ${percent(p.expected_share)}`;
  } else {
    main.textContent = last ? shown(last.value, first.unit) : "–";
    against.textContent = last ? `expected ${shown(last.expected, first.unit)}` : "";
  }
  const score = make("span", "score");
  if (p.score !== null) score.append("score ", make("b", "", number(Math.round(p.score))));
  tile.replaceChildren(
    make("span", "name", p.title), make("span", "state", STATES[p.state]), main, against, spark(p.spark),
    make("span", "rate", p.rate === null ? "" : `${number(p.rate)} records/s`), score,
  );
  tile.title = p.field ? `field ${p.field}` : p.title;
}

function spark(values) {
  const svg = draw("svg", { viewBox: "0 0 120 38", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return svg;
  const top = Math.max(...values, 1e-9);
  const points = values.map((v, i) => `${((i / (values.length - 1)) * 120).toFixed(1)},${(35 - (Math.max(v, 0) / top) * 32).toFixed(1)}`);
  svg.append(
    draw("polygon", { points: `0,38 ${points.join(" ")} 120,38`, fill: "currentColor", opacity: ".12" }),
    draw("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "1.6", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" }),
  );
  return svg;
}

/* ---- charts ---- */

// Plotly shows dates in UTC; people want their own clock.
const local = (time) => time - new Date(time).getTimezoneOffset() * 60_000;
let chartTurn = 0;

async function showCharts() {
  const turn = ++chartTurn;
  const current = pipeline(), p = panel();
  if (!p) return;
  const old = current.until !== null && Date.now() - current.until > LAG;
  const to = old ? current.until : Date.now(), from = to - page.minutes * 60_000;
  const answers = await Promise.all(p.series.map((s) => ask("/api/series", { pipeline: current.name, detector: s.detector, series: s.series, from, to })));
  if (turn !== chartTurn) return;
  $("chart-title").textContent = p.field && p.field !== p.title ? `${p.title} (${p.field})` : p.title;
  const charts = $("charts");
  const key = `${current.name}\n${p.id}\n${answers.length}`;
  if (charts.dataset.key !== key) {
    charts.dataset.key = key;
    for (const plot of charts.querySelectorAll(".plot")) Plotly.purge(plot);
    charts.replaceChildren(...answers.map(() => {
      const chart = make("div", "chart");
      chart.append(make("h3"), make("div", answers.length === 1 ? "plot tall" : "plot"));
      return chart;
    }));
    if (!answers.length) charts.append(make("p", "empty", "No detector counts this group: add one to the configuration."));
  }
  answers.forEach((s, i) => showChart(charts.children[i], s, from, to));
}

function showChart(chart, s, from, to) {
  const [heading, plot] = chart.children;
  const kind = { bad: "Bad", good: "Good", plain: "Value" }[s.role];
  const what = s.unit === "records" ? `records in ${span(s.window)}` : s.unit === "share" ? `share in ${span(s.window)}` : `sum in ${span(s.window)}`;
  heading.replaceChildren(`${kind}: ${s.series}`, make("span", "", s.total > s.end.length ? `${what}, ${s.end.length} of ${s.total} points drawn` : what));
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${s.series}: ${s.total} windows, ${s.anomalies.length} anomalies`);
  Plotly.react(plot, traces(s, to - from), layout(s, from, to), { displayModeBar: false, responsive: true });
}

function traces(s, range) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const breakAt = Math.max(5 * s.window, range / 100);
  const x = [], lower = [], upper = [], expected = [], value = [], note = [];
  s.end.forEach((end, i) => {
    if (i && end - s.end[i - 1] > breakAt) {
      x.push(local(end - 1));
      for (const column of [lower, upper, expected, value, note]) column.push(null);
    }
    x.push(local(end));
    lower.push(s.lower[i]);
    upper.push(s.upper[i]);
    expected.push(s.expected[i]);
    value.push(s.value[i]);
    note.push([shown(s.value[i], s.unit), shown(s.expected[i], s.unit), shown(s.lower[i], s.unit), shown(s.upper[i], s.unit), Math.round(s.score[i])]);
  });
  const line = { type: "scatter", mode: "lines", x, connectgaps: false };
  const text = "<b>%{customdata[0]}</b>, expected %{customdata[1]} (%{customdata[2]} to %{customdata[3]})<br>score %{customdata[4]}<extra></extra>";
  const at = s.anomalies;
  return [
    { ...line, y: lower, line: { width: 0 }, hoverinfo: "skip" },
    { ...line, y: upper, line: { width: 0 }, fill: "tonexty", fillcolor: colour("--band"), hoverinfo: "skip" },
    { ...line, y: expected, line: { width: 1.5, dash: "4px,4px", color: colour("--muted") }, hoverinfo: "skip" },
    { ...line, y: value, line: { width: 1.8, color: colour("--accent") }, customdata: note, hovertemplate: text },
    {
      type: "scatter", mode: "markers", x: at.map((i) => local(s.end[i])), y: at.map((i) => s.value[i]), hoverinfo: "skip",
      marker: { size: 9, color: colour("--bad"), line: { width: 1.5, color: colour("--card") } },
    },
  ];
}

function layout(s, from, to) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  // A few very wide bands, from before much was learned, must not flatten the line.
  const uppers = [...s.upper].sort((a, b) => a - b);
  const top = Math.max(...s.value, ...s.expected, uppers[Math.floor(uppers.length * 0.9)] ?? 0, s.unit === "share" ? 0.01 : 1);
  const bottom = Math.min(0, ...s.value);
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), fixedrange: true, tickfont: { size: 11.5 } };
  return {
    margin: { l: 46, r: 10, t: 8, b: 26 }, showlegend: false, hovermode: "x", dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.getPropertyValue("--sans"), color: colour("--muted"), size: 12 },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text"), family: style.getPropertyValue("--sans") }, align: "left" },
    xaxis: { ...axis, type: "date", range: [local(from), local(to)], showgrid: false, hoverformat: "%H:%M:%S", nticks: Math.max(3, Math.floor(innerWidth / 150)), tickformatstops: [{ dtickrange: [null, 59_000], value: "%H:%M:%S" }, { dtickrange: [59_000, 86_000_000], value: "%H:%M\n%e %b" }, { dtickrange: [86_000_000, null], value: "%e %b" }] },
    yaxis: { ...axis, range: [bottom * 1.08, top * 1.08], nticks: 5, tickformat: s.unit === "share" ? ".1~%" : "~s" },
  };
}

/* ---- anomalies ---- */

async function showAnomalies() {
  const { anomalies, max } = await ask("/api/anomalies", { pipeline: page.pipeline });
  $("anomalies-count").textContent = anomalies.length >= max ? `latest ${max}` : anomalies.length ? String(anomalies.length) : "";
  const panels = pipeline()?.panels ?? [];
  $("anomalies").tBodies[0].replaceChildren(...anomalies.map((a) => {
    const row = make("tr");
    const of = panels.find((p) => p.series.some((s) => s.detector === a.detector && s.series === a.series));
    const series = of?.series.find((s) => s.series === a.series);
    const time = make("td");
    time.append(make("span", "", when(a.start)), " ");
    time.append(a.ongoing ? make("span", "now", "now") : make("span", "since", a.windows > 1 ? span(a.end - a.start) : ""));
    time.title = `${new Date(a.start).toISOString()} to ${new Date(a.end).toISOString()}`;
    const detector = make("td");
    const link = make("button", "link", a.detector);
    link.type = "button";
    link.addEventListener("click", () => of && choose({ panel: of.id }));
    detector.append(link);
    const score = make("td", "number");
    score.append(make("span", "scorebox", number(Math.round(a.peak.score))));
    row.append(time, detector, make("td", "series wide", a.series), make("td", "number", shown(a.peak.value, series?.unit)), make("td", "number", shown(a.peak.expected, series?.unit)), score);
    return row;
  }));
}

/* ---- live tail ---- */

function showTailHead() {
  const columns = ["Time", ...(pipeline()?.columns ?? [])];
  $("tail").tHead.rows[0].replaceChildren(...columns.map((name) => {
    const cell = make("th", "", name);
    cell.scope = "col";
    return cell;
  }));
}

function tailRow(record, fresh) {
  const row = make("tr", fresh ? "fresh" : "");
  const time = make("td");
  const link = make("button", "link", clock(record.time));
  link.type = "button";
  link.title = "Show the whole record";
  link.addEventListener("click", () => showRecord(record));
  time.append(link);
  row.append(time);
  for (const { value, flag } of record.cells) {
    const cell = make("td");
    const mark = make("span", `flag ${flag}`, value ?? "missing");
    mark.title = `${value ?? "missing"}: ${flag}`;
    if (flag === "bad") mark.append(make("span", "hidden", " (bad)"));
    cell.append(mark);
    row.append(cell);
  }
  return row;
}

async function showTail() {
  const { records } = await ask("/api/tail", { pipeline: page.pipeline });
  showTailHead();
  waiting.length = 0;
  $("tail").tBodies[0].replaceChildren(...records.map((r) => tailRow(r, false)));
}

const waiting = [];
function tailed(record) {
  if (record.pipeline !== page.pipeline) return;
  waiting.push(record);
  if (waiting.length > MAX_TAIL) waiting.shift();
  if (!page.paused) requestAnimationFrame(flushTail);
}
function flushTail() {
  if (page.paused || !waiting.length) return;
  const body = $("tail").tBodies[0];
  body.prepend(...waiting.splice(0).reverse().map((r) => tailRow(r, true)));
  while (body.rows.length > MAX_TAIL) body.deleteRow(-1);
}

function showRecord(record) {
  let text = record.text;
  try {
    if (!record.cut) text = JSON.stringify(JSON.parse(text), null, 2);
  } catch { /* shown as it is */ }
  $("record").querySelector("pre").textContent = record.cut ? `${text}…` : text;
  $("record").showModal();
}

/* ---- choosing, loading, following ---- */

function choose(change) {
  Object.assign(page, change);
  const hash = new URLSearchParams({ pipeline: page.pipeline, panel: page.panel, minutes: page.minutes });
  history.replaceState(null, "", `#${hash}`);
  showTiles();
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
  if (!panels.some((p) => p.id === page.panel)) page.panel = (panels.find((p) => p.state === "anomalous") ?? panels[0])?.id ?? "";
  showChoices();
  showConnection();
  showVerdict();
  showTiles();
  await Promise.all([showCharts(), showAnomalies()]);
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
  page.minutes = RANGES.map(([, minutes]) => minutes).find((m) => m === Number(hash.get("minutes"))) ?? 60;
  for (const [label, minutes] of RANGES) {
    const button = make("button", "", label);
    button.type = "button";
    button.value = minutes;
    button.addEventListener("click", () => choose({ minutes }));
    $("ranges").append(button);
  }
  showRanges();
  $("pipeline").addEventListener("change", (event) => { page.pipeline = event.target.value; page.panel = ""; load(); });
  $("pause").addEventListener("click", () => {
    page.paused = !page.paused;
    $("pause").textContent = page.paused ? "Resume" : "Pause";
    $("pause").setAttribute("aria-pressed", String(page.paused));
    flushTail();
  });
  $("close").addEventListener("click", () => $("record").close());
  $("inject").addEventListener("submit", inject);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showCharts().catch(report));
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
