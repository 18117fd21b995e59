/** The same schemas read by an independent implementation, protobufjs, and messages made at random from them. */
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";

const root = new protobuf.Root();
for (const name of ["usp-record", "usp-msg"]) {
  protobuf.parse(readFileSync(join(__dirname, "../../proto", `${name}.proto`), "utf8"), root, { keepCase: true });
}
root.resolveAll();

export const PeerRecord = root.lookupType("usp_record.Record");
export const PeerMsg = root.lookupType("usp.Msg");

export type Plain = { [name: string]: unknown };

/** Bytes of a message given by the schema's own field names. */
export function peerEncode(type: protobuf.Type, message: Plain): Uint8Array {
  return type.encode(type.fromObject(message)).finish();
}

/** All fields by the schema's own names, defaults filled in, enums as numbers, 64-bit numbers as text. */
export function peerDecode(type: protobuf.Type, bytes: Uint8Array): Plain {
  return type.toObject(type.decode(bytes), { longs: String, enums: Number, bytes: Array, defaults: true });
}

export function namesOf(oneof: string, type: string): string[] {
  return root.lookupType(type).oneofs[oneof]?.oneof ?? [];
}

/** A complete message of the type: exactly one member of each oneof, every single message present. */
export function anyMessage(type: protobuf.Type): fc.Arbitrary<Plain> {
  const single: { [name: string]: fc.Arbitrary<unknown> } = {};
  for (const field of type.fieldsArray) if (!field.partOf) single[field.name] = anyField(field);
  const parts = type.oneofsArray.map((oneof) =>
    fc.oneof(...oneof.fieldsArray.map((field) => fc.record({ [field.name]: anyField(field) }))),
  );
  return fc.tuple(fc.record(single), ...parts).map((all) => Object.assign({}, ...all) as Plain);
}

function anyField(field: protobuf.Field): fc.Arbitrary<unknown> {
  if (field instanceof protobuf.MapField) {
    return fc.dictionary(
      text.filter((key) => key !== "__proto__"),
      text,
      { maxKeys: 3, noNullPrototype: true },
    );
  }
  const one = field.resolvedType instanceof protobuf.Type ? anyMessage(field.resolvedType) : anyScalar(field);
  return field.repeated ? fc.array(one, { maxLength: 3 }) : one;
}

const text = fc.string({ unit: "grapheme", maxLength: 60 });

function anyScalar(field: protobuf.Field): fc.Arbitrary<unknown> {
  if (field.resolvedType instanceof protobuf.Enum) return fc.constantFrom(...Object.values(field.resolvedType.values));
  switch (field.type) {
    case "string":
      return /^(msg_id|version|to_id|from_id)$/.test(field.name) ? text.filter((value) => value !== "") : text;
    case "bytes":
      return fc.uint8Array({ maxLength: 200 });
    case "bool":
      return fc.boolean();
    case "fixed32":
      return fc.nat({ max: 0xffffffff });
    case "uint64":
      return fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String);
    default:
      throw new Error(`${field.fullName}: no values known for ${field.type}`);
  }
}
