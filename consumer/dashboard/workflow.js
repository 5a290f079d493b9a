/** The machine's graph: how many executions are where, or the way of the one that is followed. */

import { drawingOf, lineThrough, loopOver } from "./layout.js";
import { START } from "./machine.js";
import { counted, lasting, reasonText, signOf, step, timeOfDay, wordOf } from "./notation.js";
import { write } from "./rows.js";

const SVG = "http://www.w3.org/2000/svg";
const BASE_PX = 14; // the drawing's sizes are for this one; it is scaled by its font
const SIDEWAYS_FROM = 46; // em: narrower, and the steps run downwards
const LARGEST = 1.1;
const SMALLEST = 0.72; // smaller cannot be read; then it scrolls
const SILENT_SHAPES = {
  Choice: "choice",
  Wait: "clock",
  Fail: "cross",
  Pass: "pass",
  Start: "disc",
};

const $ = (id) => document.getElementById(id);

export class Workflow {
  #machine = null; // a Machine
  #name = "";
  #level = "steps";
  #drawn = ""; // the key of what stands there
  #drawing = null;
  #nodes = new Map(); // name → {button, parts…}
  #arrows = []; // {element, from, to}
  #light = null;
  #onPick;
  #broken = "";

  /** `onPick(state)`: a person asks which executions are there. */
  constructor(onPick) {
    this.#onPick = onPick;
    new ResizeObserver(() => this.#fit()).observe($("graph"));
    $("graph-nodes").addEventListener("click", ({ target }) => {
      const state = target.closest("[data-state]")?.dataset.state;
      if (state) this.#onPick(state);
    });
  }

  /** Whose graph, and how much of it; `level` is steps or all. */
  show(name, machine, level) {
    this.#name = name;
    this.#machine = machine;
    this.#level = level;
    this.#fit();
  }

  /**
   * What is lit: `{places, path, picked, nowMs}`. `places` as the board has them; `path` as a
   * timeline has it, or null to show the fleet; `picked` is the state that is asked about.
   */
  light(light) {
    this.#light = light;
    if (!this.#drawing) return;
    $("graph").dataset.shows = light.path ? "run" : "fleet";
    if (light.path) this.#lightRun(light.path);
    else this.#lightFleet(light.places.states);
    for (const [name, { button }] of this.#nodes) {
      button.setAttribute("aria-pressed", String(name !== START && name === light.picked));
    }
  }

  #fit() {
    if (!this.#machine) return;
    const wide = room();
    const isSideways = this.#level === "steps" && wide >= SIDEWAYS_FROM;
    const direction = isSideways ? "LR" : "TB";
    const key = `${this.#name} ${this.#level} ${direction}`;
    if (key === this.#drawn) this.#scale();
    else this.#draw(key, direction);
  }

  async #draw(key, direction) {
    this.#drawn = key;
    const isSteps = this.#level === "steps";
    const { nodes, arrows } = isSteps ? this.#machine.steps() : this.#machine.whole();
    const step = direction === "LR" ? "step" : "small";
    const sized = nodes.map((node) => ({ ...node, size: sizeOf(node, isSteps ? step : null) }));
    try {
      const drawing = await drawingOf(key, { nodes: sized, arrows }, direction);
      if (this.#drawn !== key) return;
      this.#broken = "";
      this.#put(drawing, new Map(sized.map((node) => [node.name, node])));
    } catch (error) {
      this.#broken = `The graph cannot be drawn: ${error.message}.`;
    }
    write($("graph-broken"), this.#broken);
    $("graph-broken").hidden = !this.#broken;
  }

  #put(drawing, nodes) {
    this.#drawing = drawing;
    const { width, height } = drawing;
    $("graph-lines").setAttribute("viewBox", `0 0 ${width} ${height}`);
    const places = new Map(drawing.nodes.map((place) => [place.name, place]));
    this.#arrows = drawing.arrows.map(({ from, to, fails, points }) => {
      const element = document.createElementNS(SVG, "path");
      element.setAttribute("d", points ? lineThrough(points) : loopOver(places.get(from)));
      element.dataset.fails = String(fails);
      return { element, from, to };
    });
    $("graph-lines").replaceChildren(...this.#arrows.map(({ element }) => element));
    this.#nodes.clear();
    $("graph-nodes").replaceChildren(
      ...drawing.nodes.map((place) => this.#node(place, nodes.get(place.name))),
    );
    $("graph-nodes").setAttribute("aria-label", `States of the ${this.#name} machine`);
    this.#scale();
    if (this.#light) this.light(this.#light);
  }

  #node({ name, x, y, width, height }, { type, tells, size }) {
    const item = $("graph-node").content.firstElementChild.cloneNode(true);
    const em = (px) => `${px / BASE_PX}em`;
    item.style.left = em(x - width / 2);
    item.style.top = em(y - height / 2);
    item.style.width = em(width);
    item.style.height = em(height);
    const part = (part) => item.querySelector(`[data-part="${part}"]`);
    const button = part("node");
    button.dataset.state = name;
    button.dataset.size = size;
    button.disabled = tells === null; // nobody was ever heard of from there
    const { shape, tone } = tells
      ? signOf(tells)
      : { shape: SILENT_SHAPES[type] ?? "task", tone: "rest" };
    button.dataset.tone = tone;
    part("shape").setAttribute("href", `#shape-${shape}`);
    write(part("label"), isStep(size) ? wordOf(tells) : name);
    this.#nodes.set(name, {
      button,
      name,
      tells,
      size,
      sub: part("sub"),
      count: part("count"),
      told: part("told"),
    });
    return item;
  }

  #scale() {
    if (!this.#drawing) return;
    const wide = room();
    const natural = this.#drawing.width / BASE_PX;
    const scale = Math.min(LARGEST, Math.max(SMALLEST, wide / natural));
    $("graph-sheet").style.fontSize = `${scale.toFixed(3)}rem`;
    $("graph-sheet").style.width = `${natural}em`;
    $("graph-sheet").style.height = `${this.#drawing.height / BASE_PX}em`;
  }

  #lightFleet(states) {
    for (const node of this.#nodes.values()) {
      const { here = 0, ended = 0 } = states.get(node.name) ?? {};
      const count = here || ended;
      mark(node.button, { at: here > 0 ? "some" : ended > 0 ? "ended" : "none" });
      write(node.sub, isStep(node.size) ? node.name : "");
      write(node.count, count ? compact(count) : "");
      node.count.ariaHidden = null;
      tell(node, node.tells ? crowdOf(here, ended) : "");
    }
    for (const { element } of this.#arrows) mark(element, { way: "none" });
  }

  #lightRun(path) {
    const visits = new Map(path.visits.map((visit) => [visit.state, visit]));
    const isAll = this.#level === "all";
    const { lit, broken } = this.#wayOf(path);
    const maybe = new Set(isAll && !path.ended ? this.#machine.silentAfter(path.at) : []);
    const suspects = new Set(isAll && broken ? this.#machine.suspects(...broken) : []);
    for (const node of this.#nodes.values()) {
      const { name } = node;
      const visit = visits.get(name);
      const at = this.#placeOf(name, path, { visit, isLit: lit.nodes.has(name), maybe, suspects });
      mark(node.button, { at });
      const since =
        visit &&
        (visit.sinceStartMs === 0
          ? timeOfDay(visit.time, this.#light.nowMs)
          : step(visit.sinceStartMs));
      write(node.sub, since || (isStep(node.size) ? name : ""));
      write(node.count, at === "broke" || at === "suspect" ? "✕" : "");
      node.count.ariaHidden = "true";
      tell(node, told(name, at, visit, path));
    }
    for (const { element, from, to } of this.#arrows) {
      const key = `${from}>${to}`;
      mark(element, {
        way: lit.broken.has(key) ? "broken" : lit.arrows.has(key) ? "taken" : "other",
      });
    }
  }

  #placeOf(name, path, { visit, isLit, maybe, suspects }) {
    const isLast = name === path.at && name !== START;
    if (isLast && path.ended === null) return "now";
    if (isLast && path.ended === "SUCCEEDED") return "done";
    if (path.brokeAfter === name && name !== START) return "broke";
    if (isLast && visit?.status === path.ended) return "failed";
    if (suspects.has(name)) return "suspect";
    if (visit) return "was";
    if (maybe.has(name)) return "maybe";
    return isLit ? "passed" : "other";
  }

  /** The nodes and arrows between what it told; the last piece apart, where it failed. */
  #wayOf(path) {
    const lit = { nodes: new Set(), arrows: new Set(), broken: new Set() };
    const stops = [START, ...path.visits.map(({ state }) => state)];
    let broken = null;
    for (let index = 1; index < stops.length; index++) {
      const [from, to] = [stops[index - 1], stops[index]];
      const isBroken = path.brokeAfter !== null && path.visits[index - 1].status === path.ended;
      if (isBroken) broken = [from, to];
      const way = this.#level === "all" ? this.#machine.way(from, to) : [from, to];
      this.#lightWay(way ?? [], isBroken ? lit.broken : lit.arrows, lit.nodes);
    }
    const isTold = path.ended && path.at;
    if (this.#level === "all" && isTold && broken === null)
      this.#lightEnd(path.at, lit.arrows, lit.nodes);
    if (this.#level === "all" && broken) this.#lightEnd(path.at, lit.broken, lit.nodes);
    return { lit, broken };
  }

  #lightWay(way, arrows, nodes) {
    for (const [index, name] of way.entries()) {
      nodes.add(name);
      if (index > 0) arrows.add(`${way[index - 1]}>${name}`);
    }
  }

  #lightEnd(last, arrows, nodes) {
    const [next] = this.#machine.state(last)?.next ?? [];
    if (next) this.#lightWay([last, next.to], arrows, nodes);
  }
}

function sizeOf({ name, tells }, step) {
  if (name === START) return "start";
  if (step) return step;
  return tells ? "told" : "silent";
}

function isStep(size) {
  return size === "step" || size === "small";
}

const TOLD = {
  now: "the execution was last heard from here",
  done: "the execution succeeded here",
  failed: "the execution told its failure here",
  broke: "the execution failed after this step",
  suspect: "the execution may have failed here",
  maybe: "the execution may be here",
  passed: "the execution passed here",
  was: "the execution was here",
  other: "",
};

/** What the number on a node counts, read after it. */
function crowdOf(here, ended) {
  const done = `${counted(ended, "execution")} ended here`;
  if (here === 0) return ended ? done.replace(/^\S+ /, "") : "no execution is here";
  return (here === 1 ? "execution is here" : "executions are here") + (ended ? `, ${done}` : "");
}

function told(name, at, visit, path) {
  const after = visit ? `, ${lasting(visit.sinceStartMs)} after its first step` : "";
  const why =
    (at === "failed" || at === "broke") && path.reason ? `: ${reasonText(path.reason)}` : "";
  const what = TOLD[at] && `${TOLD[at]}${after}${why}`.slice(0, 500);
  return visit ? `${name}, ${what}` : what;
}

/** For who listens, behind what is seen on the node; and for a pointer that rests on it. */
function tell({ button, name, told }, what) {
  write(told, name === START ? "Start" : what);
  const title = [name, what].filter(Boolean).join(": ");
  if (button.title !== title && name !== START) button.title = title;
}

function mark(element, marks) {
  for (const [name, value] of Object.entries(marks)) {
    if (element.dataset[name] !== value) element.dataset[name] = value;
  }
}

function compact(count) {
  return count < 10_000 ? String(count) : `${Math.round(count / 1000)}k`;
}

/** How wide a drawing may be, in rem. */
function room() {
  const { paddingLeft, paddingRight } = getComputedStyle($("graph"));
  const px = $("graph").clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  return px / parseFloat(getComputedStyle(document.documentElement).fontSize);
}
