/** The live stream: the newest events and notices, newest on top, bounded; it can be held. */

import { fillEvent, fillNotice } from "./panels.js";
import { copyOf } from "./rows.js";

export const ENTRIES_SHOWN = 100;

export class Ticker {
  #list;
  #templates;
  #waiting = []; // entries that no frame has drawn yet, oldest first
  #passed = 0; // how many came while it was held, drawn later or not
  held = false;

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
    if (this.held) this.#passed += 1;
  }

  render() {
    if (this.held || this.#waiting.length === 0) return;
    this.#passed = 0;
    const items = this.#waiting.map((entry) => this.#draw(entry));
    this.#waiting = [];
    this.#list.prepend(...items.reverse());
    while (this.#list.childElementCount > ENTRIES_SHOWN) this.#list.lastElementChild.remove();
  }

  #draw(entry) {
    const { element, parts } = copyOf(this.#templates[entry.event ? "event" : "notice"]);
    (entry.event ? fillEvent : fillNotice)(parts, entry, element);
    return element;
  }
}
