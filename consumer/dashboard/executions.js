/** The executions: the newest first, all of them or those in one state of the graph. */

import { EXECUTIONS_KEPT } from "./board.js";
import { counted } from "./notation.js";
import { fillExecution } from "./panels.js";
import { write } from "./rows.js";
import { Windowed } from "./windowed.js";

const $ = (id) => document.getElementById(id);

export class Executions {
  #address;
  #table;

  /** `address` says which. */
  constructor(address) {
    this.#address = address;
    const body = $("executions").tBodies[0];
    this.#table = new Windowed($("executions-scroller"), body, $("execution-row"), fillExecution);
    $("executions-at-clear").addEventListener("click", () =>
      address.set({ at: "" }, { step: true }),
    );
  }

  /** What the board knows; `followed` is the ARN of the one that is looked at, or null. */
  render(board, followed) {
    const at = this.#address.get("at");
    const all = board.executions();
    const shown = at ? all.filter((run) => run.state === at) : all;
    $("executions-scroller").hidden = shown.length === 0;
    $("executions-empty").hidden = all.length > 0;
    $("executions-none").hidden = all.length === 0 || shown.length > 0;
    $("executions-at").hidden = !at;
    write($("executions-at-state"), at);
    this.#table.render(shown, ({ arn }) => arn);
    for (const row of $("executions").tBodies[0].rows) {
      row.setAttribute("aria-current", String(row.dataset.execution === followed));
    }
    write($("executions-tally"), tallyOf(shown));
    $("executions-bound").hidden = board.forgotten === 0;
    write(
      $("executions-bound"),
      `The newest ${EXECUTIONS_KEPT.toLocaleString()} are shown and counted.`,
    );
  }
}

function tallyOf(runs) {
  const [open, succeeded, failed] = [0, 1, 2].map(
    (kind) => runs.filter((run) => kindOf(run) === kind).length,
  );
  const parts = [
    open && `${open.toLocaleString()} under way`,
    succeeded && `${succeeded.toLocaleString()} succeeded`,
    failed && `${failed.toLocaleString()} failed`,
  ];
  return (
    parts.filter(Boolean).join(" · ") || (runs.length ? counted(runs.length, "execution") : "")
  );
}

function kindOf({ terminal, status }) {
  if (!terminal) return 0;
  return status === "SUCCEEDED" ? 1 : 2;
}
