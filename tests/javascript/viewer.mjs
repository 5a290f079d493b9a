// A program on `statuswire.js`: tells each item in a line, and asks for tokens by one.
// Usage: node viewer.mjs '{"url", "watch", "since", "token", "asks", "library", "hasty"}'; with
// `asks` each line of the input is a token, as JSON. Who is hasty waits for nothing by chance.

import { createRequire } from "node:module";
import readline from "node:readline";

import { StatusStream } from "../../consumer/dashboard/statuswire.js";

const { url, library, asks, token, hasty, ...options } = JSON.parse(process.argv[2]);
if (hasty) Math.random = () => 0;
const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const answered = []; // whoever waits for one
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => answered.shift()(JSON.parse(line)))
  .on("close", () => process.exit());

async function ask(refusal) {
  tell({ type: "asked", refusal });
  const answer = await new Promise((resolve) => answered.push(resolve));
  if (answer === null) throw new Error("the issuer does not answer");
  return answer;
}

try {
  const stream = new StatusStream(url, {
    ...options,
    token: asks ? ask : token,
    WebSocket: library === "ws" ? createRequire(import.meta.url)("ws").WebSocket : undefined,
  });
  for await (const item of stream) tell(item);
} catch ({ name, code, message }) {
  tell({ type: "thrown", name, code, message });
}
process.exit();
