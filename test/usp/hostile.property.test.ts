/** Whatever arrives, the agent lives, and still serves the next one. */
import fc from "fast-check";
import { encodeMsgRecord, requestMsg } from "../../src/usp/codec.ts";
import { request } from "./arbitrary.ts";
import { addRow, AGENT_ID, buildWorld, get, type World } from "./support.ts";

let world: World;

beforeAll(async () => {
  world = await buildWorld();
  addRow(world.tree, "Device.House.Room.", { Name: "a" });
});
afterAll(() => world.stop());

const envelope = { version: "1.4", fromId: "self::admin", toId: AGENT_ID };

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
