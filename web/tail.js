// The live tail of enriched records, and one whole record.

import { $, ask, clock, make } from "/assets/text.js";
import { page, pipeline } from "/assets/state.js";

const MAX_TAIL = 100;

export function showTailHead() {
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

export async function showTail() {
  const { records } = await ask("/api/tail", { pipeline: page.pipeline });
  showTailHead();
  waiting.length = 0;
  $("tail").tBodies[0].replaceChildren(...records.map((r) => tailRow(r, false)));
}

const waiting = [];
let due = false;
export function tailed(record) {
  if (record.pipeline !== page.pipeline) return;
  waiting.push(record);
  if (waiting.length > MAX_TAIL) waiting.shift();
  // A hidden tab draws no frame: one is asked for at a time.
  if (page.paused || due) return;
  due = true;
  requestAnimationFrame(() => { due = false; flushTail(); });
}
export function flushTail() {
  if (page.paused || !waiting.length) return;
  const body = $("tail").tBodies[0];
  body.prepend(...waiting.splice(0).reverse().map((r) => tailRow(r, true)));
  while (body.rows.length > MAX_TAIL) body.deleteRow(-1);
}

function showRecord(record) {
  $("record").querySelector("pre").textContent = record.cut ? `${indent(record.text)}…` : indent(record.text);
  $("record").showModal();
}

// Breaks JSON text into lines. Only white space outside of strings changes: numbers and duplicate keys stay as they are.
function indent(text) {
  let out = "", depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[{[]\s*[}\]]|[{}[\],:]|[^\s"{}[\],:]+/gs)) {
    if (token === "{" || token === "[") { depth++; out += token + line(); }
    else if (token === "}" || token === "]") { depth = Math.max(depth - 1, 0); out += line() + token; }
    else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += token;
  }
  return out;
}
