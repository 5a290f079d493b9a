/** Watch tokens: what is pasted, what one says of itself, and the one in use. No DOM. */

const TOKEN = /eyJ[\w-]*\.[\w-]+\.[\w-]+/; // `{"`, in base64url, begins every header
const MAX_TOKEN_CHARS = 4_096; // the server's own bound; a longer one would not fit its header
const PATTERN = /^(\*|(instance|execution|machine):\S+)$/;
const EVERYTHING = ["*"];

/** The token in a pasted text, such as the whole answer of POST /watch-tokens; or null. */
export function tokenIn(text) {
  const token = TOKEN.exec(text)?.[0];
  return token && token.length <= MAX_TOKEN_CHARS ? token : null;
}

/**
 * The token in use and, until the server has accepted it, the one to go back to. In memory alone:
 * what a tab stores is written to disk, to restore it, and read by any script of this origin.
 */
export class Credential {
  #token = null;
  #before = null;
  isAccepted = false;
  watch = EVERYTHING;
  endsAtMs = null;

  get isHeld() {
    return this.#token !== null;
  }

  get token() {
    return this.#token;
  }

  take(token) {
    if (this.isAccepted) this.#before = this.#token;
    this.#hold(token);
    this.isAccepted = false;
  }

  accept() {
    this.#before = null;
    this.isAccepted = true;
  }

  /** Lets go of the token; the one before takes its place. Says whether there was one. */
  refuse() {
    const before = this.#before;
    this.#before = null;
    this.isAccepted = before !== null;
    if (before === null) this.#token = null;
    else this.#hold(before);
    return before !== null;
  }

  #hold(token) {
    this.#token = token;
    const claims = claimsOf(token);
    // How the claim is called is a setting of the server's.
    const watch = Object.values(claims).find(arePatterns) ?? EVERYTHING;
    this.watch = watch.includes("*") ? EVERYTHING : watch;
    const endsAtMs = new Date(claims.exp * 1000).getTime();
    this.endsAtMs = Number.isNaN(endsAtMs) ? null : endsAtMs;
  }
}

function arePatterns(claim) {
  return Array.isArray(claim) && claim.length > 0 && claim.every((each) => PATTERN.test(each));
}

/** Unverified: good enough for what to ask for and when to warn; the server decides. */
export function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {}; // an opaque one: the server may be able to read it
  }
}
