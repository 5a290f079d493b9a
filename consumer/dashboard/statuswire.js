/**
 * A viewer's side of the WebSocket protocol, version 1: one subscription, kept up over as many
 * connections as it takes. In browsers, and in Node from 22 on; no DOM, no dependencies.
 * `statuswire.d.ts` has the types of all this.
 */

const SUBPROTOCOL = "statuswire.v1";
const SUBSCRIPTION = "1";
const RENEWAL = "2";
const OPEN_WITHIN_MS = 10_000; // a handshake that hangs is as lost as one that fails
const STALE_AFTER_HEARTBEATS = 2.25; // two missed, and a quarter for the way
const LOST_AFTER_HEARTBEATS = 4;
const LOST_AFTER_AT_LEAST_MS = 10_000; // a short heartbeat is no reason to dial in haste
const BACKOFF_FIRST_MS = 500; // 500 ms doubled 6 times passes the longest wait
const BACKOFF_LONGEST_MS = 30_000;
const STEADY_AFTER_MS = 10_000; // a server that accepts and then refuses still meets a growing wait
const RENEWED_AFTER = 0.75; // of a token's life; the rest is for who issues the next one
const RENEWED_AFTER_AT_LEAST_MS = 250;
const MAX_REFUSALS = 5; // of tokens in a row: with their waits, some ten seconds
const MAX_TIMER_MS = 2 ** 31 - 1; // a longer one would fire at once
const MAX_UNREAD = 10_000; // items × ~1 kB = 10 MB; then the server is let wait
const REMEMBERED = 1_000; // ids of events, where one may come again

const TOKEN_REFUSED = 4401;
/** What to do when the server closes; any other code is a lost connection. */
const CLOSES = new Map([
  [1012, { stop: false, why: "the server is restarting" }],
  [1013, { stop: false, why: "the server is full" }],
  [4400, { stop: true, why: "the server could not read what we said" }],
  [4403, { stop: true, why: "watching this is not allowed" }],
  [4408, { stop: false, why: "we were too slow" }],
  [4429, { stop: false, why: "too many messages" }],
]);
const LOST = { stop: false, why: "the connection was lost" };
const LOG_AWAY = "the server's log does not answer; what you see may be old";
const SILENT = "two heartbeats were missed; what you see may be old";

/** The server will not go on with us, and trying again would not help. `code`: of the close, or
 *  of the error with which the subscription was answered. */
export class Stopped extends Error {
  name = "Stopped";

  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** What one subscription was told so far. Knows frames; nothing of sockets, clocks or tokens. */
class Account {
  cursor;
  heartbeatMs = 0; // 0 until the server's welcome
  isLive = false;
  isLogAway = false; // so that whatever else the server says, nothing new is told
  drainMs = null;
  closeCode = null; // of a server that can send none
  #watch = null; // what the cursor is a place in
  #snapshot = []; // frames of a snapshot that is not whole yet
  #mayKeep = false; // whether a frame's cursor may replace ours
  #recent = null; // ids, of a server with which an event may come again

  constructor(since) {
    this.cursor = since;
  }

