/**
 * The viewer's side of the WebSocket protocol, version 1: one connection at a time, one
 * subscription to all that may be watched, resumed from its cursor for as long as the page lives.
 * No DOM.
 */

import { Credential } from "./token.js";

const SUBPROTOCOL = "statuswire.v1";
const SUBSCRIPTION = "1";
const RENEWAL = "token";
const OPEN_WITHIN_MS = 10_000; // a handshake that hangs is as lost as one that fails
const STALE_AFTER_HEARTBEATS = 2.25; // two missed, and a quarter for the way
const LOST_AFTER_HEARTBEATS = 4;
const LOST_AFTER_AT_LEAST_MS = 10_000; // a short heartbeat is no reason to dial in haste
const BACKOFF_FIRST_MS = 500; // 500 ms doubled 6 times passes the longest wait
const BACKOFF_LONGEST_MS = 30_000;
const STEADY_AFTER_MS = 10_000; // a server that accepts and then refuses still meets a growing wait

/** What to do when the server closes; any other code is a lost connection. */
const CLOSES = new Map([
  [1012, { stop: false, why: "the server is restarting" }],
  [1013, { stop: false, why: "the server is full" }],
  [4400, { stop: true, why: "the server could not read this page's messages" }],
  [4408, { stop: false, why: "this page was too slow" }],
  [4429, { stop: false, why: "too many messages" }],
]);
const TOKEN_REFUSED = 4401;
const FORBIDDEN = 4403;
const LOST = { stop: false, why: "the connection was lost" };
const LOG_AWAY = "the server's log does not answer; what you see may be old";

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
 * - `lag(ms)`: the server's word on it; `refused(code, message)`: an `error` frame.
 */
export class Stream {
  #url;
  #owner;
  #socket = null;
  #credential = new Credential();
  #watched = null; // the patterns that the cursor is a place in
  #cursor = null;
  #snapshot = []; // pages of a snapshot that is not whole yet
  #mayKeep = false; // whether a frame's cursor may replace ours
  #attempt = 0;
  #drainMs = null;
  #heartbeatMs = 0; // 0 until the server's welcome
  #heardAtMs = 0;
  #liveSinceMs = null;
  #isLogAway = false; // so that whatever else the server says, nothing new is told
  #state = { name: "connecting" };
  #retryTimer;
  #watchTimer;

  constructor(url, owner) {
    this.#url = url;
    this.#owner = owner;
  }

  /** Connects now, whatever was planned; does nothing while a connection stands or is made. */
  open() {
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.#become(this.#state.name === "connecting" ? "connecting" : "reconnecting");
    if (this.#watched !== this.#wanted()) this.#cursor = null;
    this.#watched = this.#wanted();
    this.#mayKeep = this.#cursor !== null;
    this.#snapshot = [];
    this.#drainMs = null;
    this.#heartbeatMs = 0;
    this.#isLogAway = false;
    this.#heardAtMs = performance.now();
    const socket = new WebSocket(this.#url, [SUBPROTOCOL, ...this.#credential.subprotocols]);
    this.#socket = socket;
    socket.onopen = () => this.#subscribe();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    this.#watch();
  }

  /** Uses another token: in the open connection, or in a new one where it shows something else. */
  present(token) {
    this.#credential.take(token);
    if (this.#socket && this.#heartbeatMs && this.#watched === this.#wanted()) {
      this.#socket.send(JSON.stringify(this.#credential.frame(RENEWAL)));
      return;
    }
    this.#drop();
    this.open();
  }

  #wanted() {
    return this.#credential.watch.join(" ");
  }

  #subscribe() {
    const frame = { op: "subscribe", id: SUBSCRIPTION, watch: this.#credential.watch };
    if (this.#cursor !== null) frame.since = this.#cursor;
    this.#socket.send(JSON.stringify(frame));
  }

  #hear(data) {
    this.#heardAtMs = performance.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      this.#abandon("the server sent something unreadable");
      return;
    }
    if (frame.op === "heartbeat") this.#isLogAway = frame.away_ms > 0;
    if (frame.op === "status") this.#isLogAway = false;
    this.#freshen();
    this.#apply(frame);
  }

