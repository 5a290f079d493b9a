/** A person who has signed in: their tokens, and requests that are signed as theirs. No DOM. */

import { Refused, Unanswered, credentialsFor, refresh, revoke } from "./cognito.js";
import { signedHeaders } from "./signature.js";
import { claimsOf } from "./token.js";

const SPARE_MS = 60_000; // for a request on its way, and for clocks that differ
const ANSWER_WITHIN_MS = 15_000;
const MAY_NOT_WATCH =
  "You may not watch here. An administrator can put you into the group watchers or operators.";

/**
 * All of it is in memory alone, and gone with the page: what a tab stores is written to disk, and
 * read by any script of this origin. Cognito remembers the browser for an hour: then signing in
 * again is one press.
 */
export class Person {
  #config;
  #tokens;
  #nowMs;
  #isStale = false; // what the ID token says of the person's groups may be of yesterday
  #credentials = null;
  #asking = null; // a promise of some: all who ask meanwhile wait for the same

  /** `tokens` as `redeem` has them; `nowMs()` by a clock that AWS agrees with. */
  constructor(config, tokens, nowMs) {
    this.#config = config;
    this.#tokens = tokens;
    this.#nowMs = nowMs;
  }

  get name() {
    const { email, sub } = claimsOf(this.#tokens.idToken);
    return email ?? sub;
  }

  /**
   * As `fetch`, signed, for a text as body. What is refused is asked once more with new rights: an
   * administrator may have given some, or have taken back all that were given before a moment.
   * Throws `Refused`, `Unanswered` where there are none.
   */
  async send(url, init) {
    const response = await this.#send(url, init);
    if (response.status !== 403) return response;
    this.#credentials = null;
    this.#isStale = true;
    return this.#send(url, init);
  }

  /** A token that opens the stream for everything. Throws `Refused`, `Unanswered`. */
  async watchToken(restUrl) {
    let response;
    try {
      response = await this.send(`${restUrl}/watch-tokens`, {
        method: "POST",
        body: JSON.stringify({ watch: ["*"] }),
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      });
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Unanswered("the REST API cannot be reached");
    }
    if (response.status === 403) throw new Refused(MAY_NOT_WATCH);
    const token = (await response.json().catch(() => null))?.token;
    if (!response.ok || !token) throw new Unanswered(`the REST API answered ${response.status}`);
    return token;
  }

  /** What was given to this page is worth nothing from now on, but AWS credentials, which it drops. */
  leave() {
    revoke(this.#config, this.#tokens.refreshToken);
    this.#credentials = null;
  }

  async #send(url, init) {
    const credentials = await this.#rights();
    const { region } = this.#config;
    const { method, body } = init;
    const asked = { method, url, body, region, nowMs: this.#nowMs() };
    return fetch(url, { ...init, headers: await signedHeaders(credentials, asked) });
  }

  async #rights() {
    if (this.#credentials?.endsAtMs - SPARE_MS > this.#nowMs()) return this.#credentials;
    this.#asking ??= this.#ask();
    try {
      this.#credentials = await this.#asking;
    } finally {
      this.#asking = null;
    }
    return this.#credentials;
  }

  async #ask() {
    const { idToken, refreshToken } = this.#tokens;
    const endsAtMs = claimsOf(idToken).exp * 1000;
    if (this.#isStale || !(endsAtMs - SPARE_MS > this.#nowMs())) {
      this.#tokens = await refresh(this.#config, refreshToken);
      this.#isStale = false;
    }
    return credentialsFor(this.#config, this.#tokens.idToken);
  }
}
