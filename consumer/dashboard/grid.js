/** Instances as a grid: one cell each, in a fixed order, so that a fleet is seen at a glance. */

import { signOf, wordOf } from "./notation.js";
import { write } from "./rows.js";

const TILES_UPTO = 60; // more, and a cell is a mark without words
const MADE_PER_FRAME = 500; // a cell is ~20 µs; 10 ms leaves the frame its time

export class Grid {
  #list;
  #onChoose;
  #onPoint;
  #cells = new Map(); // id → {element, instance}
  #ids = []; // in the order of the cells
  #current = null; // id of the cell that Tab reaches
  #isTiles = null;
  #rest = 0; // the frame that goes on making cells

  /** `onChoose(id)`: one is chosen; `onPoint(id or null)`: one is under the pointer or focus. */
  constructor(list, onChoose, onPoint) {
    this.#list = list;
    this.#onChoose = onChoose;
    this.#onPoint = onPoint;
    list.addEventListener("click", ({ target }) => {
      const id = idOf(target);
      if (id) this.#onChoose(id);
    });
    list.addEventListener("pointerover", ({ target }) => this.#onPoint(idOf(target)));
    list.addEventListener("pointerleave", () => this.#onPoint(null));
    list.addEventListener("focusin", ({ target }) => {
      this.#setCurrent(idOf(target));
      this.#onPoint(idOf(target));
    });
    list.addEventListener("keydown", (event) => this.#press(event));
  }

  render(instances, chosenId) {
    cancelAnimationFrame(this.#rest);
    const isTiles = instances.length <= TILES_UPTO;
    if (isTiles !== this.#isTiles) {
      this.#isTiles = isTiles;
      this.#list.dataset.cells = isTiles ? "tiles" : "marks";
      this.clear();
    }
    const kept = instances.length === this.#ids.length && instances.every(({ id }, at) => id === this.#ids[at]);
    if (!kept && !this.#arrange(instances)) {
      this.#rest = requestAnimationFrame(() => this.render(instances, chosenId));
    }
    for (const instance of instances) this.#fill(instance, chosenId);
    if (!this.#cells.has(this.#current)) this.#setCurrent(this.#ids[0] ?? null);
  }

  clear() {
    cancelAnimationFrame(this.#rest);
    this.#cells.clear();
    this.#ids = [];
    this.#list.replaceChildren();
  }

  /** Puts the cells in order; false where there are more to make than one frame has time for. */
  #arrange(instances) {
    const wanted = new Set(instances.map(({ id }) => id));
    for (const [id, { element }] of this.#cells) {
      if (wanted.has(id)) continue;
      element.remove();
      this.#cells.delete(id);
    }
    let made = 0;
    let place = this.#list.firstElementChild;
    this.#ids = [];
    for (const { id } of instances) {
      if (!this.#cells.has(id)) {
        if (made === MADE_PER_FRAME) return false;
        made += 1;
        this.#make(id);
      }
      const { element } = this.#cells.get(id);
      if (element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(element, place);
      this.#ids.push(id);
    }
    return true;
  }

  #make(id) {
    const element = document.createElement("div");
    element.setAttribute("role", "option");
    element.dataset.instance = id;
    element.tabIndex = -1;
    if (this.#isTiles) element.append(...["b", "span", "i"].map((part) => document.createElement(part)));
    this.#cells.set(id, { element, instance: null, isChosen: null });
  }

  #fill(instance, chosenId) {
    const cell = this.#cells.get(instance.id);
    if (!cell) return;
    const isChosen = instance.id === chosenId;
    if (cell.instance === instance && cell.isChosen === isChosen) return;
    const { element } = cell;
    const { id, name, status, run } = instance;
    cell.instance = instance;
    cell.isChosen = isChosen;
    const { shape, tone } = signOf(status);
    element.dataset.status = status;
    element.dataset.shape = shape;
    element.dataset.tone = tone;
    element.dataset.busy = String(run !== null);
    element.setAttribute("aria-selected", String(isChosen));
    const doing = run ? `, ${run.name} is ${wordOf(run.status)}` : "";
    if (!this.#isTiles) {
      element.setAttribute("aria-label", `${name ? `${name}, ` : ""}${id}, ${wordOf(status)}${doing}`);
      return;
    }
    const [title, state, more] = element.children;
    write(title, name || id);
    write(state, run ? `${wordOf(status)} · ${wordOf(run.status)}` : wordOf(status));
    write(more, `${name ? id : ""}${doing}`);
  }

  #setCurrent(id) {
    const before = this.#cells.get(this.#current);
    if (before) before.element.tabIndex = -1;
    this.#current = id;
    const now = this.#cells.get(id);
    if (now) now.element.tabIndex = 0;
  }

  #press(event) {
    const at = this.#ids.indexOf(idOf(event.target));
    if (at < 0) return;
    const last = this.#ids.length - 1;
    const moves = {
      ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last,
      ArrowUp: at - this.#columns(), ArrowDown: at + this.#columns(),
    };
    if (event.key === "Enter" || event.key === " ") this.#onChoose(this.#ids[at]);
    else if (!(event.key in moves)) return;
    event.preventDefault();
    const to = moves[event.key];
    if (to >= 0 && to <= last) this.#cells.get(this.#ids[to]).element.focus();
  }

  #columns() {
    const { children } = this.#list;
    const top = children[0].offsetTop;
    let columns = 1;
    while (columns < children.length && children[columns].offsetTop === top) columns += 1;
    return columns;
  }
}

function idOf(target) {
  return target.closest?.("[data-instance]")?.dataset.instance ?? null;
}
