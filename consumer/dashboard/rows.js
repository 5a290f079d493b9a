/** Rows of a list that keep their elements: made once per key, filled and moved in place. */

export class Rows {
  #parent;
  #template;
  #fill;
  #rows = new Map(); // key → {element, parts, item}

  /** `fill(parts, item, element)` writes an item; `parts` are the elements by `data-part`. */
  constructor(parent, template, fill) {
    this.#parent = parent;
    this.#template = template;
    this.#fill = fill;
  }

  render(items, keyOf) {
    const focused = document.activeElement;
    this.#dropAllBut(new Set(items.map(keyOf)));
    let place = this.#parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = this.#rows.get(key) ?? this.#make(key);
      if (row.item !== item) {
        this.#fill(row.parts, item, row.element);
        row.item = item;
      }
      if (row.element === place) place = place.nextElementSibling;
      else this.#parent.insertBefore(row.element, place);
    }
    // A moved element loses the focus; whoever works by keyboard keeps it.
    if (focused !== document.activeElement && focused?.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  #dropAllBut(keys) {
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
  }

  #make(key) {
    const row = copyOf(this.#template);
    row.element.dataset.key = key;
    this.#rows.set(key, row);
    return row;
  }
}

/** A copy of a template's one element, with its parts by name. */
export function copyOf(template) {
  const element = template.content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const part of element.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { element, parts };
}

/** Writes only what differs, so that an unchanged row costs no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
