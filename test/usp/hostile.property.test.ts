/** Whatever arrives, the agent lives, and still serves the next one. */
import fc from "fast-check";
import { encodeMsgRecord, requestMsg, type RequestType } from "../../src/usp/codec.ts";
import { addRow, AGENT_ID, buildWorld, get, type World } from "./support.ts";

let world: World;

beforeAll(async () => {
  world = await buildWorld();
  addRow(world.tree, "Device.House.Room.", { Name: "a" });
});
afterAll(() => world.stop());

const envelope = { version: "1.4", fromId: "self::admin", toId: AGENT_ID };

const part = fc.constantFrom(
  ...'Device House Room Chair Lamp LocalAgent Subscription Controller 1 2 * [Name=="a"] [Floor>0] [x] Beside+ Name Warm Ping() Wait() Rang! {i}'.split(
    " ",
  ),
);
const path = fc.oneof(
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
const request: fc.Arbitrary<RequestType> = fc.oneof(
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

const isAlive = async () => expect(await world.admin.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });

test("every request is answered, never with an internal error", async () => {
  await fc.assert(
    fc.asyncProperty(request, async (asked) => {
      const answer = await world.admin.ask(asked);
      expect(["response", "error"]).toContain(answer.kind);
      if (answer.kind === "error") expect([7003, 7000]).not.toContain(answer.error.errCode);
    }),
    { numRuns: 600 },
  );
  await isAlive();
});

test("bytes that were a Record are refused or answered", async () => {
  await fc.assert(
    fc.asyncProperty(
      request,
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(400),
      async (asked, changes, cut) => {
        const bytes = encodeMsgRecord(envelope, requestMsg("x", asked)).slice();
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        world.admin.send(cut < bytes.length && cut % 3 === 0 ? bytes.subarray(0, cut) : bytes);
        if (cut % 16 === 0) await isAlive();
      },
    ),
    { numRuns: 600 },
  );
  await isAlive();
});

test("a Record of megabytes is told off, and the next one served", async () => {
  world.admin.send(encodeMsgRecord(envelope, requestMsg("big", get(["x".repeat(2_000_000)]))));
  await isAlive();
});
