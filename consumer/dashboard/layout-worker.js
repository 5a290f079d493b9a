/** Lays a graph out, in a thread of its own: some 50 ms in which the page would stand still. */

import { Graph, layout } from "./vendor/dagre.js";

const GAPS = {
  // between nodes and arrows of one rank, and between two ranks
  LR: { nodesep: 16, edgesep: 9, ranksep: 26 },
  TB: { nodesep: 14, edgesep: 6, ranksep: 26 },
};

onmessage = ({ data: { id, nodes, arrows, direction } }) => {
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, marginx: 4, marginy: 4, ...GAPS[direction] });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { name, width, height } of nodes) graph.setNode(name, { width, height });
  // The usual way is kept straight, the ways to failure bend around it.
  for (const { from, to, fails } of arrows.filter(isBetween))
    graph.setEdge(from, to, { weight: fails ? 1 : 6 });
  layout(graph);
  const { width, height } = graph.graph();
  postMessage({
    id,
    width,
    height,
    nodes: nodes.map(({ name }) => ({ name, ...graph.node(name) })),
    // One that leads back to where it began has no points: it is drawn on its node.
    arrows: arrows.map((arrow) => ({
      ...arrow,
      points: isBetween(arrow) ? graph.edge(arrow.from, arrow.to).points : null,
    })),
  });
};

function isBetween({ from, to }) {
  return from !== to;
}
