/** The server's clock, as far as the `Date` of its answers tells it. No DOM. */

const DATE_GRAIN_MS = 1_000; // RFC 9110, section 5.6.7: whole seconds
const WORTH_TELLING_MS = 2_000;

export class ServerClock {
  #offsetMs = 0;
  skewMs = 0; // how far this machine is ahead of the server; 0 where it cannot be told

  /** Takes an answer's `Date`, and when it was asked for and came, by `Date.now()`. */
  take(date, askedAtMs, cameAtMs) {
    const toldMs = Date.parse(date ?? "");
    if (Number.isNaN(toldMs)) return;
    // It was written between the two, and cut to the second: what is sure is a range.
    const leastMs = askedAtMs - (toldMs + DATE_GRAIN_MS);
    const mostMs = cameAtMs - toldMs;
    const surelyMs = leastMs > 0 ? leastMs : Math.min(mostMs, 0);
    const isWrong = Math.abs(surelyMs) >= WORTH_TELLING_MS;
    this.#offsetMs = isWrong ? (leastMs + mostMs) / 2 : 0;
    this.skewMs = isWrong ? Math.round(this.#offsetMs / DATE_GRAIN_MS) * DATE_GRAIN_MS : 0;
  }

  /** Now, by the server's clock: what events' times are compared with. */
  nowMs() {
    return Date.now() - this.#offsetMs;
  }
}
