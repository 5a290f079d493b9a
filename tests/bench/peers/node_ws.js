// Node's `ws`. Its own `send` makes a header per client; `Sender.frame` makes the frame once, and
// the sockets are written directly: the fastest that the library's public parts allow.
"use strict";

const net = require("node:net");
const { Sender, WebSocketServer } = require("ws");

const HOST = "127.0.0.1";
const topics = new Map();

function publish(topic, payload) {
  const watching = topics.get(topic);
  if (watching === undefined) return;
  const parts = Sender.frame(payload, { fin: true, opcode: 1, mask: false, readOnly: false, rsv1: false });
  const frame = Buffer.concat(parts);
  for (const client of watching) client._socket.write(frame);
}

const server = new WebSocketServer({ host: HOST, port: 0, backlog: 4096, perMessageDeflate: false });
server.on("connection", (client, request) => {
  const [first, count] = request.url.slice("/t/".length).split("+").map(Number);
  for (let topic = first; topic < first + count; topic++) {
    if (!topics.has(topic)) topics.set(topic, new Set());
    topics.get(topic).add(client);
  }
  client.on("close", () => {
    for (let topic = first; topic < first + count; topic++) topics.get(topic).delete(client);
  });
});

const feeds = net.createServer((feed) => {
  let rest = Buffer.alloc(0);
  feed.on("data", (data) => {
    let bytes = rest.length ? Buffer.concat([rest, data]) : data;
    for (let end; (end = bytes.indexOf(10)) >= 0; bytes = bytes.subarray(end + 1)) {
      const space = bytes.indexOf(32);
      publish(Number(bytes.toString("latin1", 0, space)), bytes.subarray(space + 1, end));
    }
    rest = bytes;
  });
});

server.on("listening", () => {
  feeds.listen(0, HOST, () => {
    console.log(JSON.stringify({ port: server.address().port, feed: feeds.address().port }));
  });
});
