/** Paints first: the page's modules are asked for once the page itself is seen, and all at once. */

const UNSEEN_MS = 300; // a tab in the background has no frames

let isBegun = false;

function begin() {
  if (isBegun) return;
  isBegun = true;
  document.head.append(document.getElementById("modules").content);
  import("./dashboard.js");
}

requestAnimationFrame(() => setTimeout(begin));
setTimeout(begin, UNSEEN_MS);
