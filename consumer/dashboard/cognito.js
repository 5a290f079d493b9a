/** What the page asks of Cognito: tokens for a code, AWS credentials for a token. No DOM. */

import { claimsOf } from "./token.js";

const WITHIN_MS = 15_000;
const NO_GROUP =
  "You are in no group here, so you may not even watch. An administrator can put you into watchers or operators.";
const ENDED = "You have been signed out, or it is too long ago. Sign in again.";
const USED = "That sign-in took too long, or was used before. Sign in again.";
const TELL = "Tell whoever runs this: the settings of the sign-in do not fit its user pool.";

/** A person cannot go on like this; the message says what to do. */
export class Refused extends Error {
  name = "Refused";
}

/** Cognito did not answer, or not as it should: to try again may help. */
export class Unanswered extends Error {
  name = "Unanswered";
}

/** `{idToken, refreshToken}` for the code of a journey. Throws `Refused`, `Unanswered`. */
export async function redeem(config, { code, verifier }, redirectUri) {
  const fields = { code, code_verifier: verifier, redirect_uri: redirectUri };
  return ask(config, { grant_type: "authorization_code", ...fields }, USED);
}

/** Likewise for a refresh token, which is good once: the answer has the next one. */
export async function refresh(config, refreshToken) {
  const fields = { grant_type: "refresh_token", refresh_token: refreshToken };
  const fresh = await ask(config, fields, ENDED);
  return { ...fresh, refreshToken: fresh.refreshToken ?? refreshToken };
}

/** Makes a refresh token and all that came of it worthless. That it arrives is not waited for: the
 *  page is about to be left, and nothing tells that Cognito lets a page read the answer. */
export function revoke({ url, client_id }, refreshToken) {
  const body = new URLSearchParams({ token: refreshToken, client_id });
  fetch(`${url}/oauth2/revoke`, { method: "POST", body, mode: "no-cors", keepalive: true }).catch(
    () => {},
  );
}

/** Where Cognito forgets this browser; it then leads back. */
export function signOutUrl({ url, client_id }) {
  return `${url}/logout?${new URLSearchParams({ client_id, logout_uri: `${location.origin}/` })}`;
}

/**
 * AWS credentials of the role of a person's group, `{accessKeyId, secretKey, sessionToken,
 * endsAtMs}`. Throws `Refused`, `Unanswered`. Cognito developer guide, "Identity pools
 * authentication flow", the enhanced one: both calls are signed by nobody.
 */
export async function credentialsFor(config, idToken) {
  const { region, user_pool, identity_pool } = config;
  if (!claimsOf(idToken)["cognito:groups"]?.length) throw new Refused(NO_GROUP);
  const Logins = { [`cognito-idp.${region}.amazonaws.com/${user_pool}`]: idToken };
  const { IdentityId } = await call(config, "GetId", { IdentityPoolId: identity_pool, Logins });
  const { Credentials } = await call(config, "GetCredentialsForIdentity", { IdentityId, Logins });
  return {
    accessKeyId: Credentials.AccessKeyId,
    secretKey: Credentials.SecretKey,
    sessionToken: Credentials.SessionToken,
    endsAtMs: Credentials.Expiration * 1000,
  };
}

async function ask(config, fields, whyNot) {
  const { url, client_id } = config;
  const { isOk, told } = await post(`${url}/oauth2/token`, {
    body: new URLSearchParams({ ...fields, client_id }),
  });
  if (!isOk && told.error === "invalid_grant") throw new Refused(whyNot);
  if (!isOk) throw new Refused(`Cognito does not let this page in (${told.error}). ${TELL}`);
  expectOurs(config, told.id_token);
  return { idToken: told.id_token, refreshToken: told.refresh_token };
}

/** The token comes from Cognito itself, over TLS; whether it is for us is still ours to see
 *  (OpenID Connect Core, section 3.1.3.7). */
function expectOurs({ user_pool, client_id }, idToken) {
  const { iss, aud, token_use } = claimsOf(idToken ?? "");
  const isOurs = String(iss).endsWith(`/${user_pool}`) && aud === client_id && token_use === "id";
  if (!isOurs) throw new Refused(`That token is of another user pool. ${TELL}`);
}

async function call({ identity_url }, operation, fields) {
  const { isOk, told } = await post(`${identity_url}/`, {
    body: JSON.stringify(fields),
    headers: {
      "Content-Type": "application/x-amz-json-1.1",
      "X-Amz-Target": `AWSCognitoIdentityService.${operation}`,
    },
  });
  if (isOk) return told;
  const code = String(told.__type).split("#").at(-1);
  if (code === "TooManyRequestsException") throw new Unanswered("Cognito is asked too much");
  if (code === "NotAuthorizedException") throw new Refused(ENDED);
  throw new Refused(`Cognito gives you no rights here (${code}). ${TELL}`);
}

async function post(url, options) {
  let response;
  try {
    const signal = AbortSignal.timeout(WITHIN_MS);
    response = await fetch(url, { method: "POST", signal, ...options });
  } catch {
    throw new Unanswered("Cognito cannot be reached");
  }
  const told = await response.json().catch(() => null);
  if (told === null || response.status >= 500) throw new Unanswered("Cognito fails");
  return { isOk: response.ok, told };
}
