/** Signing in and out on the page, and a watch token for whoever is in, renewed before it ends. */

import { Refused, Unanswered, redeem, signOutUrl } from "./cognito.js";
import { arrive, backUrl, depart } from "./journey.js";
import { Person } from "./person.js";
import { write } from "./rows.js";

const RENEWED_AFTER = 0.75; // of a token's life, as everywhere
const RENEWED_AFTER_AT_LEAST_MS = 1_000;
const TRY_AGAIN_MS = 15_000;
const MAX_TIMER_MS = 2 ** 31 - 1; // a longer one would fire at once
const INSECURE = "Signing in needs https: the browser keeps its cryptography from this address.";

const $ = (id) => document.getElementById(id);

export class SignIn {
  #owner;
  #arrived;
  #config = null;
  #restUrl = null;
  #person = null;
  #isSeenTo = false; // somebody comes back, or is told why not
  #isLocked = false;
  #isOnTrial = false; // a token was presented, and nothing said of it
  #timer;

  /** Uses of its owner `present(token)`, and `nowMs()`, by the server's clock. */
  constructor(owner) {
    this.#owner = owner;
    this.#arrived = arrive();
    for (const id of ["sign-in", "sign-in-here"]) {
      $(id).addEventListener("click", () => this.#depart());
    }
    $("sign-out").addEventListener("click", () => this.#leave());
  }

  get isIn() {
    return this.#person !== null;
  }

  /** What /config.json says; people sign in where it has a `sign_in`. */
  offer({ sign_in, rest_url }) {
    this.#config = sign_in ?? null;
    this.#restUrl = rest_url;
    $("person").hidden = $("sign-in-offer").hidden = this.#config === null;
    const arrived = this.#arrived;
    if (this.#config === null || arrived === null) return;
    this.#arrived = null;
    this.#isSeenTo = true;
    if (arrived.problem) this.#tell(arrived.problem);
    else this.#arrive(arrived);
  }

  /** The stream's state; see there. */
  connection({ name }) {
    this.#isLocked = name === "locked";
  }

  /** The stream asks for a token. Whether that is seen to here. */
  unlock(why) {
    if (this.#person === null) return this.#isSeenTo;
    if (this.#isOnTrial) {
      this.#isOnTrial = false;
      this.#tell(`The server refused the token that was issued to you (${why}). Tell whoever runs it.`);
      return false;
    }
    this.#renew();
    return true;
  }

  /** The server accepted a token; see the stream. */
  granted(grant) {
    this.#isOnTrial = false;
    if (this.#person === null || grant?.endsAtMs == null) return;
    if ($("token-dialog").open) $("token-dialog").close();
    const lifeMs = grant.endsAtMs - this.#owner.nowMs();
    this.#renewIn(Math.max(RENEWED_AFTER_AT_LEAST_MS, lifeMs * RENEWED_AFTER));
  }

  /** A newer token was refused; the one before is still in use. Whether that is seen to here. */
  refused(why) {
    if (this.#person === null) return false;
    this.#isOnTrial = false;
    this.#tell(`${this.#whose()}. A renewed token was refused (${why}); another is asked for soon.`);
    this.#renewIn(TRY_AGAIN_MS);
    return true;
  }

  /** As `fetch`, as the person; where nobody signs in, as the page. Throws `Refused` besides. */
  send = async (url, init) => {
    if (this.#config === null) return fetch(url, init);
    if (this.#person === null) throw new Refused("sign in first");
    const { name } = this.#person;
    let response;
    try {
      response = await this.#person.send(url, init);
    } catch (error) {
      if (error instanceof Refused) this.#forget(error.message);
      throw error;
    }
    if (response.status !== 403) return response;
    throw new Refused(
      `you may not do this as ${name}. An administrator can put you into the group operators`,
    );
  };

  async #depart() {
    if (!isSecureContext) {
      this.#tell(INSECURE);
      return;
    }
    location.assign(await depart(this.#config, location.search));
  }

  async #arrive(arrived) {
    this.#tell("Signing in …");
    try {
      const tokens = await redeem(this.#config, arrived, backUrl());
      this.#person = new Person(this.#config, tokens, () => this.#owner.nowMs());
      this.#tell(this.#whose());
    } catch (error) {
      this.#tell(sentence(error));
    }
    if (this.#person !== null && this.#isLocked) await this.#renew();
  }

  async #renew() {
    clearTimeout(this.#timer);
    try {
      const token = await this.#person.watchToken(this.#restUrl);
      if (this.#person === null) return;
      this.#tell(this.#whose());
      this.#isOnTrial = true;
      this.#owner.present(token);
    } catch (error) {
      if (error instanceof Refused) this.#forget(error.message);
      else if (error instanceof Unanswered) this.#postpone(error);
      else throw error;
    }
  }

  #postpone(error) {
    const again = `It is asked again in ${TRY_AGAIN_MS / 1000} s.`;
    this.#tell(`${this.#whose()}. No right to watch came: ${error.message}. ${again}`);
    this.#renewIn(TRY_AGAIN_MS);
  }

  #renewIn(waitMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#renew(), Math.min(waitMs, MAX_TIMER_MS));
  }

  #leave() {
    this.#person.leave();
    this.#forget("Signing out …");
    // Who comes back by the browser's button must not find the page as it was.
    addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
    location.assign(signOutUrl(this.#config));
  }

  #forget(why) {
    clearTimeout(this.#timer);
    this.#person = null;
    this.#tell(why);
  }

  #whose() {
    return `Signed in as ${this.#person.name}`;
  }

  #tell(text) {
    write($("person-told"), text);
    $("sign-in").hidden = this.#person !== null;
    $("sign-out").hidden = this.#person === null;
  }
}

function sentence(error) {
  if (error instanceof Refused) return error.message;
  if (error instanceof Unanswered) return `${error.message}. Sign in again.`;
  throw error;
}
