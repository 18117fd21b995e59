/**
 * An esbuild plugin: descriptions of the data model and of the configuration are for the manual, which is printed from the
 * sources; the gateway's bundle goes without them.
 */
import { readFileSync } from "node:fs";
import { sep } from "node:path";
import ts from "typescript";
import { root } from "./setup.mjs";

/** Which argument of a function is a description, in the files of a folder. */
const DESCRIPTIONS = {
  datamodel: { readOnly: 1, readWrite: 1, writeOnce: 1, counter: 1, argument: 1, command: 1, event: 0 },
  "src/config": { one: 0, text: 0, file: 0, topic: 0, endpointId: 0, bool: 0, number: 0, oneOf: 0, many: 0 },
};

export const withoutDescriptions = {
  name: "without-descriptions",
  setup({ onLoad }) {
    for (const [folder, places] of Object.entries(DESCRIPTIONS)) {
      const prefix = `${root}${sep}${folder}${sep}`;
      onLoad({ filter: /\.ts$/ }, ({ path }) =>
        path.startsWith(prefix) ? { contents: strip(readFileSync(path, "utf8"), places), loader: "ts" } : undefined,
      );
    }
  },
};

function strip(source, places) {
  const file = ts.createSourceFile("source.ts", source, ts.ScriptTarget.Latest, true);
  const cuts = [];
  const cut = (node) => {
    if (node && (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node))) cuts.push([node.getStart(), node.end]);
  };
  const visit = (node) => {
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression))
      cut(node.arguments[places[node.expression.text]]);
    if (ts.isPropertyAssignment(node) && node.name.getText() === "description") cut(node.initializer);
    ts.forEachChild(node, visit);
  };
  visit(file);
  let stripped = source;
  for (const [from, to] of cuts.sort(([a], [b]) => b - a))
    stripped = `${stripped.slice(0, from)}""${stripped.slice(to)}`;
  return stripped;
}
