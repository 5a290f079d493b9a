/** The one thing that is looked at: an execution with its steps, or an instance with its runs. */

import { PARTIAL, READING } from "./followed.js";
import {
  counted,
  detailLine,
  lasting,
  preciseTimeOfDay,
  signOf,
  step,
  timeOfDay,
  wordOf,
} from "./notation.js";
import { fillOrders, linkTo, writeMoment, writeReason, writeSign } from "./panels.js";
import { copyOf, Rows, write } from "./rows.js";

const RUNS_SHOWN = 8;
const REASON_CHARS = 2_000; // as much as an event can hold

const $ = (id) => document.getElementById(id);

export class Inspector {
  #clock;
  #run;
  #instance;
  #itsRuns;
  #shown = ""; // what the panel shows, so that a step that is there already is left alone
  #openEnd = null; // when the run that is under way began, for its lasting

  constructor(clock) {
    this.#clock = clock;
    this.#run = partsOf($("inspected-run"));
    this.#instance = partsOf($("inspected-instance"));
    const fill = (parts, run) => this.#fillRun(parts, run);
    this.#itsRuns = new Rows(this.#instance.runs, $("inspected-run-row"), fill);
  }

  get isOpen() {
    return !$("inspector").hidden;
  }

  /** Shows an execution (`followed`), an instance (`instance`, null where it is unknown, with its
   *  `runs`), or nothing. */
  render({ followed, instance, instanceId, runs, busy }) {
    const isRun = Boolean(followed.reference);
    $("inspector").hidden = !isRun && !instanceId;
    $("inspected-run").hidden = !isRun;
    $("inspected-instance").hidden = isRun || !instanceId;
    write($("inspector-title"), isRun ? "Execution" : "Instance");
    if (isRun) this.#showRun(followed);
    else if (instanceId) this.#showInstance(instanceId, instance, runs, busy);
  }

