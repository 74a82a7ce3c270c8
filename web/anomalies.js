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
    link.addEventListener("click", () => of && choose(of.id));
    detector.append(link);
    const score = make("td", "number");
    score.append(make("span", "scorebox", number(Math.round(a.peak.score))));
    const name = make("td", "series wide", a.series);
    if (a.peak.why) name.append(make("div", "why", a.peak.why.slice(0, 2).map(reason).join("; ")));
    row.append(time, detector, name, make("td", "number", shown(a.peak.value, series?.unit)), make("td", "number", shown(a.peak.expected, series?.unit)), score);
    return row;
  }));
}

// "country XX: 93 %, usually 1 %"
function reason({ field, value, now, usual }) {
  return `${field} ${value || "(missing)"}: ${percent(now)}, usually ${percent(usual)}`;
}
