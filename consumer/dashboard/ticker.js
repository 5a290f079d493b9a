/**
 * The live stream: the newest events and notices, newest on top. It stands still while it is
 * paused, or scrolled away from its top. Elements are kept and filled again: at 200 events/s each
 * would live for half a second.
 */

import { fillEvent, fillNotice } from "./panels.js";
import { copyOf } from "./rows.js";

const ENTRIES_KEPT = 500;
const OVERSCAN = 4; // entries beyond those in sight

export class Ticker {
  #list;
  #templates;
  #onStill;
  #entries = []; // newest first, as they are shown
  #waiting = []; // oldest first
  #slots = []; // {element, parts, entry, kind}, from the top
  #rowPx = 50;
  #viewPx = 600;
  #isAway = false; // scrolled
  isPaused = false;
  passed = 0; // how many came while it stood still

  /** `templates`: one for an event, one for a notice; `onStill()`: it stands still, or goes on. */
  constructor(list, templates, onStill) {
    this.#list = list;
    this.#templates = templates;
    this.#onStill = onStill;
    list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(list);
  }

  get isStill() {
    return this.isPaused || this.#isAway;
  }

  add(entry) {
    this.#waiting.push(entry);
    if (this.#waiting.length > ENTRIES_KEPT) this.#waiting.shift();
    if (this.isStill) this.passed += 1;
  }

  /** Stands still until this is called again; or goes on, from the top. */
  toggle() {
    if (this.isStill) {
      this.isPaused = false;
      this.#list.scrollTop = 0;
      this.#isAway = false;
    } else {
      this.isPaused = true;
    }
  }

  render() {
    if (this.isStill || this.#waiting.length === 0) return;
    this.passed = 0;
    this.#entries = [...this.#waiting.reverse(), ...this.#entries].slice(0, ENTRIES_KEPT);
    this.#waiting = [];
    this.#draw();
  }

  get isEmpty() {
    return this.#entries.length === 0;
  }

  #scrolled() {
    const wasStill = this.isStill;
    this.#isAway = this.#list.scrollTop > this.#rowPx / 2;
    this.#draw();
    if (wasStill !== this.isStill) this.#onStill();
  }

  #measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const rows = parseFloat(getComputedStyle(this.#list).getPropertyValue("--row"));
    this.#rowPx = rows * rem || this.#rowPx;
    this.#viewPx = this.#list.clientHeight || this.#viewPx;
    this.#draw();
  }

  #draw() {
    const total = this.#entries.length;
    const first = Math.max(0, Math.floor(this.#list.scrollTop / this.#rowPx) - OVERSCAN);
    const last = Math.min(total, first + Math.ceil(this.#viewPx / this.#rowPx) + 2 * OVERSCAN);
    while (this.#slots.length > last - first) this.#slots.pop().element.remove();
    for (let at = first; at < last; at++) this.#fill(at - first, at);
    this.#leave("--above", first * this.#rowPx);
    this.#leave("--below", (total - last) * this.#rowPx);
  }

  #leave(where, px) {
    const value = `${px}px`;
    if (this.#list.style.getPropertyValue(where) !== value)
      this.#list.style.setProperty(where, value);
  }

  #fill(slotAt, at) {
    const entry = this.#entries[at];
    const kind = entry.event ? "event" : "notice";
    let slot = this.#slots[slotAt];
    if (slot?.kind !== kind) {
      const made = { ...copyOf(this.#templates[kind]), kind, entry: null };
      if (slot) slot.element.replaceWith(made.element);
      else this.#list.append(made.element);
      slot = this.#slots[slotAt] = made;
    }
    if (slot.entry !== entry) {
      slot.entry = entry;
      (entry.event ? fillEvent : fillNotice)(slot.parts, entry, slot.element);
    }
    slot.element.setAttribute("aria-posinset", String(at + 1));
    slot.element.setAttribute("aria-setsize", String(this.#entries.length));
  }
}
