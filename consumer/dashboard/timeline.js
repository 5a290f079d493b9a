/** One execution's steps in order, with the time between them, the late and the lost. Pure. */

import { reasonOf } from "./board.js";

/**
 * What is known of one run, step by step: what the server has kept of it, and what came since.
 * `entries()` are, in order, `{kind: "step", event, sinceMs, isLate}` (`sinceMs` is null for the
 * first), `{kind: "hole", from, to}` for numbers that were passed over, and
 * `{kind: "redrive", redrive}`.
 */
export class Timeline {
  #events = new Map(); // id → event
  #late = new Set(); // ids

  add(event, isLate = false) {
    this.#events.set(event.id, event);
    if (isLate) this.#late.add(event.id);
  }

  get isEmpty() {
    return this.#events.size === 0;
  }

  /** The run as its newest step tells it. */
  get newest() {
    return this.#inOrder().at(-1) ?? null;
  }

  entries() {
    const entries = [];
    let before = null;
    let heardSeq = 0;
    for (const event of this.#inOrder()) {
      const { seq, redrive } = event.execution;
      const isNewTry = before !== null && before.execution.redrive !== redrive;
      if (isNewTry) {
        entries.push({ kind: "redrive", redrive });
        heardSeq = 0;
      }
      if (seq !== null && seq > heardSeq + 1) {
        // A redriven run goes on in the middle of its definition, with its own numbers.
        entries.push({ kind: "hole", from: heardSeq + 1, to: seq - 1 });
      }
      heardSeq = Math.max(heardSeq, seq ?? 0);
      const sinceMs = before && Date.parse(event.time) - Date.parse(before.time);
      entries.push({ kind: "step", event, sinceMs, isLate: this.#late.has(event.id) });
      before = event;
    }
    return entries;
  }

  /** Where it went, for the graph; null while nothing is known. See `pathOf`. */
  path() {
    return this.isEmpty ? null : pathOf(this.#inOrder());
  }

  /** By try and number; what has no number stands where its time puts it. */
  #inOrder() {
    const events = [...this.#events.values()];
    const numbered = events.filter(({ execution }) => execution.seq !== null);
    numbered.sort(
      (a, b) => a.execution.redrive - b.execution.redrive || a.execution.seq - b.execution.seq,
    );
    for (const event of events.filter(({ execution }) => execution.seq === null)) {
      const place = numbered.findIndex((other) => comesBefore(event, other));
      numbered.splice(place < 0 ? numbered.length : place, 0, event);
    }
    return numbered;
  }
}

function comesBefore(event, other) {
  const { redrive } = event.execution;
  if (redrive !== other.execution.redrive) return redrive < other.execution.redrive;
  if (event.terminal !== other.terminal) return other.terminal;
  return event.time < other.time;
}

/**
 * `{visits, at, ended, brokeAfter, reason}`: the states that told something, each with its
 * `{state, status, time, sinceStartMs}` in order; the one it was last heard from; how it ended
 * (its status, or null); and where it failed, the last state that was heard from before.
 */
function pathOf(events) {
  const last = events.at(-1);
  const startMs = Date.parse(events[0].time);
  const visits = events
    .filter(({ state, execution }) => state && execution.redrive === last.execution.redrive)
    .map(({ state, status, time }) => ({
      state,
      status,
      time,
      sinceStartMs: Date.parse(time) - startMs,
    }));
  const ended = last.terminal ? last.status : null;
  const isBroken = ended !== null && ended !== "SUCCEEDED";
  const before = visits.filter(({ status }) => status !== ended);
  return {
    visits,
    at: visits.at(-1)?.state ?? null,
    ended,
    brokeAfter: isBroken ? (before.at(-1)?.state ?? "") : null,
    reason: reasonOf(last),
  };
}
