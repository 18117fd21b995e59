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
const sources = schemas.map((name) => readFileSync(join(root, "proto", name), "utf8"));
writeFileSync(join(out, "wire-tables.ts"), wireTables(sources));
rmSync(join(out, "google"), { recursive: true, force: true });
