/** The workflow's panel: which machine's graph is shown, and what it says of it in words. */

import { Machine } from "./machine.js";
import { counted, wordOf } from "./notation.js";
import { write } from "./rows.js";
import { Workflow } from "./workflow.js";

const $ = (id) => document.getElementById(id);

export class Workflows {
  #address;
  #graph;
  #machines = null; // name → Machine
  #shown = "";

  /** `address` says what is shown; `onReady()` is called when there is a graph to draw. */
  constructor(address, onReady) {
    this.#address = address;
    this.#graph = new Workflow((state) => this.#pick(state));
    for (const name of ["machine", "graph"]) {
      for (const button of document.querySelectorAll(`button[data-${name}]`)) {
        button.addEventListener("click", () => address.set({ [name]: button.dataset[name] }));
      }
    }
    this.#load(onReady);
  }

  /** `followed` decides whose graph it is, where it is known. */
  render(board, followed, nowMs) {
    const path = followed.reference ? followed.timeline.path() : null;
    const newest = followed.reference ? followed.timeline.newest : null;
    const name = newest?.execution.machine ?? this.#address.get("machine");
    const places = board.places(name);
    this.#showControls(name, newest !== null);
    write($("workflow-note"), newest ? "" : noteOf(places));
    $("workflow-note").hidden = !$("workflow-note").textContent;
    if (!this.#machines?.has(name)) return;
    const level = this.#address.get("graph");
    if (this.#shown !== `${name} ${level}`) {
      this.#shown = `${name} ${level}`;
      this.#graph.show(name, this.#machines.get(name), level);
    }
    this.#graph.light({ places, path, picked: this.#address.get("at"), nowMs });
  }

  async #load(onReady) {
    try {
      const response = await fetch("/dashboard/machines.json");
      if (!response.ok) throw new Error(`answered ${response.status}`);
      const machines = await response.json();
      this.#machines = new Map(
        Object.entries(machines).map(([name, graph]) => [name, new Machine(graph)]),
      );
      onReady();
    } catch (error) {
      write($("graph-broken"), `The graph cannot be had: ${error.message}.`);
      $("graph-broken").hidden = false;
    }
  }

  #pick(state) {
    this.#address.set({ at: this.#address.get("at") === state ? "" : state }, { step: true });
  }

  #showControls(machine, isFollowing) {
    const shown = { machine, graph: this.#address.get("graph") };
    for (const [name, value] of Object.entries(shown)) {
      for (const button of document.querySelectorAll(`button[data-${name}]`)) {
        button.setAttribute("aria-pressed", String(button.dataset[name] === value));
        if (name === "machine") button.disabled = isFollowing;
      }
    }
  }
}

/** What the graph has no place for: statuses that name no state. */
function noteOf({ states, elsewhere }) {
  const here = [...states.values()].reduce((sum, place) => sum + place.here, 0);
  const others = [...elsewhere].map(
    ([status, count]) => `${count.toLocaleString()} ${wordOf(status)}`,
  );
  const under = here ? `${counted(here, "execution")} under way.` : "No execution is under way.";
  return others.length ? `${under} In no state that was told: ${others.join(", ")}.` : under;
}
