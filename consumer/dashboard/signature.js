/** AWS' Signature Version 4 for a request to API Gateway, by WebCrypto. No DOM. */

const ALGORITHM = "AWS4-HMAC-SHA256";
const SERVICE = "execute-api";

/**
 * The headers with which a request has to be sent, besides those that a browser adds. `credentials`:
 * `{accessKeyId, secretKey, sessionToken}`; `url` without a query.
 * IAM user guide, "Create a signed AWS API request".
 */
export async function signedHeaders(credentials, { method, url, body, region, nowMs }) {
  const { host, pathname } = new URL(url);
  const moment = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${moment.slice(0, 8)}/${region}/${SERVICE}/aws4_request`;
  const sent = {
    "content-type": "application/json",
    "x-amz-date": moment,
    "x-amz-security-token": credentials.sessionToken,
  };
  const signed = { host, ...sent };
  const names = Object.keys(signed).sort();
  const canonical = [
    method,
    pathname.split("/").map(encoded).join("/"), // once more: only S3 takes it as it is
    "",
    ...names.map((name) => `${name}:${signed[name]}`),
    "",
    names.join(";"),
    await hash(body),
  ].join("\n");
  const toSign = [ALGORITHM, moment, scope, await hash(canonical)].join("\n");
  let key = bytes(`AWS4${credentials.secretKey}`);
  for (const step of scope.split("/")) key = await code(key, step);
  const signature = hex(await code(key, toSign));
  const authorization =
    `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, ` +
    `SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return { ...sent, authorization };
}

/** RFC 3986: JavaScript's own leaves five characters that AWS does not. */
function encoded(text) {
  const more = (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replace(/[!'()*]/g, more);
}

function bytes(text) {
  return new TextEncoder().encode(text);
}

async function hash(text) {
  return hex(await crypto.subtle.digest("SHA-256", bytes(text)));
}

async function code(key, text) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, bytes(text));
}

function hex(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
