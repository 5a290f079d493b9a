/** Start and stop: asks the REST API and says in one line what it answered. */

const ANSWER_WITHIN_MS = 35_000; // API Gateway gives up after 29 s by default
const TEXT_SHOWN_CHARS = 240;

/** Resolves to `{ok, text}`; never rejects. */
export async function order(restUrl, instanceId, action) {
  const about = `${action} ${instanceId}`;
  try {
    const response = await fetch(`${restUrl}/express-instance`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ instance_id: instanceId, action, name: runName() }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const body = await response.json().catch(() => null);
    const told = response.ok ? outputLine(body) : errorLine(body);
    return { ok: response.ok, text: `${about}: ${told || `answered ${response.status}`}` };
  } catch (error) {
    const late = error.name === "TimeoutError";
    const why = late ? "no answer in time" : "the REST API cannot be reached";
    return { ok: false, text: `${about}: ${why}` };
  }
}

/** The millisecond, and 16 bits of chance for two pages in the same one; 80 characters at most. */
function runName() {
  const [chance] = crypto.getRandomValues(new Uint16Array(1));
  return `dashboard-${Date.now().toString(36)}-${chance.toString(16)}`;
}

function outputLine(output) {
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
