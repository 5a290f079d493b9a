/** Asks before an instance is started or stopped, and shows what was answered. */

import { wordOf } from "./notation.js";
import { order, runName } from "./orders.js";
import { write } from "./rows.js";

const VERBS = {
  start: { word: "Start", doing: "Starting …" },
  stop: { word: "Stop", doing: "Stopping …" },
};

const $ = (id) => document.getElementById(id);

export class Confirmation {
  #asked = null; // {restUrl, instance, action, name}
  #owner;

  /**
   * Tells its owner, by these methods: `begun(instanceId, name)` when it is sent,
   * `answered(instanceId, {ok, text})` with one line. By its `send` it asks.
   */
  constructor(owner) {
    this.#owner = owner;
    $("order-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("order-cancel").addEventListener("click", () => $("order-dialog").close());
    $("order-dialog").addEventListener("close", () => (this.#asked = null));
  }

  /** The name is made once: who sends the same order again begins no second Standard run. */
  ask(restUrl, instance, action) {
    const { id, name, status } = instance;
    this.#asked = { restUrl, instance, action, name: runName() };
    const { word } = VERBS[action];
    write($("order-title"), `${word} ${name || id}?`);
    write($("order-about"), `${name ? `${id} is` : "It is"} ${wordOf(status)}.`);
    write($("order-name"), this.#asked.name);
    write($("order-go"), word);
    $("order-go").dataset.action = action;
    this.#tell("");
    this.#setBusy(false);
    $("order-dialog").showModal();
  }

  async #send() {
    const asked = this.#asked;
    if (!asked || $("order-go").disabled) return;
    const { restUrl, instance, action, name } = asked;
    const machine = new FormData($("order-form")).get("machine");
    this.#setBusy(true, VERBS[action].doing);
    this.#owner.begun(instance.id, name);
    const { send } = this.#owner;
    const answer = await order(send, restUrl, { machine, instanceId: instance.id, action, name });
    const text = `${action} ${instance.name || instance.id}: ${answer.text}`;
    this.#owner.answered(instance.id, { ok: answer.ok, text });
    if (this.#asked !== asked) return; // closed meanwhile; the page shows the answer
    if (answer.ok) $("order-dialog").close();
    else this.#refused(answer, action);
  }

  #refused({ text, isOpen }, action) {
    const again = isOpen
      ? ` Whether it was done is not known; to ${action} again does no harm.`
      : "";
    this.#tell(`${text[0].toUpperCase()}${text.slice(1)}.${again}`);
    this.#setBusy(false, "Try again");
    $("order-go").focus();
  }

  #tell(text) {
    write($("order-answer"), text.replace(/([.!?…])\.$/, "$1").replace(/\.\. /, ". "));
  }

  #setBusy(isBusy, word) {
    $("order-go").disabled = isBusy;
    if (word) write($("order-go"), word);
  }
}
