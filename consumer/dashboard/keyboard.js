/** Keys for those who work without a pointer; they can be switched off. */

const OFF = "statuswire.keys"; // in this browser's storage, where a person switched them off
const TYPED_IN = "input, textarea, select, [contenteditable]";

const $ = (id) => document.getElementById(id);

/** `actions`: key → what it does. Escape works even where the others are off. */
export function listenToKeys(actions, escape) {
  const box = $("keys-on");
  box.checked = stored() !== "off";
  box.addEventListener("change", () => store(box.checked ? "on" : "off"));
  $("keys-open").addEventListener("click", () => $("keys-dialog").showModal());
  $("keys-close").addEventListener("click", () => $("keys-dialog").close());
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      escape(event.target);
      return;
    }
    if (!box.checked || event.target.closest(TYPED_IN)) return;
    if (event.key === "?") $("keys-dialog").showModal();
    else if (event.key in actions) actions[event.key]();
    else return;
    event.preventDefault();
  });
}

/** Storage may be forbidden; then the keys are on. */
function stored() {
  try {
    return localStorage.getItem(OFF);
  } catch {
    return null;
  }
}

function store(value) {
  try {
    localStorage.setItem(OFF, value);
  } catch {
    // for this page alone, then
  }
}
