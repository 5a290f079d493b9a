/**
 * The execution that is followed: all of its steps that the server keeps, read once, and those
 * that come while it is looked at. No DOM.
 */

import { Timeline } from "./timeline.js";

/** What is known of its past: still being read, all that is kept, or only what was heard here. */
export const READING = "reading";
export const WHOLE = "whole";
export const PARTIAL = "partial";

export class Followed {
  #read;
  #onChange;
  #ending = null; // aborts a reading that nobody waits for any more
  reference = ""; // its name or its ARN, as the address has it
  arn = null;
  timeline = new Timeline();
  past = READING;
  why = ""; // its past is not known

  /**
   * `read(pattern, signal)` resolves to the kept events of an execution; `onChange()` is called
   * when they are there, or cannot be had.
   */
  constructor(read, onChange) {
    this.#read = read;
    this.#onChange = onChange;
  }

  /** Follows another one, or none (an empty reference); `known` is the board's record of it. */
  follow(reference, known) {
    if (reference === this.reference) return;
    this.#ending?.abort();
    this.reference = reference;
    this.arn = reference.startsWith("arn:") ? reference : (known?.arn ?? null);
    this.timeline = new Timeline();
    if (known) this.timeline.add(known.event);
    this.past = READING;
    this.why = "";
    if (reference) this.readAgain();
  }

  /** Also after the stream was away for longer than the log: what it missed is kept there. */
  async readAgain() {
    if (!this.reference) return;
    this.#ending?.abort();
    const ending = new AbortController();
    this.#ending = ending;
    try {
      const events = await this.#read(`execution:${this.arn ?? this.reference}`, ending.signal);
      if (ending.signal.aborted) return;
      this.arn ??= newestArn(events);
      for (const event of events) if (this.#isOurs(event)) this.timeline.add(event);
      this.past = WHOLE;
      this.why = "";
    } catch (error) {
      if (ending.signal.aborted) return;
      this.past = PARTIAL;
      this.why = error.message;
    }
    this.#onChange();
  }

  /** Every event of the stream; says whether it is one of this execution. */
  hear(event, isLate) {
    if (!this.reference || !this.#isOurs(event)) return false;
    this.arn ??= event.execution.arn;
    this.timeline.add(event, isLate);
    return true;
  }

  #isOurs({ execution }) {
    if (!execution) return false;
    return this.arn ? execution.arn === this.arn : execution.name === this.reference;
  }
}

/** Of several runs with one name, the one that began last. */
function newestArn(events) {
  const begun = new Map();
  for (const { execution, time } of events) {
    const known = begun.get(execution.arn);
    if (!known || time < known) begun.set(execution.arn, time);
  }
  const [newest] = [...begun].sort(([, a], [, b]) => (a < b ? 1 : -1));
  return newest?.[0] ?? null;
}
