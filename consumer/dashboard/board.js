/**
 * What is known of executions and instances: the newest event of each, as the server chose it.
 * Pure: no DOM, clock or network. Records are replaced, never changed.
 */

export const EXECUTIONS_SHOWN = 200;
const INSTANCES_SHOWN = 500;
const TRAIL_STEPS = 10;
const NOT_HEARD = "not heard";

export class Board {
  #executions = new Map(); // ARN → record
  #instances = new Map(); // id → record
  forgotten = 0; // executions that were left out for the sake of the page

  /** A snapshot: what it does not hold is no longer kept by the server, so neither here. */
  replace(events) {
    const known = this.#executions;
    this.#executions = new Map();
    this.#instances = new Map();
    this.forgotten = 0;
    for (const event of events) this.#apply(event, known);
    this.#forget();
  }

  apply(event) {
    this.#apply(event, this.#executions);
    this.#forget();
  }

  /** A late event changes no status; it can fill the hole that it left in its run's trail. */
  applyLate(event) {
    const { arn, seq, redrive } = event.execution ?? {};
    const known = this.#executions.get(arn);
    if (!known || !seq || known.redrive !== redrive) return;
    const trail = known.trail.map((step) =>
      step.seq === seq && step.status === NOT_HEARD ? stepOf(event) : step,
    );
    this.#executions.set(arn, { ...known, trail });
  }

  /** Newest run first. */
  executions() {
    return [...this.#executions.values()].sort(
      (a, b) => descending(a.startedAt, b.startedAt) || descending(a.arn, b.arn),
    );
  }

  /** Newest change first; each with the run that is under way on it, or null. */
  instances() {
    const runs = new Map();
    for (const run of this.#executions.values()) {
      if (!run.instanceId || run.terminal) continue;
      const other = runs.get(run.instanceId);
      if (!other || other.startedAt < run.startedAt) runs.set(run.instanceId, run);
    }
    return [...this.#instances.values()]
      .map((instance) => ({ ...instance, run: runs.get(instance.id) ?? null }))
      .sort((a, b) => descending(a.changedAt, b.changedAt) || descending(b.id, a.id));
  }

  #apply(event, known) {
    if (event.execution) {
      const { arn } = event.execution;
      this.#executions.set(arn, executionOf(event, known.get(arn)));
      this.#mention(event);
    } else if (event.instance_id) {
      this.#instances.set(event.instance_id, instanceOf(event));
    }
  }

  /** An instance that only its runs spoke of: it is there, its status is not known. */
  #mention({ instance_id: id, time }) {
    if (!id) return;
    const known = this.#instances.get(id);
    if (known && (known.status !== "unknown" || known.changedAt >= time)) return;
    this.#instances.set(id, { id, status: "unknown", changedAt: time, reason: null });
  }

  /** Past the bounds the oldest go; an execution under way outlives every ended one. */
  #forget() {
    if (this.#executions.size > EXECUTIONS_SHOWN) {
      const oldestLast = this.executions().sort((a, b) => a.terminal - b.terminal);
      for (const { arn } of oldestLast.slice(EXECUTIONS_SHOWN)) this.#executions.delete(arn);
      this.forgotten += oldestLast.length - EXECUTIONS_SHOWN;
    }
    if (this.#instances.size > INSTANCES_SHOWN) {
      for (const { id } of this.instances().slice(INSTANCES_SHOWN)) this.#instances.delete(id);
    }
  }
}

function executionOf(event, known) {
  const { arn, name, machine, seq, redrive } = event.execution;
  return {
    arn,
    name,
    machine,
    redrive,
    instanceId: event.instance_id ?? known?.instanceId ?? null,
    state: event.state,
    status: event.status,
    terminal: event.terminal,
    reason: reasonOf(event),
    changedAt: event.time,
    startedAt: known && known.startedAt < event.time ? known.startedAt : event.time,
    // Who joins in the middle of a run knows only that it began earlier.
    startHeard: known?.startHeard || seq === 1 || event.status === "RUNNING",
    trail: trailOf(event, known),
  };
}

/** The steps of a run so far; a number that was passed over shows as not heard. */
function trailOf(event, known) {
  const { seq, redrive } = event.execution;
  const trail = known && known.redrive === redrive ? [...known.trail] : [];
  if (trail.some((step) => step.id === event.id)) return trail;
  const lastSeq = trail.reduce((last, step) => Math.max(last, step.seq ?? 0), 0);
  const firstShown = Math.max(lastSeq + 1, (seq ?? 0) - TRAIL_STEPS);
  for (let missed = firstShown; missed < (seq ?? 0); missed++) {
    trail.push({ id: `hole ${missed}`, seq: missed, status: NOT_HEARD, time: null });
  }
  trail.push(stepOf(event));
  return trail.slice(-TRAIL_STEPS);
}

function stepOf({ id, status, time, execution }) {
  return { id, seq: execution.seq, status, time };
}

function instanceOf(event) {
  return {
    id: event.instance_id,
    status: event.status,
    changedAt: event.time,
    reason: reasonOf(event),
  };
}

/** `{error, cause}`, also from EC2's state reason; null where neither says anything. */
function reasonOf({ reason }) {
  if (!reason) return null;
  const error = reason.error ?? reason.code ?? reason.Code ?? "";
  const cause = reason.cause ?? reason.message ?? reason.Message ?? "";
  return error || cause ? { error: String(error), cause: String(cause) } : null;
}

function descending(a, b) {
  if (a === b) return 0;
  return a < b ? 1 : -1;
}
