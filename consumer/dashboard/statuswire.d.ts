/** Types of `statuswire.js`: a viewer's side of the WebSocket protocol, version 1. */

/** Of which run an event speaks. */
export interface Execution {
  arn: string;
  name: string;
  machine: "express" | "standard";
  seq: number | null;
  redrive: number;
}

/** A status event, contract version 1, as it came; later versions may add fields. */
export interface StatusEvent {
  v: 1;
  id: string;
  source: "workflow" | "states" | "ec2" | "reconcile";
  instance_id: string | null;
  execution: Execution | null;
  state: string | null;
  status: string;
  /** RFC 3339, UTC, milliseconds. */
  time: string;
  terminal: boolean;
  reason: Record<string, unknown> | null;
  detail: Record<string, unknown>;
}

/** What a stream tells; told apart by `type`. Later versions may add types. */
export type Item =
  /** Another connection is being made. */
  | { type: "connecting" }
  /** The server has let us in. `lacks`: what of the protocol it cannot do. */
  | { type: "welcome"; heartbeatMs: number; lacks: string[] }
  /** All that stands, always whole: replaces everything that was known. */
  | { type: "snapshot"; events: StatusEvent[]; cursor: string | null }
  /** One event. A late one is not the newest of its key, and changes nothing that stands. */
  | { type: "status"; event: StatusEvent; late: boolean; cursor: string | null }
  /** Everything that was missed without a connection has been told. */
  | { type: "resumed"; cursor: string | null }
  /** Some events were missed for good; a snapshot follows. */
  | { type: "gap" }
  /** We were slow: so many events are left out, of whose keys there are newer ones. */
  | { type: "skipped"; count: number; cursor: string | null }
  /** `lagMs`: the age of the server's newest event when that was sent. `awayMs`: for how long its
   *  log has not answered; 0 while all is well. */
  | { type: "heartbeat"; lagMs: number | null; awayMs: number; cursor: string | null }
  /** From here on, what is shown is what is. */
  | { type: "live" }
  /** What is shown may be old, until `live` or `lost`. */
  | { type: "stale"; why: string }
  /** There is no connection; the next is made then, by `Date.now()`. */
  | { type: "lost"; why: string; retryAtMs: number }
  /** Another token was accepted in the open connection; it is good until then. */
  | { type: "renewed"; endsAtMs: number }
  /** The server answered something else than the subscription with an error. */
  | { type: "error"; code: string; message: string }
  /** There will be no other connection. Iteration throws the error instead. */
  | { type: "stopped"; error: Stopped };

/** The server will not go on with us, and trying again would not help. The caller must act. */
export class Stopped extends Error {
  readonly name: "Stopped";
  /** A close code: 4400 we are not understood, 4401 the token is refused and there is no other,
   *  4403 it does not allow what is to be watched. Or the error that the subscription was answered
   *  with, such as `"bad_watch"`. Null where no connection can be made at all. */
  readonly code: number | string | null;
}

/** Why another token is asked for: the last was refused, in an open connection or at the door. */
export interface Refusal {
  why: string;
  wasOpen: boolean;
}

export type Token = string | null;

export interface Options {
  /** What to watch; everything, unless said. A function is asked before each connection. */
  watch?: readonly string[] | (() => readonly string[]);
  /** Travels as a subprotocol, never in an address. A function is asked for each connection, with
   *  null, and at three quarters of a token's life; and for another one after a refusal. While it
   *  rejects, it is asked again, less and less often. */
  token?: Token | ((refusal: Refusal | null) => Token | Promise<Token>);
  /** A cursor to go on from. */
  since?: string | null;
  /** A class like the browser's; the global one, unless given. `ws` will do. */
  WebSocket?: new (url: string, subprotocols: string[]) => unknown;
  /** Called with each item, by whoever would rather not iterate; such a stream begins by `open`. */
  on?: (item: Item) => void;
}

export class StatusStream implements AsyncIterable<Item> {
  /** `url`: where the consumer is, as `wss://host/v1/status`. Throws where it holds a token. */
  constructor(url: string | URL, options?: Options);
  /** The place after the item that was told last, or read: `since` for whoever goes on later. */
  readonly cursor: string | null;
  /** Whether the server has let us in. */
  readonly isOpen: boolean;
  /** Connects now, whatever was planned; does nothing while a connection stands or is made. */
  open(): void;
  /** Connects anew: what is to be watched, or by what right, is another. */
  reopen(): void;
  /** Asks for a token and shows it in the open connection. */
  renew(): Promise<void>;
  /** Ends it. */
  close(): void;
  /** Opens the stream; leaving the loop closes it. Throws `Stopped`. */
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, void>;
}
