// A reader that falls behind, and one that is told the same event again: on a socket that says what
// this program tells it to. Prints what came of it.

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

const turn = () => new Promise((resolve) => setTimeout(resolve));
const tell = (told) => console.log(JSON.stringify(told));

async function untilDialled(count) {
  while (sockets.length < count || sockets.at(-1).sent.length === 0) await turn();
  return sockets.at(-1);
}

const stream = new StatusStream("ws://server/v1/status", { WebSocket: Scripted });
const items = stream[Symbol.asyncIterator]();
const first = items.next();
const socket = await untilDialled(1);
socket.say({ op: "welcome", protocol: 1, heartbeat_s: 20, lacks: ["strictly_once"] });
socket.say({ op: "snapshot", cursor: "e-0", events: [], more: false });
socket.status(1);
socket.status(2, "event-1"); // again
await first;
let place = 2;
while (!socket.isClosed) socket.status(++place);
const told = [];
while (sockets.length === 1) {
  const { value } = await Promise.race([items.next(), untilDialled(2).then(() => ({}))]);
  if (value?.type === "status") told.push(value.event.id);
}
const again = await untilDialled(2);
const { length } = told;
tell({ length, distinct: new Set(told).size, told: told.at(-1), last: place, asked: again.sent[0] });
process.exit();
