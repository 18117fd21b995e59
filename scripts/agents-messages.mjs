/**
 * An esbuild plugin: of the messages on the wire an agent writes some and reads others. What it never writes is not
 * carried, and what it never reads (answers, that is, but for those to what it asks itself) is skipped whole, as a reader
 * skips fields that it does not know. The operator's tools, which are controllers, carry all.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { root } from "./setup.mjs";

/** With all messages nested in them. */
const NEVER_WRITTEN =
  /^(?:Get|GetSupportedDM|GetInstances|GetSupportedProtocol|Set|Set_.*|Add|Add_.*|Delete|Operate|Operate_.*|NotifyResp|RegisterResp|RegisterResp_.*|DeregisterResp|DeregisterResp_.*)$/;
const NEVER_READ =
  /^(?:GetResp|GetSupportedDMResp|GetInstancesResp|GetSupportedProtocolResp|SetResp|AddResp|DeleteResp|OperateResp|Notify)(?:_.*)?$/;

export const agentsMessages = {
  name: "agents-messages",
  setup({ onLoad }) {
    const path = join(root, "proto/generated/usp-msg.ts");
    onLoad({ filter: /usp-msg\.ts$/ }, (args) =>
      args.path === path ? { contents: prune(readFileSync(path, "utf8")), loader: "ts" } : undefined,
    );
  },
};

function prune(source) {
  const file = ts.createSourceFile("usp-msg.ts", source, ts.ScriptTarget.Latest, true);
  const edits = [];
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    const [{ name, initializer }] = statement.declarationList.declarations;
    if (!initializer || !ts.isObjectLiteralExpression(initializer)) continue;
    for (const method of initializer.properties) {
      if (!ts.isMethodDeclaration(method)) continue;
      const [message, direction] = [name.getText(), method.name.getText()];
      if (direction === "encode" && NEVER_WRITTEN.test(message)) edits.push([method.body, "{ return writer!; }"]);
      if (direction === "decode" && NEVER_READ.test(message))
        edits.push([method.body, `{ if (input instanceof BinaryReader) input.pos += length!; return {} as any; }`]);
    }
  }
  if (edits.length === 0) throw new Error("proto/generated/usp-msg.ts looks otherwise than expected");
  let pruned = source;
  for (const [body, text] of edits.sort(([a], [b]) => b.pos - a.pos))
    pruned = `${pruned.slice(0, body.getStart())}${text}${pruned.slice(body.end)}`;
  return pruned;
}
