/** How statuses, spans and moments are written. Pure. */

/** Status → its shape (a symbol of index.html) and its tone (a colour of dashboard.css). */
const SIGNS = new Map([
  ["CHECKING", { shape: "dots", tone: "active" }],
  ["WAITING", { shape: "clock", tone: "waiting" }],
  ["STARTING", { shape: "up", tone: "active" }],
  ["STOPPING", { shape: "down", tone: "active" }],
  ["VERIFYING", { shape: "target", tone: "active" }],
  ["RUNNING", { shape: "play", tone: "active" }],
  ["SUCCEEDED", { shape: "check", tone: "good" }],
  ["FAILED", { shape: "cross", tone: "bad" }],
  ["TIMED_OUT", { shape: "clock", tone: "bad" }],
  ["ABORTED", { shape: "slash", tone: "bad" }],
  ["pending", { shape: "up", tone: "active" }],
  ["running", { shape: "disc", tone: "good" }],
  ["stopping", { shape: "down", tone: "active" }],
  ["stopped", { shape: "square", tone: "rest" }],
  ["shutting-down", { shape: "down", tone: "waiting" }],
  ["terminated", { shape: "dash", tone: "rest" }],
]);
const UNHEARD = { shape: "ring", tone: "rest" };
const WORDS = new Map([["unknown", "not heard"]]);

export function signOf(status) {
  return SIGNS.get(status) ?? UNHEARD;
}

/** `TIMED_OUT` → `timed out`. */
export function wordOf(status) {
  return WORDS.get(status) ?? status.toLowerCase().replaceAll("_", " ");
}

/** `1 step`, `12 steps`; with the thousands apart. */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

/** A span for a narrow column: `34 ms`, `1.2 s`, `48 s`, `3 min`, `5 h`, `2 d`. */
export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  return coarseSpan(ms);
}

/** The time from one step to the next: `+34 ms`, `+2 min 5 s`; a clock set back makes it less. */
export function step(ms) {
  return ms < 0 ? `−${lasting(-ms)}` : `+${lasting(ms)}`;
}

/** How long something took, finer than `span`: `31.2 s`, `4 min 5 s`, `2 h 3 min`. */
export function lasting(ms) {
  if (ms < 60_000) return ms < 9_950 || ms >= 59_500 ? span(ms) : `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : coarseSpan(ms);
}

/** How long ago, as told in passing: `just now`, `48 s ago`, `3 min ago`. */
export function ago(ms) {
  return ms < 1500 ? "just now" : `${coarseSpan(ms)} ago`;
}

function coarseSpan(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat(undefined, CLOCK);
const preciseClock = new Intl.DateTimeFormat(undefined, { ...CLOCK, fractionalSecondDigits: 3 });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** The viewer's time of day; with the date in front when it is not today's. */
export function timeOfDay(time, nowMs) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date(nowMs).toDateString();
  return today ? clock.format(moment) : `${day.format(moment)} ${clock.format(moment)}`;
}

export function preciseTimeOfDay(time) {
  return preciseClock.format(new Date(time));
}

/** The moment with its date and the viewer's zone, for a title. */
export function exactTime(time) {
  return exact.format(new Date(time));
}

/** What an event's `detail` says, on one line; it is bounded by the event's 16 KiB. */
export function detailLine(detail) {
  return Object.entries(detail ?? {})
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");
}

/** A reason `{error, cause}` as one text; EC2's own message begins with its code. */
export function reasonText(reason) {
  const { error = "", cause = "" } = reason ?? {};
  return error && cause && !cause.startsWith(error) ? `${error}: ${cause}` : cause || error;
}