  /** Live or stale, now that something was heard; neither before the first snapshot. */
  #freshen() {
    const { name, why } = this.#state;
    if (this.#isLogAway && (name === "live" || (name === "stale" && why !== LOG_AWAY))) {
      this.#become("stale", LOG_AWAY);
    } else if (!this.#isLogAway && name === "stale") {
      this.#become("live");
      this.#watch();
    }
  }

  /** Frames of a kind that this version does not know are left alone: the contract may grow. */
  #apply(frame) {
    switch (frame.op) {
      case "welcome":
        this.#heartbeatMs = frame.heartbeat_s * 1000;
        this.#watch();
        this.#granted();
        break;
      case "token":
        this.#granted(Date.parse(frame.expires));
        break;
      case "snapshot":
        this.#page(frame);
        break;
      case "resumed":
        this.#keep(frame);
        this.#becomeLive();
        break;
      case "status":
        this.#keep(frame);
        this.#owner.status(frame.event, frame.late === true);
        break;
      case "gap":
        // Its cursor is worth nothing until the snapshot that follows is whole: lost in between,
        // the old one brings the gap again.
        this.#mayKeep = false;
        this.#snapshot = [];
        this.#owner.gap();
        break;
      case "skipped":
        this.#keep(frame);
        this.#owner.skipped(frame.count);
        break;
      case "heartbeat":
        this.#keep(frame);
        if (typeof frame.lag_ms === "number") this.#owner.lag(frame.lag_ms);
        break;
      case "draining":
        this.#drainMs = frame.retry_ms;
        break;
      case "error":
        this.#refused(frame);
        break;
    }
  }

  /** One page of a snapshot; the cursor of any but the last is no promise. */
  #page(frame) {
    this.#snapshot = this.#snapshot.concat(frame.events);
    this.#mayKeep = !frame.more;
    if (frame.more) return;
    const events = this.#snapshot;
    this.#snapshot = [];
    this.#keep(frame);
    this.#owner.snapshot(events);
    this.#becomeLive();
  }

  /** Keeps the newest cursor, except while a snapshot is due or not whole. */
  #keep({ cursor }) {
    if (cursor && this.#mayKeep) this.#cursor = cursor;
  }

  #refused({ id, code, message }) {
    this.#owner.refused(code, message);
    if (id === SUBSCRIPTION && this.#liveSinceMs === null) this.#stop(message || code);
  }

  #granted(endsAtMs = this.#credential.endsAtMs) {
    this.#credential.accept();
    const { isHeld, watch } = this.#credential;
    this.#owner.granted(isHeld ? { watch, endsAtMs } : null);
  }

  #lost(code, reason) {
    if (code === TOKEN_REFUSED) {
      this.#tokenRefused(reason || "the token was refused");
      return;
    }
    if (code === FORBIDDEN) {
      this.#stop(this.#forbidden());
      return;
    }
    const close = CLOSES.get(code) ?? LOST;
    const told = reason && (close.stop || close === LOST); // the others say it all
    const why = told ? `${close.why} (${reason})` : close.why;
    if (close.stop) this.#stop(why);
    else this.#retry(why);
  }

  /** In an open connection the old token may be meant, ended before the new one came: only a
   *  handshake tells. */
  #tokenRefused(why) {
    const { isHeld, isAccepted } = this.#credential;
    if (isHeld && !isAccepted && this.#heartbeatMs) {
      this.#retry("the new token is tried in a new connection");
    } else if (this.#credential.refuse()) {
      this.#retry("a new token was refused");
      this.#owner.tokenRefused(why);
    } else {
      const told = this.#heartbeatMs ? `${why}; what you see may be old` : why;
      this.#drop();
      this.#become("locked", isHeld ? told : "this server asks for a token");
    }
  }

  #forbidden() {
    const { isHeld, watch } = this.#credential;
    const what = watch.includes("*") ? "everything" : watch.join(", ");
    const by = isHeld ? "by this token" : "here";
    return `watching ${what} is not allowed ${by}`;
  }

  #stop(why) {
    this.#drop();
    this.#become("stopped", why);
  }

  #abandon(why) {
    this.#drop();
    this.#retry(why);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#watchTimer);
    socket?.close();
  }

  #retry(why) {
    const steady =
      this.#liveSinceMs !== null && performance.now() - this.#liveSinceMs > STEADY_AFTER_MS;
    if (steady) this.#attempt = 0;
    const waitMs = this.#drainMs ?? backoffMs(this.#attempt++);
    this.#drop();
    this.#become("reconnecting", why, Date.now() + waitMs);
    this.#retryTimer = setTimeout(() => this.open(), waitMs);
  }

  /** Looks again when the next bound of silence would be reached; every frame moves it. */
  #watch() {
    clearTimeout(this.#watchTimer);
    const silentMs = performance.now() - this.#heardAtMs;
    const staleMs = this.#heartbeatMs * STALE_AFTER_HEARTBEATS || OPEN_WITHIN_MS;
    const lostMs = this.#heartbeatMs
      ? Math.max(this.#heartbeatMs * LOST_AFTER_HEARTBEATS, LOST_AFTER_AT_LEAST_MS)
      : OPEN_WITHIN_MS;
    if (silentMs >= lostMs) {
      this.#abandon("the server is silent");
      return;
    }
    const stale = silentMs >= staleMs;
    if (stale && this.#state.name === "live") {
      this.#become("stale", "two heartbeats were missed; what you see may be old");
    }
    this.#watchTimer = setTimeout(() => this.#watch(), (stale ? lostMs : staleMs) - silentMs);
  }

  #becomeLive() {
    this.#liveSinceMs = performance.now();
    this.#become("live");
  }

  #become(name, why = "", retryAtMs = null) {
    if (name !== "live" && name !== "stale") this.#liveSinceMs = null;
    this.#state = { name, why, retryAtMs };
    this.#owner.connection(this.#state);
  }
}

/** Doubles up to a bound; half of it is chance, so that viewers do not come back as one. */
function backoffMs(attempt) {
  const longest = Math.min(BACKOFF_LONGEST_MS, BACKOFF_FIRST_MS * 2 ** attempt);
  return longest / 2 + Math.random() * (longest / 2);
}