  /** The first message of another connection. */
  begin(watch) {
    if (this.#watch !== null && this.#watch !== watch.join(" ")) this.cursor = null;
    this.#watch = watch.join(" ");
    this.#mayKeep = this.cursor !== null;
    this.#snapshot = [];
    this.heartbeatMs = 0;
    this.isLive = this.isLogAway = false;
    this.drainMs = this.closeCode = null;
    const since = this.cursor === null ? {} : { since: this.cursor };
    return { op: "subscribe", id: SUBSCRIPTION, watch, ...since };
  }

  /** The items in a frame. Kinds that this version does not know are left alone: the contract
   *  may grow. Throws a `Stopped` where the subscription was refused. */
  *hear(frame) {
    switch (frame.op) {
      case "welcome":
        this.heartbeatMs = frame.heartbeat_s * 1000;
        if (frame.lacks?.includes("strictly_once")) this.#recent ??= new Set();
        yield { type: "welcome", heartbeatMs: this.heartbeatMs, lacks: frame.lacks ?? [] };
        break;
      case "snapshot":
        yield* this.#page(frame);
        break;
      case "resumed":
        this.isLive = true;
        yield { type: "resumed", cursor: this.#keep(frame) };
        break;
      case "status":
        this.isLogAway = false;
        yield* this.#status(frame);
        break;
      case "gap":
        // Its cursor is worth nothing until the snapshot that follows is whole: lost in between,
        // the old one brings the gap again.
        this.#mayKeep = false;
        this.#snapshot = [];
        yield { type: "gap" };
        break;
      case "skipped":
        yield { type: "skipped", count: frame.count, cursor: this.#keep(frame) };
        break;
      case "heartbeat": {
        const { lag_ms: lagMs = null, away_ms: awayMs = 0 } = frame;
        this.isLogAway = awayMs > 0;
        yield { type: "heartbeat", lagMs, awayMs, cursor: this.#keep(frame) };
        break;
      }
      case "draining":
        this.drainMs = frame.retry_ms;
        break;
      case "error":
        yield* this.#error(frame);
        break;
    }
  }

  /** A snapshot is told whole; the cursor of any frame but its last is no promise. */
  *#page(frame) {
    this.#snapshot = this.#snapshot.concat(frame.events);
    this.#mayKeep = !frame.more;
    if (frame.more) return;
    const events = this.#snapshot;
    this.#snapshot = [];
    this.isLive = true;
    yield { type: "snapshot", events, cursor: this.#keep(frame) };
  }

  *#status(frame) {
    const cursor = this.#keep(frame);
    const { event, late = false } = frame;
    if (this.#recent?.has(event.id)) return;
    this.#recent?.add(event.id);
    if (this.#recent?.size > REMEMBERED) this.#recent.delete(this.#recent.values().next().value);
    yield { type: "status", event, late, cursor };
  }

  *#error({ id, code, message, close }) {
    if (close !== undefined) this.closeCode = close;
    else if (id === SUBSCRIPTION && !this.isLive) throw new Stopped(code, message || code);
    else yield { type: "error", code, message };
  }

  /** Keeps the newest cursor, except while a snapshot is due or not whole. */
  #keep({ cursor }) {
    if (!cursor || !this.#mayKeep) return null;
    this.cursor = cursor;
    return cursor;
  }
}

/**
 * One subscription: `for await (const item of stream)`, or `on` for whoever would rather be called.
 * It comes back by itself, with its cursor, so each event is told once.
 */
export class StatusStream {
  #url;
  #watch;
  #token;
  #WebSocket;
  #tell;
  #account;
  #cursor; // of what the owner was told: what is not read yet has others
  #socket = null;
  #held = null; // the token of this connection: shown in its handshake, or since then
  #endsAtMs = Number.NaN; // of that token
  #isRenewing = false; // it was shown in the open connection, and not answered yet
  #turn = 0; // of connecting: what was awaited for an earlier one is dropped
  #attempt = 0;
  #refusals = 0; // of tokens, since the last welcome
  #heardAtMs = 0;
  #liveSinceMs = null;
  #stale = null; // why, while it is
  #retryTimer;
  #watchTimer;
  #renewTimer;
  #unread = [];
  #wake = () => {};
  #isWaitingForReader = false;
  #ending = null; // with its error, if there was one

  constructor(url, options = {}) {
    const { token = null, watch = ["*"], since = null, on = null } = options;
    const fields = new URL(url).searchParams;
    if (fields.has("token") || fields.has("access_token")) {
      throw new TypeError("no token in an address: it would be logged on its way");
    }
    this.#url = url;
    this.#watch = typeof watch === "function" ? watch : () => watch;
    this.#token = token;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#tell = on === null ? (item) => this.#keepUnread(item) : (item) => on(this.#given(item));
    this.#account = new Account(since);
    this.#cursor = since;
  }

  get cursor() {
    return this.#cursor;
  }

  get isOpen() {
    return this.#socket !== null && this.#account.heartbeatMs > 0;
  }

  open() {
    this.#ending = null;
    if (this.#socket === null) this.#connect(null);
  }

  reopen() {
    this.#refusals = 0; // somebody has something new
    this.#drop();
    this.open();
  }

  async renew() {
    await this.#renew();
  }

  async #renew({ isDue = false } = {}) {
    const socket = this.#socket;
    let token;
    try {
      token = await this.#ask(null);
    } catch {
      // The one that is held may do for a while; once it has ended, it is told why there is none.
      if (socket === this.#socket) this.#renewBefore(this.#endsAtMs);
      return;
    }
    if (socket !== this.#socket || !this.isOpen || token === null) return;
    if (isDue && token === this.#held) return; // there is no other yet
    this.#held = token;
    this.#isRenewing = true;
    this.#send({ op: "token", id: RENEWAL, token });
  }

  close() {
    this.#end(null);
  }

  async *[Symbol.asyncIterator]() {
    this.open();
    try {
      while (true) {
        while (this.#unread.length > 0) yield this.#given(this.#unread.shift());
        if (this.#ending?.error) throw this.#ending.error;
        if (this.#ending) return;
        if (this.#isWaitingForReader) this.open();
        await new Promise((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.close();
    }
  }

  /** A socket of this kind cannot be told to wait. Without it the server keeps what comes, and the
   *  cursor brings it to whoever has read all the rest. */
  #keepUnread(item) {
    if (item.type !== "stopped") this.#unread.push(item); // that one is thrown
    this.#isWaitingForReader = this.#unread.length >= MAX_UNREAD;
    if (this.#isWaitingForReader) this.#drop();
    this.#wake();
  }

  #given(item) {
    this.#cursor = item.cursor ?? this.#cursor;
    return item;
  }

  // Connecting.

  async #connect(refusal, notBeforeMs = 0) {
    const turn = ++this.#turn;
    clearTimeout(this.#retryTimer);
    let token;
    try {
      token = await this.#ask(refusal);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error instanceof Stopped) this.#end(error);
      else this.#retry(`there is no token: ${error?.message ?? error}`);
      return;
    }
    if (turn !== this.#turn) return;
    const waitMs = notBeforeMs - performance.now();
    if (waitMs > 0) this.#retryTimer = setTimeout(() => this.#dial(token), waitMs);
    else this.#dial(token);
  }

  async #ask(refusal) {
    const token = typeof this.#token === "function" ? await this.#token(refusal) : this.#token;
    if (refusal !== null && token === this.#held) throw new Stopped(TOKEN_REFUSED, refusal.why);
    return token ?? null;
  }

  #dial(token) {
    this.#held = token;
    this.#isRenewing = false;
    this.#stale = null;
    this.#liveSinceMs = null;
    this.#heardAtMs = performance.now();
    this.#tell({ type: "connecting" });
    const subscribe = this.#account.begin(this.#watch());
    if (this.#account.cursor === null) this.#cursor = null;
    // A browser can set no header: the token travels as a subprotocol, which is never selected.
    const subprotocols = token === null ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${token}`];
    let socket;
    try {
      socket = new this.#WebSocket(this.#url, subprotocols);
    } catch (error) {
      this.#end(new Stopped(null, `no connection can be made: ${error.message}`));
      return;
    }
    this.#socket = socket;
    socket.onopen = () => socket === this.#socket && this.#send(subscribe);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    socket.onerror = () => {}; // a close follows
    this.#renewBefore(endOf(token));
    this.#listen();
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // Listening.

  #hear(data) {
    this.#heardAtMs = performance.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      this.#abandon("the server sent something unreadable");
      return;
    }
    const socket = this.#socket;
    const wasLive = this.#account.isLive;
    try {
      for (const item of this.#account.hear(frame)) {
        this.#tell(item);
        if (socket !== this.#socket) return; // whoever was told has left
      }
      if (frame.op === "welcome") {
        this.#refusals = 0;
        this.#listen();
      }
      if (frame.op === "token") this.#renewed(Date.parse(frame.expires));
    } catch (error) {
      if (!(error instanceof Stopped)) throw error; // the owner's own
      this.#end(error);
      return;
    }
    if (!wasLive && this.#account.isLive) {
      this.#liveSinceMs = performance.now();
      this.#tell({ type: "live" });
    }
    this.#freshen();
  }

  /** Live or stale, now that something was heard; neither before the first snapshot. */
  #freshen() {
    const why = this.#account.isLogAway ? LOG_AWAY : null;
    if (!this.#account.isLive || this.#stale === why) return;
    this.#stale = why;
    this.#tell(why === null ? { type: "live" } : { type: "stale", why });
    this.#listen();
  }

  /** Looks again when the next bound of silence would be reached; every frame moves it. */
  #listen() {
    clearTimeout(this.#watchTimer);
    const { heartbeatMs, isLive } = this.#account;
    const silentMs = performance.now() - this.#heardAtMs;
    const staleMs = heartbeatMs * STALE_AFTER_HEARTBEATS || OPEN_WITHIN_MS;
    const lostMs = heartbeatMs
      ? Math.max(heartbeatMs * LOST_AFTER_HEARTBEATS, LOST_AFTER_AT_LEAST_MS)
      : OPEN_WITHIN_MS;
    if (silentMs >= lostMs) {
      this.#abandon("the server is silent");
      return;
    }
    const isSilent = silentMs >= staleMs;
    if (isSilent && isLive && this.#stale === null) {
      this.#stale = SILENT;
      this.#tell({ type: "stale", why: SILENT });
    }
    this.#watchTimer = setTimeout(() => this.#listen(), (isSilent ? lostMs : staleMs) - silentMs);
  }

  #renewed(endsAtMs) {
    this.#isRenewing = false;
    this.#renewBefore(endsAtMs);
    this.#tell({ type: "renewed", endsAtMs });
  }

  #renewBefore(endsAtMs) {
    clearTimeout(this.#renewTimer);
    this.#endsAtMs = endsAtMs;
    const lifeMs = endsAtMs - Date.now();
    if (typeof this.#token !== "function" || !(lifeMs > 0)) return;
    const waitMs = Math.max(RENEWED_AFTER_AT_LEAST_MS, lifeMs * RENEWED_AFTER);
    this.#renewTimer = setTimeout(() => this.#renew({ isDue: true }), Math.min(waitMs, MAX_TIMER_MS));
  }

  // Losing the connection.

  #lost(given, reason) {
    const code = this.#account.closeCode ?? given;
    if (code === TOKEN_REFUSED) {
      this.#refused(reason || "the token was refused");
      return;
    }
    const close = CLOSES.get(code) ?? LOST;
    const told = reason && (close.stop || close === LOST); // the others say it all
    const why = told ? `${close.why} (${reason})` : close.why;
    if (close.stop) this.#end(new Stopped(code, why));
    else this.#retry(why);
  }

  #refused(why) {
    this.#refusals++;
    if (typeof this.#token !== "function" || this.#refusals > MAX_REFUSALS) {
      this.#end(new Stopped(TOKEN_REFUSED, why));
      return;
    }
    // The one before may have ended just before the new one came: only a handshake tells.
    const refusal = this.#isRenewing ? null : { why, wasOpen: this.isOpen };
    const waitMs = this.#isSteady() ? 0 : backoffMs(this.#attempt++);
    this.#drop();
    this.#tell({ type: "lost", why, retryAtMs: Math.round(Date.now() + waitMs) });
    this.#connect(refusal, performance.now() + waitMs);
  }

  #end(error) {
    this.#drop();
    this.#turn++;
    this.#ending ??= { error };
    if (error === null) this.#wake();
    else this.#tell({ type: "stopped", error });
  }

  #abandon(why) {
    this.#drop();
    this.#retry(why);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    for (const timer of [this.#watchTimer, this.#renewTimer, this.#retryTimer]) clearTimeout(timer);
    socket?.close();
  }

  #retry(why) {
    if (this.#isSteady()) this.#attempt = 0;
    const waitMs = this.#account.drainMs ?? backoffMs(this.#attempt++);
    this.#drop();
    this.#tell({ type: "lost", why, retryAtMs: Math.round(Date.now() + waitMs) });
    this.#retryTimer = setTimeout(() => this.open(), waitMs);
  }

  #isSteady() {
    return this.#liveSinceMs !== null && performance.now() - this.#liveSinceMs > STEADY_AFTER_MS;
  }
}

/** Any time up to a bound that doubles: full jitter, so that viewers do not come back as one. */
function backoffMs(attempt) {
  return Math.random() * Math.min(BACKOFF_LONGEST_MS, BACKOFF_FIRST_MS * 2 ** attempt);
}

/** When a token ends by its own word, unverified, by `Date.now()`; NaN where it does not say. */
function endOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(payload)).exp * 1000;
  } catch {
    return Number.NaN; // none, or an opaque one
  }
}
