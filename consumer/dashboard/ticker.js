/** The live stream: the newest events and notices, newest on top, bounded; it can be paused. */

import { fillEvent, fillNotice } from "./panels.js";
import { copyOf } from "./rows.js";

export const ENTRIES_SHOWN = 100;

export class Ticker {
  #list;
  #templates;
  #waiting = []; // entries that no frame has drawn yet, oldest first
  #spare = []; // elements of events that went, to be used again
  #passed = 0; // how many came while it was paused, drawn later or not
  paused = false;

  /** `templates`: one for an event, one for a notice. */
  constructor(list, templates) {
    this.#list = list;
    this.#templates = templates;
  }

  get passed() {
    return this.#passed;
  }

  add(entry) {
    this.#waiting.push(entry);
    if (this.#waiting.length > ENTRIES_SHOWN) this.#waiting.shift();
    if (this.paused) this.#passed += 1;
  }

  /** Draws what waits; the oldest make room first, so that their elements serve again. */
  render() {
    if (this.paused || this.#waiting.length === 0) return;
    this.#passed = 0;
    const most = ENTRIES_SHOWN - this.#waiting.length;
    while (this.#list.childElementCount > most) this.#drop(this.#list.lastElementChild);
    this.#list.prepend(...this.#waiting.reverse().map((entry) => this.#draw(entry)));
    this.#waiting = [];
    this.#spare = [];
  }

  #drop(element) {
    element.remove();
    if (element.dataset.kind === "event" || element.dataset.kind === "late") this.#spare.push(element);
  }

  #draw(entry) {
    if (!entry.event) {
      const { element, parts } = copyOf(this.#templates.notice);
      fillNotice(parts, entry, element);
      return element;
    }
    const element = this.#spare.pop() ?? copyOf(this.#templates.event).element;
    const parts = {};
    for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
    fillEvent(parts, entry, element);
    return element;
  }
}
