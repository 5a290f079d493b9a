/** What a row of each list shows. Text goes in as text, never as markup. */

import {
  ago,
  detailLine,
  exactTime,
  preciseTimeOfDay,
  reasonText,
  signOf,
  span,
  timeOfDay,
  wordOf,
} from "./notation.js";
import { write } from "./rows.js";

const CAUSE_SHOWN_CHARS = 300; // two or three lines; the title holds more
const CAUSE_TITLE_CHARS = 2_000;
const FLASH_MS = 1_200;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let isFlashing = true;

/** Whether rows flash when their status changes: not where everything changes at once. */
export function setFlashing(flashing) {
  isFlashing = flashing;
}

/** The states from which EC2 lets an instance start or stop; who is unheard of may try. */
const STARTS_FROM = new Set(["stopped", "unknown"]);
const STOPS_FROM = new Set(["running", "unknown"]);

export function fillInstance(parts, instance, row) {
  const { id, name, status, changedAt, reason, run } = instance;
  row.dataset.instance = id;
  changeStatus(row, status);
  writeSign(parts, status);
  write(parts.name, name || id);
  write(parts.id, name ? id : "");
  linkTo(parts.link, { instance: id });
  writeMoment(parts.changed, status === "unknown" ? null : changedAt);
  writeReason(parts.reason, status === "running" ? null : reason);
  parts.runLink.hidden = !run;
  write(parts.run, run ? run.name : "");
  if (run) linkTo(parts.runLink, { run: run.name }, run.arn);
  write(parts.runStatus, run ? wordOf(run.status) : "");
  fillOrders(parts, instance);
  row.setAttribute("aria-busy", String(Boolean(instance.busy)));
}

/** The two buttons of an instance, where its state allows them. */
export function fillOrders(parts, { id, name, status, busy }) {
  parts.start.disabled = Boolean(busy) || !STARTS_FROM.has(status);
  parts.stop.disabled = Boolean(busy) || !STOPS_FROM.has(status);
  const which = name ? `${name} ${id}` : id;
  for (const [button, word] of [
    [parts.start, "Start"],
    [parts.stop, "Stop"],
  ]) {
    button.setAttribute("aria-label", `${word} ${which}`);
    button.dataset.id = id;
  }
}

export function fillExecution(parts, run, row) {
  row.dataset.execution = run.arn;
  changeStatus(row, run.status);
  writeSign(parts, run.status);
  write(parts.name, run.name);
  linkTo(parts.link, { run: run.name }, run.arn);
  write(parts.machine, run.redrive > 0 ? `${run.machine} · redrive ${run.redrive}` : run.machine);
  write(parts.instance, run.instanceId ?? "no instance");
  write(parts.state, run.state ?? "");
  parts.started.dataset.exact = run.startHeard ? "" : "before ";
  writeMoment(parts.started, run.startedAt);
  writeMoment(parts.changed, run.changedAt);
  const reason = run.status === "SUCCEEDED" ? null : run.reason;
  writeReason(parts.reason, reason);
  writeTrail(parts.trail, run.trail);
  parts.trail.hidden = reason !== null || run.trail.length < 2;
}

export function fillEvent(parts, { event, heardAtMs, delayMs, late }, item) {
  const { execution, instance_id: instanceId, source, state, detail } = event;
  item.dataset.kind = late ? "late" : "event";
  writeSign(parts, event.status);
  const { name, ...others } = detail ?? {};
  const named = !execution && typeof name === "string" && name;
  write(parts.subject, execution ? execution.name : named || instanceId);
  linkTo(
    parts.link,
    execution ? { run: execution.name } : { instance: instanceId },
    execution?.arn,
  );
  writeHeard(parts.heard, heardAtMs);
  parts.heard.title = `Happened ${event.time}`;
  write(parts.delay, delayMs === null ? "" : span(delayMs));
  parts.late.hidden = !late;
  const reason = event.reason ? detailLine(event.reason) : "";
  const where = execution || named ? instanceId : null;
  const told = [source, state, where, detailLine(named ? others : detail), reason].filter(Boolean);
  write(parts.told, told.join(" · ").slice(0, CAUSE_SHOWN_CHARS));
  parts.told.title = told.join(" · ").slice(0, CAUSE_TITLE_CHARS);
}

export function fillNotice(parts, { kind, heardAtMs, text }, item) {
  item.dataset.kind = kind;
  writeHeard(parts.heard, heardAtMs);
  write(parts.text, text);
}

function writeHeard(element, heardAtMs) {
  write(element, preciseTimeOfDay(heardAtMs));
  element.dateTime = new Date(heardAtMs).toISOString();
}

/** A link that shows one thing and can be copied; a click on it keeps the rest of the view. */
export function linkTo(link, shown, arn = "") {
  const [[name, value]] = Object.entries(shown);
  const href = `?${name}=${encodeURIComponent(value)}`;
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  link.dataset.show = name;
  link.dataset.value = value;
  link.dataset.arn = arn;
  link.title = arn || value;
}

/** A row whose status changes says so for a moment; one that is new is seen anyway. */
function changeStatus(row, status) {
  const before = row.dataset.status;
  row.dataset.status = status;
  if (!before || before === status || calm.matches || !isFlashing) return;
  const tint = "color-mix(in srgb, var(--mark) 18%, transparent)";
  row.animate({ backgroundColor: [tint, "transparent"] }, FLASH_MS);
}

/** A status by its shape, its colour and its word. */
export function writeSign({ sign, shape, status }, name, word = wordOf(name)) {
  const { shape: shapeName, tone } = signOf(name);
  sign.dataset.tone = tone;
  shape.setAttribute("href", `#shape-${shapeName}`);
  write(status, word);
}

/** Tells an element's moment as it asks: `ago`, or by the `clock`. It grows old by itself. */
export function tellMoment(element, nowMs) {
  const { told, exact = "" } = element.dataset;
  const time = element.dateTime;
  write(element, told === "ago" ? ago(nowMs - Date.parse(time)) : exact + timeOfDay(time, nowMs));
}

/** Writes a moment, or hides its element where there is none. */
export function writeMoment(element, time, nowMs = Date.now()) {
  element.hidden = !time;
  if (!time || element.dateTime === time) return;
  element.dateTime = time;
  element.title = exactTime(time);
  tellMoment(element, nowMs);
}

/** Writes a reason `{error, cause}`, shortened, or hides its element where there is none. */
export function writeReason(element, reason, mostChars = CAUSE_SHOWN_CHARS) {
  element.hidden = !reason;
  const text = reasonText(reason);
  write(element, text.length > mostChars ? `${text.slice(0, mostChars)}…` : text);
  element.title = text.slice(0, CAUSE_TITLE_CHARS);
}

function writeTrail(trail, steps) {
  const beads = steps.map(({ seq, status, time, isHole }) => {
    const bead = document.createElement("li");
    bead.dataset.tone = isHole ? "hole" : signOf(status).tone;
    bead.title = isHole
      ? `step ${seq}: not heard`
      : `${wordOf(status)} ${timeOfDay(time, Date.now())}`;
    return bead;
  });
  trail.replaceChildren(...beads);
  const heard = steps.filter((step) => !step.isHole).map((step) => wordOf(step.status));
  trail.setAttribute("aria-label", `Steps heard: ${heard.join(", ")}`);
}
