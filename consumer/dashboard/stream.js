/** The page's stream: all that the token in use shows; locked where one is asked for. No DOM. */

import { StatusStream } from "./statuswire.js";
import { Credential } from "./token.js";

/**
 * Tells its owner, by these methods:
 * - `connection({name, why, retryAtMs})`: `name` is connecting, live, reconnecting, stale, locked
 *   (until `present` is called) or stopped; `retryAtMs` (by `Date.now()`) while it waits for the
 *   next attempt;
 * - `granted({watch, endsAtMs})`: the server accepted the token, or asks for none (null);
 *   `tokenRefused(why)`: a newer one was refused, the one before is used again;
 * - `snapshot(events)`: replaces everything known; always whole;
 * - `status(event, late)`: a late one changes nothing;
 * - `gap()`: some events were missed for good, a snapshot follows; `skipped(count)`: likewise,
 *   but the newest of every key is here;
 * - `heard()`: a heartbeat came, and the server has its log; `lag(ms)`: its word on that;
 *   `refused(code, message)`: an `error` frame.
 */
export class Stream {
  #owner;
  #credential = new Credential();
  #watched = null; // by the connection that stands
  #state = { name: "connecting" };
  #stream;

  constructor(url, owner) {
    this.#owner = owner;
    this.#stream = new StatusStream(url, {
      watch: () => this.#credential.watch,
      token: (refusal) => this.#token(refusal),
      on: (item) => this.#hear(item),
    });
  }

  /** Connects now, whatever was planned; does nothing while a connection stands or is made. */
  open() {
    this.#stream.open();
  }

  /** Uses another token: in the open connection, or in a new one where it shows something else. */
  present(token) {
    this.#credential.take(token);
    if (this.#stream.isOpen && this.#watched === this.#wanted()) this.#stream.renew();
    else this.#stream.reopen();
  }

  /** What another connection of this page shows to be let in; null where nothing is asked for. */
  get token() {
    return this.#credential.token;
  }

  #wanted() {
    return this.#credential.watch.join(" ");
  }

  #token(refusal) {
    if (refusal === null) return this.#credential.token;
    const { why, wasOpen } = refusal;
    const { isHeld } = this.#credential;
    if (this.#credential.refuse()) {
      this.#owner.tokenRefused(why);
      return this.#credential.token;
    }
    const told = wasOpen ? `${why}; what you see may be old` : why;
    this.#become("locked", isHeld ? told : "this server asks for a token");
    return new Promise(() => {}); // `present` connects anew
  }

  #hear(item) {
    switch (item.type) {
      case "connecting":
        this.#watched = this.#wanted();
        this.#become(this.#state.name === "connecting" ? "connecting" : "reconnecting");
        break;
      case "welcome":
        this.#granted();
        break;
      case "renewed":
        this.#granted(item.endsAtMs);
        break;
      case "live":
        this.#become("live");
        break;
      case "stale":
        this.#become("stale", item.why);
        break;
      case "lost":
        this.#become("reconnecting", item.why, item.retryAtMs);
        break;
      case "stopped":
        this.#stopped(item.error);
        break;
      case "snapshot":
        this.#owner.snapshot(item.events);
        break;
      case "status":
        this.#owner.status(item.event, item.late);
        break;
      case "gap":
        this.#owner.gap();
        break;
      case "skipped":
        this.#owner.skipped(item.count);
        break;
      case "heartbeat":
        if (item.awayMs === 0) this.#owner.heard();
        if (item.lagMs !== null) this.#owner.lag(item.lagMs);
        break;
      case "error":
        this.#owner.refused(item.code, item.message);
        break;
    }
  }

  #granted(endsAtMs = this.#credential.endsAtMs) {
    this.#credential.accept();
    const { isHeld, watch } = this.#credential;
    this.#owner.granted(isHeld ? { watch, endsAtMs } : null);
  }

  #stopped({ code, message }) {
    if (typeof code === "string") this.#owner.refused(code, message);
    this.#become("stopped", code === 4403 ? this.#forbidden() : message);
  }

  #forbidden() {
    const { isHeld, watch } = this.#credential;
    const what = watch.includes("*") ? "everything" : watch.join(", ");
    const by = isHeld ? "by this token" : "here";
    return `watching ${what} is not allowed ${by}`;
  }

  #become(name, why = "", retryAtMs = null) {
    this.#state = { name, why, retryAtMs };
    this.#owner.connection(this.#state);
  }
}
