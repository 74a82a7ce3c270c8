// The charts of the chosen tile: one a series, with the expected range and the anomalies. Plotly gets numbers only.

import { $, ask, make, shown, span } from "/assets/text.js";
import { page, panel, pipeline } from "/assets/state.js";

const LAG = 5 * 60_000; // data older than this are shown up to their own time

// Plotly shows dates in UTC; people want their own clock.
const local = (time) => time - new Date(time).getTimezoneOffset() * 60_000;
let chartTurn = 0;
// Plotly is large: tiles and tables do not wait for it, charts do.
const plotly = new Promise((done) => (document.readyState === "complete" ? done() : addEventListener("load", done, { once: true })));
const widths = new ResizeObserver((plots) => {
  for (const { target } of plots) if (target.isConnected && target.data) Plotly.Plots.resize(target);
});

export async function showCharts() {
  const turn = ++chartTurn;
  const current = pipeline(), p = panel();
  if (!p) return;
  const old = current.until !== null && Date.now() - current.until > LAG;
  const to = old ? current.until : Date.now(), from = to - page.minutes * 60_000;
  const answers = await Promise.all(p.series.map((s) => ask("/api/series", { pipeline: current.name, detector: s.detector, series: s.series, from, to })));
  await plotly;
  if (turn !== chartTurn) return;
  $("chart-title").textContent = p.field && p.field !== p.title ? `${p.title} (${p.field})` : p.title;
  const charts = $("charts");
  const key = `${current.name}\n${p.id}\n${answers.length}`;
  if (charts.dataset.key !== key) {
    charts.dataset.key = key;
    widths.disconnect();
    for (const plot of charts.querySelectorAll(".plot")) Plotly.purge(plot);
    charts.replaceChildren(...answers.map(() => {
      const chart = make("div", "chart");
      const plot = make("div", answers.length === 1 ? "plot tall" : "plot");
      chart.append(make("h3"), plot);
      widths.observe(plot);
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
  Plotly.react(plot, traces(s, to - from), layout(s, from, to), { displayModeBar: false });
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
    { ...line, y: value, line: { width: 1.7, color: colour("--accent") }, customdata: note, hovertemplate: text },
    { ...line, y: expected, line: { width: 1.4, dash: "5px,4px", color: colour("--text") }, hoverinfo: "skip" },
    {
      type: "scatter", mode: "markers", x: at.map((i) => local(s.end[i])), y: at.map((i) => s.value[i]), hoverinfo: "skip", cliponaxis: false,
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
  const bottom = Math.min(0, ...s.value), days = to - from > 12 * 3_600_000;
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), fixedrange: true, tickfont: { size: 11.5 } };
  return {
    margin: { l: 46, r: 10, t: 8, b: days ? 40 : 26 }, showlegend: false, hovermode: "x", dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.getPropertyValue("--sans"), color: colour("--muted"), size: 12 },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text"), family: style.getPropertyValue("--sans") }, align: "left" },
    xaxis: { ...axis, type: "date", range: [local(from), local(to + (to - from) * 0.012)], showgrid: false, hoverformat: "%H:%M:%S", nticks: Math.max(3, Math.floor(innerWidth / 150)), tickformat: days ? "%H:%M\n%e %b" : "%H:%M" },
    yaxis: { ...axis, range: [bottom * 1.08, top * 1.08], nticks: 5, tickformat: s.unit === "share" ? ".1~%" : top < 10 ? ".2~f" : "~s" },
  };
}
