/** What the page shows, kept in its address: to be shared, reloaded, gone back to. */

/** Parameter → its value when the address does not say; the default itself is never written. */
const DEFAULTS = {
  q: "", // instances whose id or name holds this
  state: "", // instances in these states, with commas between
  view: "table", // or grid
  sort: "name", // or state, changed
  machine: "standard", // or express: whose graph
  graph: "steps", // or all
  at: "", // executions that were last heard from in this state
  run: "", // the execution that is followed, by its name or ARN
  instance: "", // the instance that is looked at
};
const CHOICES = {
  view: ["table", "grid"],
  sort: ["name", "state", "changed"],
  machine: ["standard", "express"],
  graph: ["steps", "all"],
};
const MAX_CHARS = 512; // as long as an ARN may be

export class Address {
  #onChange;
  #shown;

  /** `onChange(names)` is told of what changed, by a person or by going back. */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#shown = this.#read();
    window.addEventListener("popstate", () => this.#become(this.#read()));
  }

  get(name) {
    return this.#shown[name];
  }

  /** Changes what is shown. A `step` can be gone back from; typing, say, is none. */
  set(changes, { step = false } = {}) {
    const shown = { ...this.#shown, ...changes };
    const url = this.urlFor(changes);
    if (url === location.pathname + location.search) return;
    if (step) history.pushState(null, "", url + location.hash);
    else history.replaceState(null, "", url + location.hash);
    this.#become(shown);
  }

  /** The address that shows this instead; for links. */
  urlFor(changes) {
    const shown = { ...this.#shown, ...changes };
    const search = new URLSearchParams(location.search);
    for (const [name, fallback] of Object.entries(DEFAULTS)) {
      if (shown[name] === fallback) search.delete(name);
      else search.set(name, shown[name]);
    }
    const query = search.toString();
    return location.pathname + (query && `?${query}`);
  }

  #read() {
    const search = new URLSearchParams(location.search);
    const shown = {};
    for (const [name, fallback] of Object.entries(DEFAULTS)) {
      const value = search.get(name)?.slice(0, MAX_CHARS) ?? fallback;
      shown[name] = CHOICES[name]?.includes(value) === false ? fallback : value;
    }
    return shown;
  }

  #become(shown) {
    const names = Object.keys(shown).filter((name) => shown[name] !== this.#shown[name]);
    this.#shown = shown;
    if (names.length > 0) this.#onChange(names);
  }
}
