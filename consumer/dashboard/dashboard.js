/** The page: binds the stream to the board and the board to the screen, once per frame. */

import { Admission } from "./admission.js";
import { Board, EXECUTIONS_SHOWN } from "./board.js";
import { span } from "./notation.js";
import { order } from "./orders.js";
import { fillExecution, fillInstance, tellMoment } from "./panels.js";
import { Rows, write } from "./rows.js";
import { Stream } from "./stream.js";
import { Ticker } from "./ticker.js";

const CLOCK_EVERY_MS = 1_000;
const TOLD = "time[data-told][datetime]";

const $ = (id) => document.getElementById(id);
const board = new Board();
const busy = new Set(); // instances with an order that is not answered yet
const ticker = new Ticker($("stream"), { event: $("event-item"), notice: $("notice-item") });
const instanceRows = new Rows($("instances").tBodies[0], $("instance-row"), fillInstance);
const executionRows = new Rows($("executions").tBodies[0], $("execution-row"), fillExecution);
const admission = new Admission((token) => stream.present(token));
let connection = { name: "connecting", why: "", retryAtMs: null };
let config = { rest_url: null };
let frameDue = false;

const stream = new Stream(streamUrl(), {
  connection(state) {
    if (["live", "locked"].includes(state.name) && connection.name !== state.name) readConfig();
    connection = state;
    admission.connection(state);
    showConnection();
  },
  granted: (grant) => admission.granted(grant),
  tokenRefused: (why) => admission.refused(why),
  snapshot(events) {
    board.replace(events);
    drawSoon();
  },
  status(event, late) {
    const heardAt = new Date();
    const delayMs = heardAt - Date.parse(event.time);
    if (late) board.applyLate(event);
    else {
      board.apply(event);
      showLag(delayMs);
    }
    ticker.add({ event, heardAt, delayMs, late });
    drawSoon();
  },
  gap() {
    note("gap", "Events were missed here. The lists are read afresh.");
  },
  skipped(count) {
    const events = count === 1 ? "1 event was" : `${count} events were`;
    note("skipped", `${events} skipped here; the lists show the newest of each.`);
  },
  lag: showLag,
  refused(code, message) {
    note("error", `The server refused: ${message || code}`);
  },
});

