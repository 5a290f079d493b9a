/** Asks for a token where the server does, and tells what the one in use shows, and until when. */

import { writeMoment } from "./panels.js";
import { write } from "./rows.js";
import { tokenIn } from "./token.js";

const ENDING_MS = 120_000; // enough to get a new one
const ENDING = "The token ends in less than 2 minutes. A new one keeps this connection open.";
const NO_TOKEN =
  "This is no token, or too long: one begins with eyJ and has three parts with dots between.";

const $ = (id) => document.getElementById(id);

export class Admission {
  #present;
  #endsAtMs = null;
  #isLocked = false;
  #isLetIn = false; // with a token
  #isAsking = false; // with one that nobody has judged yet

  /** `present(token)` is called with what the viewer pastes. */
  constructor(present) {
    this.#present = present;
    $("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    $("token-dialog").addEventListener("close", () => ($("token-field").value = ""));
    $("token-later").addEventListener("click", () => $("token-dialog").close());
    $("token-new").addEventListener("click", () => this.#ask(""));
  }

  /** The stream's state; see there. */
  connection({ name, why }) {
    this.#isLocked = name === "locked";
    if (this.#isLocked) {
      const isRefusal = this.#isAsking || this.#isLetIn;
      this.#isAsking = false;
      this.#show(null);
      this.#ask(isRefusal ? why : "", isRefusal);
    } else if (this.#isAsking && why) {
      this.#tell(`Not answered yet: ${why}.`);
    }
  }

  /** The server lets us in, with this `{watch, endsAtMs}`, or without a token (null). */
  granted(grant) {
    this.#show(grant);
    $("token").hidden = grant === null;
    if (this.#isAsking) $("token-dialog").close();
    this.#isAsking = false;
  }

  /** A newer token was refused; the one before is still in use. */
  refused(why) {
    this.#isAsking = false;
    this.#ask(`${why}; the one before is still in use`, true);
  }

  /** To be called every second or so. */
  tick(nowMs) {
    const isEnding = this.#endsAtMs !== null && this.#endsAtMs - nowMs <= ENDING_MS;
    $("token").dataset.ending = String(isEnding);
    write($("token-warning"), isEnding ? ENDING : "");
  }

  #submit() {
    const token = tokenIn($("token-field").value);
    $("token-field").value = "";
    if (token === null) {
      this.#tell(NO_TOKEN, true);
      return;
    }
    this.#isAsking = true;
    this.#tell("Asking the server …");
    this.#present(token);
  }

  #ask(why, isRefusal = false) {
    write($("token-title"), this.#isLocked ? this.#locked() : "Use a new token");
    this.#tell(why ? `${why[0].toUpperCase()}${why.slice(1)}.` : "", isRefusal);
    if (!$("token-dialog").open) $("token-dialog").showModal();
    $(isSignInOffered() ? "sign-in-here" : "token-field").focus();
  }

  #locked() {
    return isSignInOffered() ? "Sign in to watch" : "This server asks for a token";
  }

  #tell(text, isRefusal = false) {
    write($("token-answer"), text);
    $("token-answer").dataset.ok = String(!isRefusal);
    $("token-field").setAttribute("aria-invalid", String(isRefusal));
    if (isRefusal) $("token-field").focus();
  }

  #show(grant) {
    $("token").hidden = false;
    this.#isLetIn = grant !== null;
    this.#endsAtMs = grant?.endsAtMs ?? null;
    $("token-told").hidden = this.#endsAtMs === null;
    const ends = this.#endsAtMs === null ? null : new Date(this.#endsAtMs).toISOString();
    writeMoment($("token-ends"), ends);
    const isPart = grant !== null && !grant.watch.includes("*");
    write($("token-watch"), isPart ? `It shows ${grant.watch.join(", ")} and nothing else.` : "");
    write($("token-new"), grant === null ? "Enter a token" : "New token");
    this.tick(Date.now());
  }
}

function isSignInOffered() {
  return !$("sign-in-offer").hidden;
}