  /** What grows by itself. */
  tick() {
    if (this.#openEnd !== null && this.isOpen) {
      write(this.#run.lasting, `for ${lasting(Math.max(0, this.#clock.nowMs() - this.#openEnd))}`);
    }
  }

  #showRun(followed) {
    const parts = this.#run;
    const { timeline } = followed;
    const newest = timeline.newest;
    write(parts.name, newest?.execution.name ?? followed.reference);
    parts.facts.hidden = parts.sign.hidden = newest === null;
    writeReason(
      parts.reason,
      newest?.terminal && newest.status !== "SUCCEEDED" ? timeline.path().reason : null,
      REASON_CHARS,
    );
    if (newest) this.#showFacts(newest, timeline);
    write(parts.past, pastLine(followed));
    parts.past.hidden = !parts.past.textContent;
    const entries = timeline.entries();
    const shown = [
      followed.arn,
      ...entries.map(
        ({ kind, event, isLate, from, to }) => `${kind} ${event?.id} ${isLate} ${from}-${to}`,
      ),
    ].join("\n");
    if (shown === this.#shown) return;
    this.#shown = shown;
    parts.bar.replaceChildren(...pieces(entries));
    const details = new Map(); // what the steps before said, so that only what is new is repeated
    parts.steps.replaceChildren(...entries.map((entry) => this.#entry(entry, details)));
  }

  #showFacts(newest, timeline) {
    const parts = this.#run;
    const { arn, machine, redrive } = newest.execution;
    writeSign(parts, newest.status);
    write(parts.machine, redrive > 0 ? `${machine} · redrive ${redrive}` : machine);
    const instanceId = timeline.entries().findLast(({ event }) => event?.instance_id)
      ?.event.instance_id;
    parts.instance.hidden = !instanceId;
    if (instanceId) linkTo(parts.instance, { instance: instanceId });
    write(parts.instance, instanceId ?? "");
    const first = timeline.entries().find(({ kind }) => kind === "step").event;
    writeMoment(parts.started, first.time, this.#clock.nowMs());
    const beganMs = Date.parse(first.time);
    this.#openEnd = newest.terminal ? null : beganMs;
    if (newest.terminal)
      write(parts.lasting, `took ${lasting(Math.max(0, Date.parse(newest.time) - beganMs))}`);
    else this.tick();
    write(parts.arn, arn);
  }

  #entry(entry, details) {
    if (entry.kind === "step") return this.#step(entry, details);
    const { element, parts } = copyOf($("timeline-mark"));
    element.dataset.kind = entry.kind;
    if (entry.kind === "redrive") {
      write(parts.text, `Redriven: try ${entry.redrive + 1}`);
      return element;
    }
    const { from, to } = entry;
    const missing = from === to ? `Step ${from} was` : `Steps ${from} to ${to} were`;
    write(parts.text, `${missing} not heard`);
    element.title =
      "Its number was passed over: it was lost before the queue, or is no longer kept.";
    return element;
  }

  #step({ event, sinceMs, isLate }, details) {
    const { element, parts } = copyOf($("timeline-step"));
    element.dataset.kind = isLate ? "late" : "step";
    element.dataset.status = event.status;
    writeSign(parts, event.status);
    write(parts.since, sinceMs === null ? "" : step(sinceMs));
    write(parts.state, event.state ?? SOURCES[event.source] ?? event.source);
    write(parts.time, preciseTimeOfDay(event.time));
    parts.time.dateTime = event.time;
    parts.time.title = timeOfDay(event.time, 0);
    parts.late.hidden = !isLate;
    write(parts.detail, detailLine(newIn(event.detail ?? {}, details)));
    parts.detail.hidden = !parts.detail.textContent;
    return element;
  }

  #showInstance(id, instance, runs, busy) {
    const parts = this.#instance;
    this.#openEnd = null;
    this.#shown = "";
    write(parts.name, instance?.name || id);
    write(parts.id, instance?.name ? id : "");
    parts.sign.hidden = parts.since.hidden = parts.orders.hidden = instance === null;
    write(parts.unknown, instance ? "" : "Nothing was heard of this instance.");
    if (instance) {
      writeSign(parts, instance.status);
      writeMoment(
        parts.changed,
        instance.status === "unknown" ? null : instance.changedAt,
        this.#clock.nowMs(),
      );
      parts.since.hidden = instance.status === "unknown";
      fillOrders(parts, { ...instance, busy: busy.has(id) });
    }
    writeReason(parts.reason, instance?.reason ?? null, REASON_CHARS);
    this.#itsRuns.render(runs.slice(0, RUNS_SHOWN), ({ arn }) => arn);
    const more = runs.length - RUNS_SHOWN;
    write(
      parts.more,
      runs.length === 0
        ? "No execution is known for it."
        : more > 0
          ? `and ${counted(more, "older one")}`
          : "",
    );
  }

  #fillRun(parts, run) {
    writeSign(parts, run.status);
    write(parts.name, run.name);
    linkTo(parts.link, { run: run.name }, run.arn);
    writeMoment(parts.changed, run.changedAt, this.#clock.nowMs());
  }
}

const SOURCES = { states: "told by Step Functions", reconcile: "asked for", ec2: "told by EC2" };

function newIn(detail, before) {
  const news = Object.entries(detail).filter(
    ([name, value]) => before.get(name) !== JSON.stringify(value),
  );
  for (const [name, value] of news) before.set(name, JSON.stringify(value));
  return Object.fromEntries(news);
}

function pastLine({ past, why, timeline, reference }) {
  if (past === READING) return "Reading the steps that are kept …";
  if (past === PARTIAL) return `Earlier steps cannot be read (${why}); these were heard here.`;
  return timeline.isEmpty
    ? `No step of ${reference} is kept here. Is it another name, or long ago?`
    : "";
}

/** A run's time as one bar: a piece from each step to the next, as long as it took. */
function pieces(entries) {
  const steps = entries.filter(({ kind }) => kind === "step");
  return steps.slice(1).map(({ sinceMs }, index) => {
    const { status } = steps[index].event;
    const piece = document.createElement("span");
    piece.dataset.tone = signOf(status).tone;
    piece.style.flexGrow = Math.max(0, sinceMs);
    piece.title = `${wordOf(status)} ${lasting(Math.max(0, sinceMs))}`;
    return piece;
  });
}

function partsOf(element) {
  const parts = {};
  for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return parts;
}
