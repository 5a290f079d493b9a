/** The instances: which of them, in which order, and as a table or a grid. */

import { Grid } from "./grid.js";
import { ago, counted, signOf, wordOf } from "./notation.js";
import { fillInstance } from "./panels.js";
import { write } from "./rows.js";
import { Windowed } from "./windowed.js";

/** In the order in which their chips stand. */
const STATES = [
  "running",
  "stopped",
  "pending",
  "stopping",
  "shutting-down",
  "terminated",
  "unknown",
];

const $ = (id) => document.getElementById(id);
const idOf = ({ id }) => id;

export class Fleet {
  #address;
  #clock;
  #table;
  #grid;
  #chips = new Map(); // state → button
  #instances = new Map();
  #held = []; // ids as they stand under the pointer
  #sorted = []; // ids by name
  #arrangement = -1; // the board's, when that order was made

  /** `address` says what is shown; `clock` the server's time. */
  constructor(address, clock) {
    this.#address = address;
    this.#clock = clock;
    const body = $("instances").tBodies[0];
    this.#table = new Windowed($("instances-scroller"), body, $("instance-row"), fillInstance);
    const choose = (id) => address.set({ instance: id, run: "" }, { step: true });
    this.#grid = new Grid($("instances-grid"), choose, (id) => this.#point(id));
    for (const state of STATES) this.#makeChip(state);
    $("instances-filter").addEventListener("input", ({ target }) =>
      address.set({ q: target.value }),
    );
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => address.set({ sort: button.dataset.sort }));
    }
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => address.set({ view: button.dataset.view }));
    }
    $("instances-all").addEventListener("click", () => address.set({ q: "", state: "" }));
  }

  /** What the board knows; `busy`: ids with an order under way. */
  render(board, busy) {
    const instances = board.instances();
    this.#instances = instances;
    this.#sort(board);
    const states = new Set(this.#address.get("state").split(",").filter(Boolean));
    const counts = new Map();
    const shown = this.#inOrder(instances).filter((instance) => {
      if (!this.#isNamed(instance)) return false;
      counts.set(instance.status, (counts.get(instance.status) ?? 0) + 1);
      return states.size === 0 || states.has(instance.status);
    });
    this.#showControls(states, counts, shown.length);
    this.#showList(shown, busy);
  }

  #showList(shown, busy) {
    const isGrid = this.#address.get("view") === "grid";
    const isEmpty = shown.length === 0;
    $("instances-scroller").hidden = isGrid || isEmpty;
    $("instances-board").hidden = !isGrid || isEmpty;
    if (isGrid) {
      this.#table.render([], idOf);
      this.#grid.render(shown, this.#address.get("instance"));
      return;
    }
    this.#grid.clear();
    this.#table.render(
      shown.map((instance) => (busy.has(instance.id) ? { ...instance, busy: true } : instance)),
      idOf,
    );
    this.#held = shown.map(idOf);
  }

  #isNamed({ id, name }) {
    const wanted = this.#address.get("q").trim().toLowerCase();
    return !wanted || id.includes(wanted) || name.toLowerCase().includes(wanted);
  }

  #inOrder(instances) {
    const sort = this.#address.get("sort");
    const byName = this.#sorted.map((id) => instances.get(id));
    if (sort === "name") return byName;
    if (sort === "state") return byName.sort((a, b) => rankOf(a) - rankOf(b));
    byName.sort((a, b) => (a.changedAt === b.changedAt ? 0 : a.changedAt < b.changedAt ? 1 : -1));
    return this.#asHeld(byName);
  }

  /** By name; anew only when one comes, goes or is renamed. */
  #sort(board) {
    if (this.#arrangement === board.arrangement) return;
    this.#arrangement = board.arrangement;
    const records = [...board.instances().values()];
    records.sort((a, b) => (a.sortKey < b.sortKey ? -1 : 1));
    this.#sorted = records.map(idOf);
  }

  /** Under a pointer the rows stay where they are: no button moves away from its click. */
  #asHeld(instances) {
    const [rows] = $("instances").tBodies;
    if (!matchMedia("(hover: hover)").matches || !rows.matches(":hover")) return instances;
    const place = new Map(this.#held.map((id, index) => [id, index]));
    const placeOf = ({ id }) => place.get(id) ?? place.size;
    return instances.sort((a, b) => placeOf(a) - placeOf(b));
  }

  #showControls(states, counts, shown) {
    const { size } = this.#instances;
    for (const [state, { button, count }] of this.#chips) {
      const number = counts.get(state) ?? 0;
      const isOn = states.has(state);
      button.hidden = number === 0 && !isOn;
      button.setAttribute("aria-pressed", String(isOn));
      write(count, number.toLocaleString());
    }
    write(
      $("instances-tally"),
      shown === size
        ? counted(size, "instance")
        : `${shown.toLocaleString()} of ${counted(size, "instance")}`,
    );
    $("instances-tally").hidden = size === 0;
    $("instances-empty").hidden = size > 0;
    $("instances-none").hidden = size === 0 || shown > 0;
    $("instances-tools").hidden = size === 0;
    const filter = $("instances-filter");
    if (filter.value !== this.#address.get("q")) filter.value = this.#address.get("q");
    for (const button of document.querySelectorAll("[data-view]")) {
      button.setAttribute(
        "aria-pressed",
        String(button.dataset.view === this.#address.get("view")),
      );
    }
    const sort = this.#address.get("sort");
    for (const button of document.querySelectorAll("[data-sort]")) {
      const order = button.dataset.sort === "changed" ? "descending" : "ascending";
      const value = button.dataset.sort === sort ? order : "none";
      button.closest("th").setAttribute("aria-sort", value);
    }
  }

  #makeChip(state) {
    const button = $("state-chip").content.firstElementChild.cloneNode(true);
    const { shape, tone } = signOf(state);
    button.dataset.tone = tone;
    button.dataset.chip = state;
    button.querySelector("use").setAttribute("href", `#shape-${shape}`);
    button.querySelector("span").textContent = wordOf(state);
    button.addEventListener("click", () => this.#toggle(state));
    this.#chips.set(state, { button, count: button.querySelector("b") });
    $("instances-states").append(button);
  }

  #toggle(state) {
    const states = new Set(this.#address.get("state").split(",").filter(Boolean));
    if (!states.delete(state)) states.add(state);
    this.#address.set({ state: [...states].sort().join(",") });
  }

  /** The line under the grid: what a mark stands for. */
  #point(id) {
    const instance = this.#instances.get(id);
    write($("instances-point"), instance ? lineOf(instance, this.#clock.nowMs()) : HINT);
  }
}

const HINT = "Point at a mark to read it; choose it for more.";

function lineOf({ id, name, status, changedAt, run }, nowMs) {
  const since = status === "unknown" ? "" : `since ${ago(nowMs - Date.parse(changedAt))}`;
  const doing = run ? `${run.name} is ${wordOf(run.status)}` : "";
  return [name, id, wordOf(status), since.replace(" ago", ""), doing].filter(Boolean).join(" · ");
}

function rankOf({ status }) {
  const rank = STATES.indexOf(status);
  return rank < 0 ? STATES.length : rank;
}
