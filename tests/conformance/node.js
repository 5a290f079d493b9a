// Node's `ws` for the cases: one JSON command per line in, one JSON report per line out.
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");

const sockets = new Map();

function tell(report) {
  process.stdout.write(JSON.stringify(report) + "\n");
}

function connect({ id, url, headers, subprotocols }) {
  const socket = new WebSocket(url, subprotocols, { headers, perMessageDeflate: false });
  sockets.set(id, socket);
  socket.on("open", () => tell({ id, subprotocol: socket.protocol || null }));
  socket.on("message", (data) => tell({ id, text: data.toString() }));
  socket.on("ping", () => tell({ id, ping: true }));
  let status = null;
  socket.on("unexpected-response", (request, response) => {
    status = response.statusCode;
    socket.terminate();
  });
  socket.on("error", () => {}); // `close` follows
  socket.on("close", (code, reason) => tell({ id, code, reason: reason.toString(), status }));
}

function send({ id, text, base64 }) {
  const socket = sockets.get(id);
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(text ?? Buffer.from(base64, "base64"));
}

const commands = {
  connect,
  send,
  close: ({ id }) => sockets.get(id).close(1000),
  pause: ({ id }) => sockets.get(id).pause(),
  resume: ({ id }) => sockets.get(id).resume(),
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on("close", () => process.exit());
