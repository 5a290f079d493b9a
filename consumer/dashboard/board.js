/**
 * What is known of executions and instances: the newest event of each, as the server chose it.
 * Pure: no DOM, clock or network. Records are replaced, never changed.
 */

export const EXECUTIONS_KEPT = 5_000; // × ~3 kB with its trail and newest event = 15 MB
const INSTANCES_KEPT = 10_000;
const SLACK = 1.1; // how far past a bound it goes before the oldest are looked for
const TRAIL_STEPS = 10;

export class Board {
  #executions = new Map(); // ARN → record
  #instances = new Map(); // id → record
  #named = new Map(); // name → how many executions have it
  #isSettled = true; // whether the instances know their runs
  arrangement = 0; // counts up when an instance comes, goes or is renamed
  forgotten = 0; // executions that were left out for the sake of the page

  /** A snapshot: what it does not hold is no longer kept by the server, so neither here. */
  replace(events) {
    const known = this.#executions;
    this.#executions = new Map();
    this.#instances = new Map();
    this.#named = new Map();
    this.arrangement += 1;
    this.forgotten = 0;
    for (const event of events) this.#apply(event, known);
    this.#forget(1);
  }

  apply(event) {
    this.#apply(event, this.#executions);
    this.#forget(SLACK);
  }

  /** A late event changes no status; it can fill the hole that it left in its run's trail. */
  applyLate(event) {
    const { arn, seq, redrive } = event.execution ?? {};
    const known = this.#executions.get(arn);
    if (!known || !seq || known.redrive !== redrive) return;
    const trail = known.trail.map((step) =>
      step.seq === seq && step.isHole ? stepOf(event) : step,
    );
    this.#executions.set(arn, { ...known, trail });
  }

