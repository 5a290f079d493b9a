/** What a row of each list shows. Text goes in as text, never as markup. */

import { ago, exactTime, preciseTimeOfDay, span, timeOfDay } from "./notation.js";
import { detailLine, signOf, wordOf } from "./notation.js";
import { write } from "./rows.js";

const CAUSE_SHOWN_CHARS = 300; // two or three lines; the title holds more
const CAUSE_TITLE_CHARS = 2_000;
const WHOLE_CHARS = 28; // fits the narrowest line
const FLASH_MS = 1_200;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** The states from which EC2 lets an instance start or stop; who is unheard of may try. */
const STARTS_FROM = new Set(["stopped", "unknown"]);
const STOPS_FROM = new Set(["running", "unknown"]);

export function fillInstance(parts, instance, row) {
  const { id, status, changedAt, reason, run, busy } = instance;
  row.dataset.instance = id;
  changeStatus(row, status);
  writeStatus(parts, status, status === "unknown" ? "not heard yet" : wordOf(status));
  write(parts.id, id);
  writeMoment(parts.changed, status === "unknown" ? null : changedAt);
  writeReason(parts, status === "running" ? null : reason);
  write(parts.run, run ? run.name : "");
  parts.run.hidden = !run;
  if (run) parts.run.title = run.arn;
  write(parts.runStatus, run ? wordOf(run.status) : "");
  parts.start.disabled = Boolean(busy) || !STARTS_FROM.has(status);
  parts.stop.disabled = Boolean(busy) || !STOPS_FROM.has(status);
  parts.start.setAttribute("aria-label", `Start ${id}`);
  parts.stop.setAttribute("aria-label", `Stop ${id}`);
  row.setAttribute("aria-busy", String(Boolean(busy)));
}

export function fillExecution(parts, run, row) {
  row.dataset.execution = run.arn;
  changeStatus(row, run.status);
  writeStatus(parts, run.status, wordOf(run.status));
  write(parts.name, run.name);
  parts.name.title = run.arn;
  write(parts.machine, run.redrive > 0 ? `${run.machine} · redrive ${run.redrive}` : run.machine);
  write(parts.instance, run.instanceId ?? "no instance");
  write(parts.state, run.state ?? "");
  parts.started.dataset.exact = run.startHeard ? "" : "before ";
  writeMoment(parts.started, run.startedAt);
  writeMoment(parts.changed, run.changedAt);
  writeReason(parts, run.status === "SUCCEEDED" ? null : run.reason);
  writeTrail(parts.trail, run.trail);
}

export function fillEvent(parts, { event, heardAt, delayMs, late }, item) {
  const { execution, instance_id: instanceId, status, source, state, detail } = event;
  item.dataset.kind = late ? "late" : "event";
  writeStatus(parts, status, wordOf(status));
  write(parts.subject, execution ? execution.name : instanceId);
  parts.subject.title = execution ? execution.arn : instanceId;
  write(parts.heard, preciseTimeOfDay(heardAt));
  parts.heard.dateTime = heardAt.toISOString();
  parts.heard.title = `Happened ${event.time}`;
  write(parts.delay, span(delayMs));
  parts.late.hidden = !late;
  const reason = event.reason ? detailLine(event.reason) : "";
  const told = [source, state, execution && instanceId, detailLine(detail), reason].filter(Boolean);
  parts.told.replaceChildren(...told.flatMap((text, index) => [index ? " · " : "", piece(text)]));
  parts.told.title = told.join(" · ").slice(0, CAUSE_TITLE_CHARS);
}

export function fillNotice(parts, { kind, heardAt, text }, item) {
  item.dataset.kind = kind;
  write(parts.heard, preciseTimeOfDay(heardAt));
  parts.heard.dateTime = heardAt.toISOString();
  write(parts.text, text);
}

/** A part of a line; a short one, such as an instance's id, is not broken at its hyphens. */
function piece(text) {
  const element = document.createElement("span");
  element.className = text.length <= WHOLE_CHARS ? "whole" : "";
  element.textContent = text.slice(0, CAUSE_SHOWN_CHARS);
  return element;
}

/** A row whose status changes says so for a moment; one that is new is seen anyway. */
function changeStatus(row, status) {
  const before = row.dataset.status;
  row.dataset.status = status;
  if (!before || before === status || calm.matches) return;
  const tint = "color-mix(in srgb, var(--mark) 18%, transparent)";
  row.animate({ backgroundColor: [tint, "transparent"] }, FLASH_MS);
}

function writeStatus({ sign, shape, status }, name, word) {
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
export function writeMoment(element, time) {
  element.hidden = !time;
  if (!time || element.dateTime === time) return;
  element.dateTime = time;
  element.title = exactTime(time);
  tellMoment(element, Date.now());
}

function writeReason({ reason }, told) {
  reason.hidden = !told;
  if (!told) return;
  const { error, cause } = told;
  // EC2's own message begins with its code.
  const text = error && cause && !cause.startsWith(error) ? `${error}: ${cause}` : cause || error;
  write(reason, text.length > CAUSE_SHOWN_CHARS ? `${text.slice(0, CAUSE_SHOWN_CHARS)}…` : text);
  reason.title = text.slice(0, CAUSE_TITLE_CHARS);
}

function writeTrail(trail, steps) {
  const beads = steps.map(({ seq, status, time }) => {
    const bead = document.createElement("li");
    bead.dataset.tone = time ? signOf(status).tone : "hole";
    bead.title = time
      ? `${wordOf(status)} ${timeOfDay(time, Date.now())}`
      : `step ${seq}: ${status}`;
    return bead;
  });
  trail.replaceChildren(...beads);
  trail.hidden = steps.length < 2;
  const heard = steps.filter((step) => step.time).map((step) => wordOf(step.status));
  trail.setAttribute("aria-label", `Steps heard: ${heard.join(", ")}`);
}
