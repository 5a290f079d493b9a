/** A long list of which only the rows in sight are in the page; all rows are equally high. */

import { Rows } from "./rows.js";

const OVERSCAN = 8; // rows beyond what is in sight, so that Tab always finds the next one
const HIGHEST_PX = 4_000; // a scroller that is not bounded shows this much

export class Windowed {
  #scroller;
  #body;
  #rows;
  #items = [];
  #keyOf = String; // until it is told
  #rowPx = 40;
  #topPx = 0;
  #viewPx = 600;

  /** `body` is in `scroller`; its rows are made of `template` and filled by `fill`: see Rows. */
  constructor(scroller, body, template, fill) {
    this.#scroller = scroller;
    this.#body = body;
    this.#rows = new Rows(body, template, fill);
    scroller.addEventListener(
      "scroll",
      () => {
        this.#topPx = scroller.scrollTop;
        this.#draw();
      },
      { passive: true },
    );
    new ResizeObserver(() => this.#measure()).observe(scroller);
  }

  render(items, keyOf) {
    this.#items = items;
    this.#keyOf = keyOf;
    this.#draw();
  }

  #measure() {
    const style = getComputedStyle(this.#scroller);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#rowPx = parseFloat(style.getPropertyValue("--row")) * rem || this.#rowPx;
    const mostPx = parseFloat(style.maxHeight) || HIGHEST_PX;
    this.#viewPx = Math.max(mostPx, this.#scroller.clientHeight);
    this.#topPx = this.#scroller.scrollTop;
    this.#draw();
  }

  #draw() {
    const total = this.#items.length;
    const fits = Math.ceil(this.#viewPx / this.#rowPx);
    const top = Math.min(Math.floor(this.#topPx / this.#rowPx), Math.max(0, total - fits));
    const first = Math.max(0, top - OVERSCAN);
    const last = Math.min(total, top + fits + OVERSCAN);
    const shown = this.#items.slice(first, last);
    this.#keepFocus(shown);
    pad(this.#body, "paddingTop", first * this.#rowPx);
    pad(this.#body, "paddingBottom", (total - last) * this.#rowPx);
    this.#rows.render(shown, this.#keyOf);
    this.#number(first, total);
  }

  /** The list itself takes the focus of a row that leaves, or it would fall back to the page. */
  #keepFocus(shown) {
    const row = document.activeElement?.closest("[data-key]");
    if (!row || row.parentElement !== this.#body) return;
    if (!shown.some((item) => this.#keyOf(item) === row.dataset.key)) {
      this.#scroller.focus({ preventScroll: true });
    }
  }

  /** Who listens is told which row of how many it is: the others are not in the page. */
  #number(first, total) {
    const table = this.#body.closest("table");
    table?.setAttribute("aria-rowcount", String(total + 1));
    let number = first + 2; // 1 is the heads' row
    for (const row of this.#body.children) {
      const index = String(number++);
      if (row.getAttribute("aria-rowindex") !== index) row.setAttribute("aria-rowindex", index);
    }
  }
}

function pad(body, side, px) {
  const value = px ? `${px}px` : "";
  if (body.style[side] !== value) body.style[side] = value;
}
