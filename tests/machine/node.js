// One JSON request per line in, one JSON answer per line out: what exists for Node only.
"use strict";

const readline = require("node:readline");
const jsonata = require("jsonata");

const expressions = new Map();

function compile(text) {
  if (!expressions.has(text)) expressions.set(text, jsonata(text));
  return expressions.get(text);
}

// The expression's own frame would hide these; $eval is not in Step Functions.
function clock(now_ms) {
  return { millis: () => now_ms, now: () => new Date(now_ms).toISOString(), eval: undefined };
}

async function evaluate({ texts, variables, now_ms }) {
  const results = [];
  for (const text of texts) {
    try {
      // An undefined value has no member in JSON, a null has.
      const value = await compile(text).evaluate(undefined, { ...variables, ...clock(now_ms) });
      results.push({ value });
    } catch (error) {
      results.push({ problem: error.message });
    }
  }
  return results;
}

// Where the context (`$` or a bare name) is what a path has found, and not the state's.
const INNER = ["predicate", "stages", "group"];

// All names that an expression takes from outside: `x` of $x and $x(), "" and "$" of $ and $$,
// and `x.` of a bare x, which would be a field of the context.
function names(node, found, bound) {
  if (node === null || typeof node !== "object" || node instanceof RegExp) return;
  if (node.type === "variable" && !bound.has(node.value)) found.add(node.value);
  if (node.type === "name") found.add(`${node.value}.`);
  if (node.type === "lambda") bound = new Set([...bound, ...node.arguments.map((a) => a.value)]);
  if (node.type === "block") bound = new Set(bound);
  if (node.type === "bind") bound.add(node.lhs.value);
  const outer = { ...node };
  const inner = INNER.map((field) => node[field]);
  INNER.forEach((field) => delete outer[field]);
  if (node.type === "path") {
    inner.push(node.steps.slice(1));
    outer.steps = node.steps.slice(0, 1);
  }
  for (const value of Object.values(outer)) names(value, found, bound);
  const later = new Set();
  for (const value of inner.flat()) names(value, later, bound);
  for (const name of later) if (name !== "" && !name.endsWith(".")) found.add(name);
}

function compileAll({ texts }) {
  return texts.map((text) => {
    try {
      const found = new Set();
      names(compile(text).ast(), found, new Set());
      return { names: [...found] };
    } catch (error) {
      return { problem: `${error.message} (at ${error.position})` };
    }
  });
}

async function languageService({ text }) {
  const { TextDocument, getLanguageService } = require("amazon-states-language-service");
  const service = getLanguageService({});
  const document = TextDocument.create("file:///definition.asl.json", "json", 1, text);
  const problems = await service.doValidation(document, service.parseJSONDocument(document), {});
  return problems.map((p) => `line ${p.range.start.line + 1}: ${p.message}`);
}

function aslValidator({ text }) {
  const { errors } = require("asl-validator")(JSON.parse(text));
  return errors.map((error) => `${error["Error code"]}: ${error.Message}`);
}

const answers = { evaluate, compile: compileAll, languageService, aslValidator };

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    process.stdout.write(JSON.stringify(await answers[request.do](request)) + "\n");
  }
})();
