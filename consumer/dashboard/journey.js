/** The way to Cognito's pages and back: OAuth 2.0's code flow with PKCE (RFC 7636), and its state. */

const BACK = "/signed-in"; // under this page's own origin; as the app client has it
const KEPT = "statuswire.journey";
const SCOPE = "openid email";

/**
 * The address of Cognito's page for this journey. What only this tab must know waits in
 * sessionStorage, since the page is left: a verifier and a state, of use for one code and once.
 */
export async function depart({ url, client_id }, query) {
  const [verifier, state] = [random(), random()];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  sessionStorage.setItem(KEPT, JSON.stringify({ verifier, state, query }));
  const asked = new URLSearchParams({
    response_type: "code",
    client_id,
    redirect_uri: backUrl(),
    scope: SCOPE,
    state,
    code_challenge: base64url(digest),
    code_challenge_method: "S256",
  });
  return `${url}/oauth2/authorize?${asked}`;
}

/**
 * What came back, taken out of the address before anything else looks at it: `{code, verifier}`,
 * `{problem}` with a sentence, or null where nobody comes from there. Whatever came, what was kept
 * for it is gone.
 */
export function arrive() {
  if (location.pathname !== BACK) return null;
  const given = new URLSearchParams(location.search);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, "", `/${kept?.query ?? ""}`);
  // Somebody else's code would make this page theirs (RFC 6749, section 10.12).
  if (kept === null || given.get("state") !== kept.state) {
    return { problem: "That answer belongs to no sign-in of this tab. Sign in again." };
  }
  const code = given.get("code");
  if (code) return { code, verifier: kept.verifier };
  const why = given.get("error_description") ?? given.get("error") ?? "no code came";
  return { problem: `Signing in was broken off: ${why}. Sign in again.` };
}

export function backUrl() {
  return location.origin + BACK;
}

/** 256 bits of chance, as 43 characters. */
function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
