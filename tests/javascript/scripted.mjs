// The client on a socket that says what this program tells it to. Usage: node scripted.mjs SCENARIO;
// prints what came of it.

import { StatusStream } from "../../consumer/dashboard/statuswire.js";

const sockets = [];

class Scripted {
  sent = [];
  isClosed = false;

  constructor(url, subprotocols) {
    Object.assign(this, { url, subprotocols });
    sockets.push(this);
    queueMicrotask(() => this.onopen());
  }

  send = (text) => this.sent.push(JSON.parse(text));
  close = () => (this.isClosed = true);
  say = (frame) => this.onmessage({ data: JSON.stringify(frame) });
  status = (place, id = `event-${place}`) =>
    this.say({ op: "status", cursor: `e-${place}`, event: { id } });
}

async function untilDialled(count) {
  while (sockets.length < count || sockets.at(-1).sent.length === 0) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  return sockets.at(-1);
}

/** A stream whose items are being read, live on its first socket. */
async function live(lacks) {
  const stream = new StatusStream("ws://server/v1/status", { WebSocket: Scripted });
  const items = stream[Symbol.asyncIterator]();
  const first = items.next();
  const socket = await untilDialled(1);
  socket.say({ op: "welcome", protocol: 1, heartbeat_s: 20, lacks });
  socket.say({ op: "snapshot", cursor: "e-0", events: [], more: false });
  await first;
  return { items, socket, stream };
}

const scenarios = {
  /** A reader that falls behind, of a server that tells an event again. */
  async behind() {
    const { items, socket, stream } = await live(["strictly_once"]);
    socket.status(1);
    socket.status(2, "event-1");
    let last = 2;
    while (!socket.isClosed) socket.status(++last);
    const told = [];
    let isAtLastRead = true;
    while (sockets.length === 1) {
      const { value } = await Promise.race([items.next(), untilDialled(2).then(() => ({}))]);
      if (value?.type !== "status") continue;
      told.push(value.event.id);
      isAtLastRead &&= stream.cursor === value.cursor;
    }
    const asked = sockets[1].sent[0];
    return { length: told.length, distinct: new Set(told).size, told: told.at(-1), last, asked, isAtLastRead };
  },

  /** A server that goes away, and says for how long. */
  async draining() {
    const { items, socket } = await live();
    const retry_ms = 7_000_000;
    socket.say({ op: "draining", retry_ms });
    const earliestMs = Date.now() + retry_ms;
    socket.onclose({ code: 1012, reason: "draining" });
    const latestMs = Date.now() + retry_ms;
    while (true) {
      const { type, why, retryAtMs } = (await items.next()).value;
      if (type === "lost") return { why, isAsAsked: earliestMs <= retryAtMs && retryAtMs <= latestMs };
    }
  },

  /** A server that can send no close code. */
  async closing() {
    const { items, socket } = await live(["close_codes"]);
    socket.say({ op: "error", id: null, code: "closing", message: "not covered", close: 4403 });
    socket.onclose({ code: 1001, reason: "Going away" });
    try {
      while (true) await items.next();
    } catch ({ name, code }) {
      return { name, code };
    }
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
process.exit();
