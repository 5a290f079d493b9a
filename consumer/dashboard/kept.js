/** All kept events of one execution, by a short connection that holds up no stream. */

import { StatusStream } from "./statuswire.js";

const WITHIN_MS = 10_000;

/**
 * Reads what the server keeps for a pattern that names one execution. Resolves to its events in
 * their own order; rejects, saying why for a person, where they cannot be had.
 */
export async function readKept(url, token, pattern, signal) {
  const stream = new StatusStream(url, { token, watch: [pattern] });
  const end = () => stream.close();
  const timer = setTimeout(end, WITHIN_MS);
  signal.addEventListener("abort", end);
  try {
    for await (const item of stream) {
      if (item.type === "snapshot") return item.events;
      if (item.type === "lost") throw new Error(item.why); // the stream tries again, this does not
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
  throw new Error("no answer in time");
}
