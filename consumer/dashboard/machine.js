/**
 * A state machine as a graph, as machines.json has it: all of its states, or only the steps that
 * tell the queue; and where between two steps a run can be. Pure: no DOM, clock or network.
 */

export const START = "(start)"; // the node before the first step, where only steps are drawn

export class Machine {
  #states; // name → {name, type, tells, next: [{to, by}]}, in the definition's order

  constructor({ startAt, states }) {
    this.startAt = startAt;
    this.#states = new Map(states.map((state) => [state.name, state]));
  }

  state(name) {
    return this.#states.get(name);
  }

  tells(name) {
    return this.#states.get(name)?.tells ?? null;
  }

  /** `{nodes, arrows}`: every state and every way between two. */
  whole() {
    const nodes = [...this.#states.values()].map(({ name, type, tells }) => ({
      name,
      type,
      tells,
    }));
    const arrows = [];
    for (const { name, next } of this.#states.values()) {
      for (const { to, by } of next)
        arrows.push({ from: name, to, fails: this.#fails(to) || by === "catch" });
    }
    return { nodes, arrows };
  }

  /** Likewise, of the steps that tell of themselves; what is silent between two is an arrow. */
  steps() {
    const told = [...this.#states.values()].filter(({ tells }) => tells);
    const nodes = [{ name: START, type: "Start", tells: null }];
    const arrows = this.#nextTold(this.startAt).map((to) => ({ from: START, to }));
    for (const { name, type, tells, next } of told) {
      nodes.push({ name, type, tells });
      const after = new Set(next.flatMap(({ to }) => this.#nextTold(to)));
      for (const to of after) arrows.push({ from: name, to });
    }
    return { nodes, arrows: arrows.map((arrow) => ({ ...arrow, fails: this.#fails(arrow.to) })) };
  }

  /** Silent states in which a run may be that has told `from` and nothing since; in order. */
  silentAfter(from) {
    return this.#silentFrom((this.state(from)?.next ?? []).map(({ to }) => to));
  }

  /** The states on a shortest way between two, both included: through silent ones where it can. */
  way(from, to) {
    const begin = from === START ? null : from;
    return (
      this.#search(begin, to, (name) => !this.tells(name)) ?? this.#search(begin, to, () => true)
    );
  }

  /** Silent states after `from` from which `to` can be reached without telling anything else. */
  suspects(from, to) {
    return this.silentAfter(from).filter((name) => {
      const way = this.#search(name, to, (each) => !this.tells(each));
      return way !== null && this.state(name).type === "Task";
    });
  }

  #fails(name) {
    const { tells, type } = this.state(name);
    return tells === "FAILED" || type === "Fail";
  }

  #nextTold(name) {
    if (this.tells(name)) return [name];
    const ends = this.#silentFrom([name]).flatMap((silent) => this.state(silent).next);
    return [...new Set(ends.map(({ to }) => to).filter((to) => this.tells(to)))];
  }

  #silentFrom(names) {
    const found = new Set();
    const waiting = [...names];
    while (waiting.length > 0) {
      const name = waiting.shift();
      if (found.has(name) || this.tells(name)) continue;
      found.add(name);
      waiting.push(...this.state(name).next.map(({ to }) => to));
    }
    return [...found];
  }

  #search(from, to, mayPass) {
    const first =
      from === null ? [this.startAt] : (this.state(from)?.next ?? []).map((next) => next.to);
    const before = new Map(first.map((name) => [name, from]));
    const waiting = [...first];
    while (waiting.length > 0) {
      const name = waiting.shift();
      if (name === to) return this.#trace(before, from, to);
      if (!mayPass(name)) continue;
      for (const next of this.state(name).next) {
        if (before.has(next.to)) continue;
        before.set(next.to, name);
        waiting.push(next.to);
      }
    }
    return null;
  }

  #trace(before, from, to) {
    const way = [to];
    for (let name = before.get(to); name !== from && name !== null; name = before.get(name))
      way.unshift(name);
    return from === null ? way : [from, ...way];
  }
}
