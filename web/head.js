// The header, the verdict and the tiles: what somebody sees in the first five seconds.

import { $, draw, make, number, percent, say, shown, when } from "/assets/text.js";
import { page, pipeline } from "/assets/state.js";

const STATES = { normal: "Normal", anomalous: "Anomalous", learning: "Learning", stale: "No new data", empty: "No data yet" };

// The series that has learned least of those that are learning.
function learning(scores) {
  return scores.filter((score) => score?.needed).sort((a, b) => (a.learned ?? 0) - (b.learned ?? 0))[0];
}

export function showConnection() {
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
  say(pill, text);
  const notice = page.browser === "down" ? "The connection to the dashboard is lost; trying again. What you see may be old." : trouble?.reason ?? starting?.reason ?? "";
  say($("notice"), notice);
  $("notice").hidden = !notice;
}

export function showVerdict() {
  const current = pipeline();
  if (!current) return;
  const scored = current.panels.filter((p) => p.state !== "empty");
  const bad = scored.filter((p) => p.state === "anomalous");
  const names = new Intl.ListFormat("en").format(bad.map((p) => p.title));
  $("verdict").dataset.state = current.state;
  const headline =
    current.state === "anomalous" ? (bad.length === 1 ? `${names} is anomalous${against(bad[0])}` : `${bad.length} of ${scored.length} are anomalous: ${names}`)
    : current.state === "normal" ? "All is as expected"
    : current.state === "learning" ? "Learning what is normal"
    : current.state === "stale" ? "No new scores are coming"
    : "Waiting for the first scores";
  say($("headline"), headline);
  const parts = [];
  if (current.rate !== null) parts.push(`${number(current.rate)} records a second`);
  if (scored.length) parts.push(`${scored.length} ${scored.length === 1 ? "group" : "groups"} watched`);
  const scores = current.panels.flatMap((p) => p.last);
  const left = learning(scores), few = scores.filter((score) => score?.learning).length;
  if (left) parts.push(`${few} of ${scores.length} series still learning, ${left.learned ?? 0} of ${left.needed} windows`);
  if (current.until !== null) parts.push(`windows closed until ${when(current.until)}`);
  if (current.state === "empty") parts.push("a window closes soon after its end, once records arrive");
  $("subline").textContent = parts.join(" · ");
  document.title = `${current.state === "anomalous" ? "● " : ""}${current.name} – outlier`;
}

function against(p) {
  if (p.bad_share === null || p.expected_share === null) return "";
  return `: ${percent(p.bad_share)} bad instead of ${percent(p.expected_share)}`;
}

export function showChoices() {
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

// `choose` is called with the id of a tile that is pressed.
export function showTiles(choose) {
  const panels = pipeline()?.panels ?? [];
  const tiles = $("tiles");
  if ([...tiles.children].map((t) => t.dataset.id).join("\n") !== panels.map((p) => p.id).join("\n")) {
    tiles.replaceChildren(...panels.map((p) => {
      const tile = make("button", "tile");
      tile.type = "button";
      tile.dataset.id = p.id;
      tile.addEventListener("click", () => choose(p.id));
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
  // What is expected means little before that.
  const left = learning(p.last);
  if (p.state === "learning" && left) against.textContent = `${left.learned ?? 0} of ${left.needed} windows learned`;
  const score = make("span", "score");
  if (p.score !== null) score.append("score ", make("b", "", number(Math.round(p.score))));
  tile.replaceChildren(
    make("span", "name", p.title), make("span", "state", STATES[p.state]), main, against, spark(p.spark, last?.upper ?? 0),
    make("span", "rate", p.rate === null ? "" : `${number(p.rate)} records/s`), score,
  );
  tile.title = p.field ? `field ${p.field}` : p.title;
}

// Against the expected range: what is normal looks small.
function spark(values, upper) {
  const svg = draw("svg", { viewBox: "0 0 120 38", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return svg;
  const top = Math.max(...values, upper * 1.5, 1e-9);
  const points = values.map((v, i) => `${((i / (values.length - 1)) * 120).toFixed(1)},${(35 - (Math.max(v, 0) / top) * 32).toFixed(1)}`);
  svg.append(
    draw("polygon", { points: `0,38 ${points.join(" ")} 120,38`, fill: "currentColor", opacity: ".12" }),
    draw("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "1.6", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" }),
  );
  return svg;
}
