/** Requests of every kind about the test model: some that make sense, most that do not. */
import fc from "fast-check";
import type { RequestType } from "../../src/usp/codec.ts";

const part = fc.constantFrom(
  ...'Device House Room Chair Lamp LocalAgent Subscription Controller 1 2 * [Name=="a"] [Floor>0] [x] Beside+ Name Warm Ping() Wait() Rang! {i}'.split(
    " ",
  ),
);
export const path = fc.oneof(
  fc.array(part, { maxLength: 6 }).map((parts) => ["Device", ...parts].join(".")),
  fc.array(part, { maxLength: 6 }).map((parts) => `${["Device", ...parts].join(".")}.`),
  fc.string({ maxLength: 20 }),
);
const text = fc.oneof(
  fc.string({ maxLength: 10 }),
  fc.constantFrom("", "true", "7", "Device.House.Room.1", "__proto__"),
);
const name = fc.oneof(part, fc.constantFrom("__proto__", "constructor", "Lamp.Colour", "..", "", "toString"), text);
const settings = fc.array(fc.record({ param: name, value: text, required: fc.boolean() }), { maxLength: 3 });
export const request: fc.Arbitrary<RequestType> = fc.oneof(
  fc
    .record({ paramPaths: fc.array(path, { maxLength: 3 }), maxDepth: fc.nat(5) })
    .map((value) => ({ $case: "get" as const, value })),
  fc
    .record({ objPaths: fc.array(path, { maxLength: 3 }), firstLevelOnly: fc.boolean() })
    .map((value) => ({ $case: "getInstances" as const, value })),
  fc
    .record({
      objPaths: fc.array(path, { maxLength: 3 }),
      firstLevelOnly: fc.boolean(),
      returnCommands: fc.boolean(),
      returnEvents: fc.boolean(),
      returnParams: fc.boolean(),
      returnUniqueKeySets: fc.boolean(),
    })
    .map((value) => ({ $case: "getSupportedDm" as const, value })),
  fc
    .record({
      allowPartial: fc.boolean(),
      updateObjs: fc.array(fc.record({ objPath: path, paramSettings: settings }), { maxLength: 2 }),
    })
    .map((value) => ({ $case: "set" as const, value })),
  fc
    .record({
      allowPartial: fc.boolean(),
      createObjs: fc.array(fc.record({ objPath: path, paramSettings: settings }), { maxLength: 2 }),
    })
    .map((value) => ({ $case: "add" as const, value })),
  fc
    .record({ allowPartial: fc.boolean(), objPaths: fc.array(path, { maxLength: 3 }) })
    .map((value) => ({ $case: "delete" as const, value })),
  fc
    .record({
      command: path,
      commandKey: text,
      sendResp: fc.constant(true),
      inputArgs: fc.array(fc.tuple(name, text), { maxLength: 3 }),
    })
    .map(({ inputArgs, ...rest }) => ({
      $case: "operate" as const,
      value: { ...rest, inputArgs: new Map(inputArgs) },
    })),
);
