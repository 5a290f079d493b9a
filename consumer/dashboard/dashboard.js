/** The page: binds the stream to what is known, and what is known to the screen. */

import { Address } from "./address.js";
import { Admission } from "./admission.js";
import { Board } from "./board.js";
import { ServerClock } from "./clock.js";
import { Confirmation } from "./confirmation.js";
import { Connection } from "./connection.js";
import { Executions } from "./executions.js";
import { Fleet } from "./fleet.js";
import { Followed } from "./followed.js";
import { Inspector } from "./inspector.js";
import { readKept } from "./kept.js";
import { listenToKeys } from "./keyboard.js";
import { counted } from "./notation.js";
import { setFlashing, tellMoment } from "./panels.js";
import { write } from "./rows.js";
import { SignIn } from "./sign-in.js";
import { Stream } from "./stream.js";
import { Ticker } from "./ticker.js";
import { Workflows } from "./workflows.js";

const CLOCK_EVERY_MS = 1_000;
const CONFIG_WITHIN_MS = 5_000; // then the page does with what it knows
const DRAW_EVERY_MS = 100; // as often as an eye follows; between two, events are only counted
const DRAW_BUSY_MS = 250; // where more comes at once than can be read
const BUSY_FROM = 10; // events at once
const FLASHED_MOST = 5; // more changes than that at once, and to see each flash is no help
const TOLD = "time[data-told][datetime]";

/** Each is drawn in a frame of its own, so that none is long; what is looked at first. */
const PARTS = [drawLooked, drawFleet, drawExecutions, drawStream];

const $ = (id) => document.getElementById(id);
const clock = new ServerClock();
const board = new Board();
const busy = new Set(); // instances with an order that is not answered yet
const connection = new Connection();
// First of all: who comes back from signing in has a code in the address.
const signIn = new SignIn({ present: (token) => stream.present(token), nowMs: () => clock.nowMs() });
const address = new Address(changeView);
const workflows = new Workflows(address, drawSoon);
const fleet = new Fleet(address, clock);
const executions = new Executions(address);
const followed = new Followed(readPast, drawSoon);
const inspector = new Inspector(clock);
const ticker = new Ticker(
  $("stream"),
  { event: $("event-item"), notice: $("notice-item") },
  drawSoon,
);
const admission = new Admission((token) => stream.present(token));
const orders = { send: signIn.send, begun: orderBegun, answered: orderAnswered };
const confirmation = new Confirmation(orders);
let config = { rest_url: null };
let drawnAtMs = 0;
let isDrawing = false;
let isDue = false;
let pauseMs = DRAW_EVERY_MS; // until the next drawing
let heard = 0; // events since then
let opener = null; // what has the focus again when the inspector closes

const stream = new Stream(streamUrl(), {
  connection(state) {
    const isNew = connection.name !== state.name;
    connection.become(state);
    signIn.connection(state);
    if (isNew && state.name === "live") readConfig();
    if (state.name === "locked") letIn(state);
    else admission.connection(state);
  },
  granted(grant) {
    admission.granted(signIn.isIn ? null : grant);
    signIn.granted(grant);
  },
  tokenRefused: (why) => signIn.refused(why) || admission.refused(why),
  snapshot(events) {
    board.replace(events);
    for (const event of events) followed.hear(event, false);
    drawSoon();
  },
  status(event, late) {
    const heardAtMs = Date.now();
    heard += 1;
    if (late) board.applyLate(event);
    else board.apply(event);
    followed.hear(event, late);
    connection.heard();
    const delayMs = clock.skewMs === 0 ? heardAtMs - Date.parse(event.time) : null;
    if (!late && delayMs !== null) connection.lag(delayMs);
    ticker.add({ event, heardAtMs, delayMs, late });
    drawSoon();
  },
  gap() {
    connection.gap();
    followed.readAgain();
    note("gap", "Events were missed here. The lists are read afresh.");
  },
  skipped(count) {
    connection.skipped(count);
    followed.readAgain();
    note(
      "skipped",
      `${counted(count, "event was", "events were")} skipped here; the lists show the newest of each.`,
    );
  },
  heard: () => connection.heard(),
  lag: (ms) => connection.lag(ms),
  refused(code, message) {
    note("error", `The server refused: ${message || code}`);
  },
});

