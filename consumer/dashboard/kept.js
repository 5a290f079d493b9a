/** All kept events of one execution: a short connection of its own, so that the stream is not held up. */

const SUBPROTOCOL = "statuswire.v1";
const WITHIN_MS = 10_000;

/**
 * Reads what the server keeps for a pattern that names one execution. Resolves to its events in
 * their own order; rejects, saying why for a person, where they cannot be had.
 */
export function readKept(url, subprotocols, pattern, signal) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [SUBPROTOCOL, ...subprotocols]);
    const events = [];
    const end = (settle, value) => {
      clearTimeout(timer);
      socket.onclose = null;
      socket.close();
      settle(value);
    };
    const fail = (why) => end(reject, new Error(why));
    const timer = setTimeout(() => fail("no answer in time"), WITHIN_MS);
    signal.addEventListener("abort", () => fail("no longer asked for"));
    socket.onopen = () => socket.send(JSON.stringify({ op: "subscribe", id: "kept", watch: [pattern] }));
    socket.onclose = ({ code, reason }) => fail(code === 4403 ? "not allowed by this token" : reason || "no connection");
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.op === "error") fail(frame.message || frame.code);
      if (frame.op !== "snapshot") return;
      events.push(...frame.events);
      if (!frame.more) end(resolve, events);
    };
  });
}
