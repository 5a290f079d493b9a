/** The REST API, as this page uses it: asks for a run and says in one line what was answered. */

import { Refused } from "./cognito.js";

const ANSWER_WITHIN_MS = 35_000; // API Gateway gives up after 29 s by default
const TEXT_SHOWN_CHARS = 240;
const ROUTES = { express: "/express-instance", standard: "/standard-instance" };

/**
 * Asks `machine` to `action` an instance, under a name: sent again, a Standard run of that name
 * is begun once. Resolves to `{ok, text, isOpen}`; never rejects. `isOpen`: nobody knows whether
 * it was done. `send` is as `fetch`, for whoever is allowed to.
 */
export async function order(send, restUrl, { machine, instanceId, action, name }) {
  try {
    const response = await send(restUrl + ROUTES[machine], {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ instance_id: instanceId, action, name }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const body = await response.json().catch(() => null);
    const told = response.ok ? outputLine(body, machine) : errorLine(body);
    const isOpen = response.status >= 500;
    return { ok: response.ok, text: told || `answered ${response.status}`, isOpen };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, text: error.message, isOpen: false };
    const isLate = error.name === "TimeoutError";
    return {
      ok: false,
      text: isLate ? "no answer in time" : "the REST API cannot be reached",
      isOpen: true,
    };
  }
}

/** The millisecond, and 16 bits of chance for two pages in the same one; 80 characters at most. */
export function runName() {
  const [chance] = crypto.getRandomValues(new Uint16Array(1));
  return `dashboard-${Date.now().toString(36)}-${chance.toString(16)}`;
}

function outputLine(output, machine) {
  if (machine === "standard") return "begun";
  const { previous_state: from, state: to, changed } = output ?? {};
  if (changed === false && to) return `no change, it is ${to}`;
  if (from && to) return `${from} → ${to}`;
  return output === null ? "done" : shortened(JSON.stringify(output));
}

function errorLine(body) {
  const { error, message } = body ?? {};
  return shortened([error, message].filter((part) => typeof part === "string").join(": "));
}

function shortened(text) {
  return text.length > TEXT_SHOWN_CHARS ? `${text.slice(0, TEXT_SHOWN_CHARS)}…` : text;
}
