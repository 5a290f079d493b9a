/** Where the nodes and arrows of a graph go: asks a worker, made when it is first needed. */

const SIZES = {
  // width and height by what is drawn
  step: [126, 42],
  small: [106, 40], // where the steps run downwards
  told: [178, 28],
  silent: [162, 24],
  start: [14, 14],
};

let worker = null;
let asked = 0;
const waiting = new Map(); // id → {resolve, reject}
const drawings = new Map(); // key → promise

/**
 * Resolves to `{width, height, nodes: [{name, x, y, width, height}], arrows: [{from, to, fails,
 * points}]}`, in px at the page's base size; kept for good, by `key`. Rejects where the library
 * cannot be had.
 */
export function drawingOf(key, { nodes, arrows }, direction) {
  if (!drawings.has(key)) {
    const drawing = ask({ nodes: nodes.map(sized), arrows, direction });
    drawings.set(key, drawing);
    drawing.catch(() => drawings.delete(key));
  }
  return drawings.get(key);
}

function sized({ name, size }) {
  const [width, height] = SIZES[size];
  return { name, width, height };
}

function ask(request) {
  worker ??= begin();
  const id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...request });
  });
}

function begin() {
  const made = new Worker(new URL("./layout-worker.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data }) => {
    waiting.get(data.id)?.resolve(data);
    waiting.delete(data.id);
  };
  made.onerror = () => {
    for (const { reject } of waiting.values()) reject(new Error("the layout cannot be had"));
    waiting.clear();
    made.terminate();
    worker = null;
  };
  return made;
}

/** An arrow's line, bent softly at its corners, with its head; for an SVG path. */
export function lineThrough(points) {
  const [first, ...others] = points;
  const last = others.at(-1);
  let line = `M${at(first)}`;
  for (let index = 0; index < others.length - 1; index++) {
    const corner = others[index];
    const next = others[index + 1];
    const isLast = index === others.length - 2;
    line += `Q${at(corner)} ${at(isLast ? next : middle(corner, next))}`;
  }
  if (others.length === 1) line += `L${at(last)}`;
  return line + head(points.at(-2), last);
}

/** Likewise of an arrow from a node to itself, over its upper edge. */
export function loopOver({ x, y, height }) {
  const top = y - height / 2;
  const [left, right] = [x - 12, x + 12];
  return (
    `M${left} ${top}C${left} ${top - 15} ${right} ${top - 15} ${right} ${top}` +
    head({ x: right + 1, y: top - 8 }, { x: right, y: top })
  );
}

const HEAD_PX = 5;

function head(from, to) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const side = (turn) => ({
    x: to.x - HEAD_PX * Math.cos(angle + turn),
    y: to.y - HEAD_PX * Math.sin(angle + turn),
  });
  return `M${at(side(0.5))}L${at(to)}L${at(side(-0.5))}`;
}

function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

function at({ x, y }) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
