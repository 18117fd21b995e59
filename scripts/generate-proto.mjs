/**
 * Writes proto/generated/ from proto/*.proto: messages by protoc and ts-proto, wire tables by protobufjs.
 * usage: node scripts/generate-proto.mjs [FOLDER]     (default: proto/generated)
 * Needs protoc on the PATH (Debian: apt-get install protobuf-compiler).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { wireTables } from "./wire-tables.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(root, "proto/generated"));
const schemas = ["usp-record.proto", "usp-msg.proto"];

// unions-value and literals make the strictest types; Map because "__proto__" is a legal key of a protobuf map;
// bigint because session ids use all 64 bits.
const options = [
  "oneof=unions-value",
  "useMapType=true",
  "forceLong=bigint",
  "enumsAsLiterals=true",
  "unrecognizedEnum=false",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "esModuleInterop=true",
  "importSuffix=.ts",
  "removeEnumPrefix=false",
  "annotateFilesWithVersion=false",
];

mkdirSync(out, { recursive: true });
execFileSync(
  "protoc",
  [
    `--plugin=protoc-gen-ts_proto=${join(root, "node_modules/.bin/protoc-gen-ts_proto")}`,
    `--proto_path=${join(root, "proto")}`,
    `--ts_proto_out=${out}`,
    `--ts_proto_opt=${options.join(",")}`,
    ...schemas,
  ],
  { stdio: "inherit" },
);
for (const name of schemas) slim(join(out, name.replace(/proto$/, "ts")));
const sources = schemas.map((name) => readFileSync(join(root, "proto", name), "utf8"));
writeFileSync(join(out, "wire-tables.ts"), wireTables(sources));
rmSync(join(out, "google"), { recursive: true, force: true });

/**
 * Takes out what costs a fifth of the code and is done already: the wire check has refused fields of a wrong wire type
 * before anything is decoded, and no message of USP holds itself, so that nothing recurses deeper than the schema.
 */
function slim(file) {
  const text = readFileSync(file, "utf8");
  const slimmed = text
    .replaceAll(
      /\n( +)const previousRecursionDepth = [^]*?\n\1try \{\n([^]*?)\n\1\} finally \{\n[^}]*\n\1\}/g,
      (_, indent, body) => `\n${body.replaceAll(/^ {2}/gm, "")}`,
    )
    .replaceAll(/\n *if \(tag !== \d+\) \{\n *break;\n *\}\n/g, "");
  if (/RecursionDepth|tag !== /.test(slimmed)) throw new Error(`ts-proto writes other code than it did: ${file}`);
  writeFileSync(file, slimmed);
}