  /** Newest run first. */
  executions() {
    return [...this.#executions.values()].sort(newestFirst);
  }

  /** id → record, each with the run that is under way on it, or null. */
  instances() {
    this.#settle();
    return this.#instances;
  }

  instance(id) {
    this.#settle();
    return this.#instances.get(id) ?? null;
  }

  /** The execution of an ARN, or the newest of a name; null where none is known. */
  execution(reference) {
    const exact = this.#executions.get(reference);
    if (exact) return exact;
    const named = [...this.#executions.values()].filter(({ name }) => name === reference);
    return named.sort(newestFirst)[0] ?? null;
  }

  /** How an execution is called shortly: by its name, where no other has it. */
  referenceTo({ arn, name }) {
    return (this.#named.get(name) ?? 0) > 1 ? arn : name;
  }

  /** Runs of an instance, newest first. */
  runsOf(id) {
    return [...this.#executions.values()].filter((run) => run.instanceId === id).sort(newestFirst);
  }

  /** For one machine: state → `{here, ended}`, and how many are in none that is known. */
  places(machine) {
    const states = new Map();
    const elsewhere = new Map(); // status → how many
    for (const run of this.#executions.values()) {
      if (run.machine !== machine) continue;
      if (run.state === null || (run.terminal && !run.isToldByState)) {
        elsewhere.set(run.status, (elsewhere.get(run.status) ?? 0) + 1);
        continue;
      }
      const place = states.get(run.state) ?? { here: 0, ended: 0 };
      place[run.terminal ? "ended" : "here"] += 1;
      states.set(run.state, place);
    }
    return { states, elsewhere };
  }

  #apply(event, known) {
    if (event.execution) {
      const { arn, name } = event.execution;
      if (!this.#executions.has(arn)) this.#count(name, 1);
      this.#executions.set(arn, executionOf(event, known.get(arn)));
      this.#mention(event);
      this.#isSettled = false;
    } else if (event.instance_id) {
      const id = event.instance_id;
      this.#put(instanceOf(event, this.#instances.get(id)));
    }
  }

  /** An instance that only its runs spoke of: it is there, its status is not known. */
  #mention({ instance_id: id, time }) {
    if (!id) return;
    const known = this.#instances.get(id);
    if (known && (known.status !== "unknown" || known.changedAt >= time)) return;
    const run = known?.run ?? null;
    this.#put({ ...UNHEARD, id, changedAt: time, sortKey: sortKeyOf("", id), run });
  }

  #put(instance) {
    if (!this.#instances.has(instance.id)) this.#isSettled = false;
    if (this.#instances.get(instance.id)?.sortKey !== instance.sortKey) this.arrangement += 1;
    this.#instances.set(instance.id, instance);
  }

  /** Gives each instance the newest run under way on it; the others keep their record. */
  #settle() {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const runs = new Map();
    for (const run of this.#executions.values()) {
      if (!run.instanceId || run.terminal) continue;
      const other = runs.get(run.instanceId);
      if (!other || other.startedAt < run.startedAt) runs.set(run.instanceId, run);
    }
    for (const [id, instance] of this.#instances) {
      const run = runs.get(id) ?? null;
      if (instance.run !== run) this.#instances.set(id, { ...instance, run });
    }
  }

  #count(name, change) {
    const count = (this.#named.get(name) ?? 0) + change;
    if (count > 0) this.#named.set(name, count);
    else this.#named.delete(name);
  }

  /** Past the bounds the oldest go; an execution under way outlives every ended one. */
  #forget(slack) {
    if (this.#executions.size > EXECUTIONS_KEPT * slack) {
      const oldestLast = this.executions().sort((a, b) => a.terminal - b.terminal);
      for (const { arn, name } of oldestLast.slice(EXECUTIONS_KEPT)) {
        this.#executions.delete(arn);
        this.#count(name, -1);
      }
      this.#isSettled = false;
      this.forgotten += oldestLast.length - EXECUTIONS_KEPT;
    }
    if (this.#instances.size > INSTANCES_KEPT * slack) {
      const oldestLast = [...this.#instances.values()].sort((a, b) =>
        descending(a.changedAt, b.changedAt),
      );
      for (const { id } of oldestLast.slice(INSTANCES_KEPT)) this.#instances.delete(id);
      this.arrangement += 1;
    }
  }
}

const UNHEARD = { name: "", status: "unknown", reason: null };

function executionOf(event, known) {
  const { arn, name, machine, seq, redrive } = event.execution;
  const isSameTry = known?.redrive === redrive;
  return {
    arn,
    name,
    machine,
    redrive,
    instanceId: event.instance_id ?? known?.instanceId ?? null,
    // What EventBridge and our own questions tell of has no state: it is where it was.
    state: event.state ?? (isSameTry ? known.state : null),
    isToldByState: event.state !== null,
    status: event.status,
    terminal: event.terminal,
    reason: reasonOf(event),
    changedAt: event.time,
    startedAt: known && known.startedAt < event.time ? known.startedAt : event.time,
    // Who joins in the middle of a run knows only that it began earlier.
    startHeard: known?.startHeard || seq === 1 || event.status === "RUNNING",
    trail: trailOf(event, isSameTry ? known.trail : []),
    event,
  };
}

/** The steps of a run so far; a number that was passed over is a hole. */
function trailOf(event, known) {
  const { seq } = event.execution;
  if (known.some((step) => step.id === event.id)) return known;
  const trail = [...known];
  const lastSeq = trail.reduce((last, step) => Math.max(last, step.seq ?? 0), 0);
  const firstShown = Math.max(lastSeq + 1, (seq ?? 0) - TRAIL_STEPS);
  for (let missed = firstShown; missed < (seq ?? 0); missed++) {
    trail.push({ id: `hole ${missed}`, seq: missed, isHole: true });
  }
  trail.push(stepOf(event));
  return trail.slice(-TRAIL_STEPS);
}

function stepOf({ id, status, time, execution }) {
  return { id, seq: execution.seq, status, time, isHole: false };
}

function instanceOf(event, known) {
  const id = event.instance_id;
  const told = event.detail?.name;
  const name = typeof told === "string" ? told : (known?.name ?? "");
  return {
    id,
    name,
    sortKey: sortKeyOf(name, id),
    status: event.status,
    changedAt: event.time,
    reason: reasonOf(event),
    run: known?.run ?? null,
  };
}

/** By name with `web-10` behind `web-9`; what has no name stands behind, by id. */
function sortKeyOf(name, id) {
  const numbered = name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"));
  return `${numbered || "\uffff"} ${id}`;
}

/** `{error, cause}`, also from EC2's state reason; null where neither says anything. */
export function reasonOf({ reason }) {
  if (!reason) return null;
  const error = reason.error ?? reason.code ?? reason.Code ?? "";
  const cause = reason.cause ?? reason.message ?? reason.Message ?? "";
  return error || cause ? { error: String(error), cause: String(cause) } : null;
}

function newestFirst(a, b) {
  return descending(a.startedAt, b.startedAt) || descending(a.arn, b.arn);
}

function descending(a, b) {
  if (a === b) return 0;
  return a < b ? 1 : -1;
}
