// Making elements, asking the API, and how numbers and times read.
//
// Everything that comes from a record or a configuration is hostile: it becomes a text node (textContent), never markup.

export const $ = (id) => document.getElementById(id);
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// A screen reader tells what changes: what is the same must not be written again.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export async function ask(path, parameters = {}) {
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`, { signal: AbortSignal.timeout(10_000) });
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

const two = (number) => String(number).padStart(2, "0");
export function clock(time) {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
export function when(time) {
  const at = new Date(time);
  const today = new Date().toDateString() === at.toDateString();
  return today ? clock(time) : `${at.toLocaleDateString(undefined, { day: "numeric", month: "short", year: at.getFullYear() === new Date().getFullYear() ? undefined : "numeric" })} ${clock(time)}`;
}
export function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 }).format(value);
}
export const percent = (share) => (share === null || share === undefined ? "–" : `${number(share * 100)}\u00a0%`);
export const shown = (value, unit) => (unit === "share" ? percent(value) : number(value));
