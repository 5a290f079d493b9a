/** The page's head: whether what is shown is true now, how old it is, and what was missed. */

import { counted, lasting, span } from "./notation.js";
import { write } from "./rows.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  stale: "Stale",
  locked: "Token needed",
  stopped: "Stopped",
};

const $ = (id) => document.getElementById(id);

export class Connection {
  #state = { name: "connecting", why: "", retryAtMs: null };
  #gaps = 0;
  #skipped = 0;
  #heardAtMs = null; // when the server last said, while it was live, how things are; by Date.now()

  get name() {
    return this.#state.name;
  }

  get waits() {
    return this.#state.name === "reconnecting" && this.#state.retryAtMs !== null;
  }

  /** The stream's state; see there. The countdown stands beside the live region, or it would be
   *  read out every second. */
  become(state) {
    this.#state = state;
    this.heard();
    const { name, why } = state;
    document.body.dataset.connection = name;
    document.title = name === "live" ? "Statuswire" : `${WORDS[name]} – Statuswire`;
    write($("connection"), WORDS[name]);
    write($("notice"), why ? `${why[0].toUpperCase()}${why.slice(1)}.` : "");
    $("notice").hidden = !why;
    $("reconnect").hidden = name !== "stopped" && !this.waits;
    this.tick();
  }

  /** To be called every second or so. */
  tick() {
    const { retryAtMs } = this.#state;
    const waitMs = retryAtMs ? retryAtMs - Date.now() : 0;
    write($("countdown"), waitMs > 0 ? `in ${Math.ceil(waitMs / 1000)} s` : "");
    const isOld = this.#state.name !== "live" && this.#heardAtMs !== null;
    write($("as-of"), isOld ? `as of ${span(Date.now() - this.#heardAtMs)} ago` : "");
  }

  /** A sign of life, after which all that is shown is true. */
  heard() {
    if (this.#state.name === "live") this.#heardAtMs = Date.now();
  }

  lag(ms) {
    write($("lag"), span(ms));
  }

  gap() {
    this.#gaps += 1;
    this.#showMissed();
  }

  skipped(count) {
    this.#skipped += count;
    this.#showMissed();
  }

  /** How far this machine's clock is ahead of the server's, in ms. */
  skew(ms) {
    $("skew-figure").hidden = ms === 0;
    const way = ms > 0 ? "ahead" : "behind";
    write($("skew"), `${lasting(Math.abs(ms))} ${way}`);
  }

  #showMissed() {
    const parts = [
      this.#gaps && counted(this.#gaps, "gap"),
      this.#skipped && `${this.#skipped.toLocaleString()} skipped`,
    ];
    write($("missed"), parts.filter(Boolean).join(", "));
    $("missed-figure").hidden = false;
  }
}