function streamUrl() {
  const url = new URL("/v1/status", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** Read again whenever the stream comes back: the server behind it may be another one. */
async function readConfig() {
  try {
    const response = await fetch("/config.json");
    if (response.ok) config = await response.json();
  } catch {
    return; // without it the page only watches
  }
  document.body.dataset.orders = config.rest_url ? "allowed" : "none";
  write($("version"), config.version ?? "");
  write($("token-url"), `${config.rest_url ?? "<RestApiUrl>"}/watch-tokens`);
  if (config.rest_url) {
    const url = `${config.rest_url}/express-instance`;
    const type = "Content-Type: application/json";
    write($("example"), `curl -X POST ${url} -H '${type}' -d '{"instance_id": "i-…"}'`);
  }
}

function note(kind, text) {
  ticker.add({ kind, heardAt: new Date(), text });
  drawSoon();
}

function drawSoon() {
  if (frameDue) return;
  frameDue = true;
  requestAnimationFrame(() => {
    frameDue = false;
    draw();
  });
}

function draw() {
  const instances = inHeldOrder(board.instances());
  const executions = board.executions();
  instanceRows.render(
    instances.map((instance) => ({ ...instance, busy: busy.has(instance.id) })),
    ({ id }) => id,
  );
  executionRows.render(executions, ({ arn }) => arn);
  ticker.render();
  showEmptiness("instances", instances.length === 0);
  showEmptiness("executions", executions.length === 0);
  showEmptiness("stream", $("stream").childElementCount === 0);
  showTallies(instances, executions);
  write($("hold"), ticker.held ? `Go on (${ticker.passed})` : "Hold");
}

/** Under a pointer the instances stay where they are: no button moves away from its click. */
function inHeldOrder(instances) {
  const table = $("instances");
  if (!matchMedia("(hover: hover)").matches || !table.matches(":hover")) return instances;
  const shown = [...table.tBodies[0].rows];
  const place = new Map(shown.map((row, index) => [row.dataset.instance, index]));
  const placeOf = ({ id }) => place.get(id) ?? place.size;
  return instances.sort((a, b) => placeOf(a) - placeOf(b));
}

function showEmptiness(id, empty) {
  $(id).hidden = empty;
  $(`${id}-empty`).hidden = !empty;
}

function showTallies(instances, executions) {
  const count = (list, test) => list.filter(test).length;
  const parts = (...counts) =>
    counts.filter(([number]) => number).map(([number, word]) => `${number} ${word}`).join(" · ");
  const settled = new Set(["running", "stopped", "terminated", "unknown"]);
  write(
    $("instances-tally"),
    parts(
      [count(instances, ({ status }) => status === "running"), "running"],
      [count(instances, ({ status }) => status === "stopped"), "stopped"],
      [count(instances, ({ status }) => !settled.has(status)), "changing"],
    ),
  );
  write(
    $("executions-tally"),
    parts(
      [count(executions, ({ terminal }) => !terminal), "under way"],
      [count(executions, ({ status }) => status === "SUCCEEDED"), "succeeded"],
      [count(executions, ({ status, terminal }) => terminal && status !== "SUCCEEDED"), "failed"],
    ),
  );
  $("executions-bound").hidden = board.forgotten === 0;
  write($("executions-bound"), `The newest ${EXECUTIONS_SHOWN} are shown.`);
}

const CONNECTION_WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  stale: "Stale",
  locked: "Token needed",
  stopped: "Stopped",
};

/** The countdown stands beside the live region, or it would be read out every second. */
function showConnection() {
  const { name, why } = connection;
  document.body.dataset.connection = name;
  document.title = name === "live" ? "Statuswire" : `${CONNECTION_WORDS[name]} – Statuswire`;
  write($("connection"), CONNECTION_WORDS[name]);
  write($("notice"), why ? `${why[0].toUpperCase()}${why.slice(1)}.` : "");
  $("notice").hidden = !why;
  $("reconnect").hidden = name !== "stopped" && !(name === "reconnecting" && connection.retryAtMs);
  showCountdown();
}

function showLag(ms) {
  write($("lag"), span(ms));
}

function showCountdown() {
  const waitMs = connection.retryAtMs ? connection.retryAtMs - Date.now() : 0;
  write($("countdown"), waitMs > 0 ? `in ${Math.ceil(waitMs / 1000)} s` : "");
}

/** Everything on the page that grows old by itself. */
function tick() {
  showCountdown();
  const nowMs = Date.now();
  admission.tick(nowMs);
  for (const element of document.querySelectorAll(TOLD)) tellMoment(element, nowMs);
}

async function giveOrder(button) {
  const { instance } = button.closest("[data-instance]").dataset;
  const { action } = button.dataset;
  busy.add(instance);
  showAnswer({ ok: true, text: `${action} ${instance}: asked …` });
  drawSoon();
  showAnswer(await order(config.rest_url, instance, action));
  busy.delete(instance);
  drawSoon();
}

function showAnswer({ ok, text }) {
  write($("answer"), text);
  $("answer").dataset.ok = String(ok);
  $("answer").hidden = false;
}

$("instances").addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-action]");
  if (button) giveOrder(button);
});
$("instances").addEventListener("pointerleave", drawSoon);
$("reconnect").addEventListener("click", () => stream.open());
$("hold").addEventListener("click", () => {
  ticker.held = !ticker.held;
  $("hold").setAttribute("aria-pressed", String(ticker.held));
  drawSoon();
});
window.addEventListener("online", () => connection.name === "reconnecting" && stream.open());
setInterval(tick, CLOCK_EVERY_MS);
showConnection();
stream.open();