function streamUrl() {
  const url = new URL("/v1/status", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function readPast(pattern, signal) {
  return readKept(streamUrl(), stream.token, pattern, signal);
}

/** Only the configuration tells whether people sign in here, or bring a token. */
async function letIn(state) {
  await readConfig();
  if (connection.name !== "locked" || signIn.unlock(state.why)) return;
  admission.connection(state);
}

/** Read again whenever the stream comes back: the server behind it may be another one. */
async function readConfig() {
  try {
    const askedAtMs = Date.now();
    const response = await fetch("/config.json", { signal: AbortSignal.timeout(CONFIG_WITHIN_MS) });
    clock.take(response.headers.get("Date"), askedAtMs, Date.now());
    if (response.ok) config = await response.json();
  } catch {
    return; // without it the page only watches
  }
  connection.skew(clock.skewMs);
  signIn.offer(config);
  document.body.dataset.orders = config.rest_url ? "allowed" : "none";
  write($("version"), config.version ?? "");
  write($("token-url"), `${config.rest_url ?? "<RestApiUrl>"}/watch-tokens`);
  const type = "Content-Type: application/json";
  const url = `${config.rest_url ?? "<RestApiUrl>"}/express-instance`;
  write($("example"), `curl -X POST ${url} -H '${type}' -d '{"instance_id": "i-…"}'`);
}

function note(kind, text) {
  ticker.add({ kind, heardAtMs: Date.now(), text });
  drawSoon();
}

/** Draws in the next frames, or as soon as the last drawing is long enough ago. */
function drawSoon() {
  isDue = true;
  if (isDrawing) return;
  isDrawing = true;
  const waitMs = drawnAtMs + pauseMs - performance.now();
  setTimeout(() => requestAnimationFrame(() => drawFrom(0)), Math.max(0, waitMs));
}

function drawFrom(part) {
  if (part === 0) {
    isDue = false; // until something comes that the first parts have missed
    drawnAtMs = performance.now();
    pauseMs = heard < BUSY_FROM ? DRAW_EVERY_MS : DRAW_BUSY_MS;
    setFlashing(heard <= FLASHED_MOST);
    heard = 0;
  }
  PARTS[part]();
  if (part < PARTS.length - 1) {
    requestAnimationFrame(() => drawFrom(part + 1));
    return;
  }
  isDrawing = false;
  if (isDue) drawSoon();
}

/** All at once: what a person did is answered now. */
function draw() {
  for (const drawPart of PARTS) drawPart();
}

function drawLooked() {
  const reference = address.get("run");
  const instanceId = address.get("instance");
  followed.follow(reference, reference ? board.execution(reference) : null);
  inspector.render({
    followed,
    instanceId,
    instance: instanceId ? board.instance(instanceId) : null,
    runs: instanceId ? board.runsOf(instanceId) : [],
    busy,
  });
  workflows.render(board, followed, clock.nowMs());
}

function drawFleet() {
  fleet.render(board, busy);
}

function drawExecutions() {
  executions.render(board, followed.reference ? followed.arn : null);
}

function drawStream() {
  ticker.render();
  $("stream-empty").hidden = !ticker.isEmpty;
  $("stream").hidden = ticker.isEmpty;
  write($("pause"), ticker.isStill ? `Go on · ${ticker.passed.toLocaleString()} new` : "Pause");
  $("pause").setAttribute("aria-pressed", String(ticker.isStill));
}

/** Everything on the page that grows old by itself. */
function tick() {
  const nowMs = clock.nowMs();
  connection.tick();
  inspector.tick();
  admission.tick(Date.now());
  for (const element of document.querySelectorAll(TOLD)) tellMoment(element, nowMs);
}

/** What the address says has changed; a person's own step is drawn at once. */
function changeView(names) {
  if (names.includes("run") || names.includes("instance")) {
    const { activeElement } = document;
    if (!activeElement.closest("#inspector, dialog")) opener = activeElement;
    draw();
    moveFocus();
    return;
  }
  draw();
}

/** To what is looked at; and when that closes, back to where a person was. */
function moveFocus() {
  const isBack = !inspector.isOpen;
  const back = opener?.isConnected ? opener : $("executions-title");
  (isBack ? back : $("inspector-title")).focus({ preventScroll: true });
}

function showOne(link) {
  const { show, value, arn } = link.dataset;
  const run = show === "run" ? (board.execution(arn) ?? { arn, name: value }) : null;
  address.set(
    { instance: run ? "" : value, run: run ? board.referenceTo(run) : "" },
    { step: true },
  );
}

function closeInspector() {
  if (inspector.isOpen) address.set({ run: "", instance: "" }, { step: true });
}

function orderBegun(instanceId, name) {
  busy.add(instanceId);
  address.set({ run: name, instance: "" }, { step: true });
}

function orderAnswered(instanceId, { ok, text }) {
  busy.delete(instanceId);
  write($("answer"), text);
  $("answer").dataset.ok = String(ok);
  $("answer").hidden = false;
  drawSoon();
}

function pause() {
  ticker.toggle();
  draw();
}

document.addEventListener("click", (event) => {
  const { target } = event;
  const link = target.closest("a[data-show]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    showOne(link);
  }
  const button = target.closest("button[data-action][data-id]");
  const instance = button && board.instance(button.dataset.id);
  if (instance) confirmation.ask(config.rest_url, instance, button.dataset.action);
});
$("instances").addEventListener("pointerleave", drawSoon);
$("reconnect").addEventListener("click", () => stream.open());
$("pause").addEventListener("click", pause);
$("inspector-close").addEventListener("click", closeInspector);
listenToKeys(
  {
    "/": () => $("instances-filter").focus(),
    g: () => address.set({ view: address.get("view") === "grid" ? "table" : "grid" }),
    a: () => address.set({ graph: address.get("graph") === "all" ? "steps" : "all" }),
    m: () =>
      address.set({ machine: address.get("machine") === "express" ? "standard" : "express" }),
    p: pause,
  },
  (target) => {
    if (target === $("instances-filter") && target.value) address.set({ q: "" });
    else closeInspector();
  },
);
window.addEventListener("online", () => connection.waits && stream.open());
setInterval(tick, CLOCK_EVERY_MS);
connection.become({ name: "connecting", why: "", retryAtMs: null });
stream.open();
