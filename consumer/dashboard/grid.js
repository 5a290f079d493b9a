/**
 * Instances as a grid: one cell each, in a fixed order, so that a fleet is seen at a glance. Cells
 * stand in bands of some rows, so that a change paints one band again and not two thousand cells.
 */

import { signOf, wordOf } from "./notation.js";
import { write } from "./rows.js";

const TILES_UPTO = 60; // more, and a cell is a mark without words
const WIDE = { tiles: 13, marks: 1.2 }; // rem, at least, with the gap
const ROWS_PER_BAND = 8;
const MADE_PER_FRAME = 120; // a cell is ~40 µs, ~200 with its place in the page: half a long task at the most

export class Grid {
  #list;
  #onChoose;
  #onPoint;
  #cells = new Map(); // id → {element, instance, isChosen}
  #bands = [];
  #ids = []; // in the order of the cells
  #columns = 1;
  #kind = "tiles";
  #current = null; // id of the cell that Tab reaches
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
    new ResizeObserver(() => this.#measure()).observe(list);
  }

  render(instances, chosenId) {
    cancelAnimationFrame(this.#rest);
    const kind = instances.length <= TILES_UPTO ? "tiles" : "marks";
    if (kind !== this.#kind || this.#cells.size === 0) {
      this.clear();
      this.#kind = kind;
      this.#list.dataset.cells = kind;
      this.#measure();
    }
    const isSame =
      instances.length === this.#ids.length &&
      instances.every(({ id }, at) => id === this.#ids[at]);
    if (!isSame && !this.#renew(instances)) {
      this.#rest = requestAnimationFrame(() => this.render(instances, chosenId));
    }
    for (const instance of instances) this.#fill(instance, chosenId);
    if (!this.#cells.has(this.#current)) this.#setCurrent(this.#ids[0] ?? null);
  }

  clear() {
    cancelAnimationFrame(this.#rest);
    this.#cells.clear();
    this.#bands = [];
    this.#ids = [];
    this.#list.replaceChildren();
  }

  /** Other cells, or another order; false where a frame has no time to make all of them. */
  #renew(instances) {
    const wanted = new Set(instances.map(({ id }) => id));
    for (const id of this.#cells.keys()) if (!wanted.has(id)) this.#cells.delete(id);
    const lacking = instances.filter(({ id }) => !this.#cells.has(id));
    for (const { id } of lacking.slice(0, MADE_PER_FRAME)) this.#make(id);
    this.#ids = instances.map(({ id }) => id).filter((id) => this.#cells.has(id));
    this.#arrange();
    return lacking.length <= MADE_PER_FRAME;
  }

  #measure() {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#list);
    const px = this.#list.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const columns = Math.max(1, Math.floor(px / (WIDE[this.#kind] * rem)));
    if (columns === this.#columns) return;
    this.#columns = columns;
    this.#list.style.setProperty("--columns", columns);
    this.#arrange();
  }

  #arrange() {
    const size = this.#columns * ROWS_PER_BAND;
    const count = Math.ceil(this.#ids.length / size);
    const focused = document.activeElement;
    while (this.#bands.length > count) this.#bands.pop().remove();
    for (let at = 0; at < count; at++) {
      const cells = this.#ids
        .slice(at * size, (at + 1) * size)
        .map((id) => this.#cells.get(id).element);
      const band = (this.#bands[at] ??= this.#makeBand());
      const { children } = band;
      const isSame =
        children.length === cells.length && cells.every((cell, index) => cell === children[index]);
      if (!isSame) band.replaceChildren(...cells);
    }
    if (focused !== document.activeElement && focused.isConnected)
      focused.focus({ preventScroll: true });
  }

  #makeBand() {
    const band = document.createElement("div");
    band.setAttribute("role", "presentation");
    band.className = "band";
    this.#list.append(band);
    return band;
  }

  #make(id) {
    const element = document.createElement("div");
    element.setAttribute("role", "option");
    element.className = "cell";
    element.dataset.instance = id;
    element.tabIndex = -1;
    if (this.#kind === "tiles")
      element.append(...["b", "span", "i"].map((part) => document.createElement(part)));
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
    const marks = { status, shape, tone, busy: String(run !== null) };
    for (const [mark, value] of Object.entries(marks)) {
      if (element.dataset[mark] !== value) element.dataset[mark] = value;
    }
    element.setAttribute("aria-selected", String(isChosen));
    const doing = run ? `, ${run.name} is ${wordOf(run.status)}` : "";
    if (this.#kind === "marks") {
      element.setAttribute(
        "aria-label",
        `${name ? `${name}, ` : ""}${id}, ${wordOf(status)}${doing}`,
      );
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
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: last,
      ArrowUp: at - this.#columns,
      ArrowDown: at + this.#columns,
    };
    if (event.key === "Enter" || event.key === " ") this.#onChoose(this.#ids[at]);
    else if (!(event.key in moves)) return;
    event.preventDefault();
    const to = moves[event.key];
    if (to >= 0 && to <= last) this.#cells.get(this.#ids[to]).element.focus();
  }
}

function idOf(target) {
  return target.closest?.("[data-instance]")?.dataset.instance ?? null;
}
