// The table of the latest anomalies.

import { $, ask, make, number, percent, shown, span, when } from "/assets/text.js";
import { page, pipeline } from "/assets/state.js";

let drawn = "";

// `choose` is called with the id of the panel whose detector is pressed.
export async function showAnomalies(choose) {
  const { anomalies, max } = await ask("/api/anomalies", { pipeline: page.pipeline });
  $("anomalies-count").textContent = anomalies.length >= max ? `latest ${max}` : anomalies.length ? String(anomalies.length) : "";
  // The rows stay while nothing changed, and with them the focus and a selection.
  const now = JSON.stringify([page.pipeline, anomalies]);
  if (now === drawn) return;
  drawn = now;
  const panels = pipeline()?.panels ?? [];
  $("anomalies").tBodies[0].replaceChildren(...anomalies.flatMap((a) => {
    const row = make("tr");
    const of = panels.find((p) => p.series.some((s) => s.detector === a.detector && s.series === a.series));
    const series = of?.series.find((s) => s.series === a.series);
    const time = make("td");
    time.append(make("span", "", when(a.start)), " ");
    time.append(a.ongoing ? make("span", "now", "now") : make("span", "since", a.windows > 1 ? span(a.end - a.start) : ""));
    time.title = `${new Date(a.start).toISOString()} to ${new Date(a.end).toISOString()}`;
    const detector = make("td");
    if (of) {
      const link = make("button", "link", a.detector);
      link.type = "button";
      link.addEventListener("click", () => choose(of.id));
      detector.append(link);
    } else {
      detector.append(a.detector);
    }
    const score = make("td", "number");
    score.append(make("span", "scorebox", number(Math.round(a.peak.score))));
    row.append(time, detector, make("td", "series wide", a.series), make("td", "number", shown(a.peak.value, series?.unit)), make("td", "number", shown(a.peak.expected, series?.unit)), score);
    return a.peak.why ? [row, why(a.peak.why)] : [row];
  }));
  const splits = pipeline()?.splits ?? [];
  $("splits").textContent = splits.map(({ detector, by }) => `${detector} has a series for each ${by.join(", ")}: only their anomalies are shown, no charts.`).join(" ");
  $("splits").hidden = !splits.length;
}

// The reasons have a row of their own, as wide as the table.
function why(reasons) {
  const row = make("tr", "why");
  const cell = make("td", "", reasons.slice(0, 2).map(reason).join("; "));
  cell.colSpan = 6;
  row.append(cell);
  return row;
}

// "country XX: 93 %, usually 1 %"
function reason({ field, value, now, usual }) {
  return `${field} ${value || "(missing)"}: ${percent(now)}, usually ${percent(usual)}`;
}
