/**
 * Whole Records, mutated without end: the gateway's agent with all its objects lives, stays small and serves the next one.
 * Each mutation follows from the seed and its number alone; a failure names both, and `FUZZ_FROM` begins there again.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  encodeMsgRecord,
  encodeRecord,
  recordOf,
  requestMsg,
  responseMsg,
  type RequestType,
} from "../../src/usp/codec.ts";
import { addMany, addOne, AGENT_ID, deletion, get, operation, setMany, setOne, until } from "./support.ts";
import { Gateway, idOf } from "../objects/support.ts";

const SECONDS = Number(process.env["FUZZ_SECONDS"] ?? 60);
const SEED = Number(process.env["FUZZ_SEED"] ?? 369);
const FROM = Number(process.env["FUZZ_FROM"] ?? 0);
/** Records between two looks at whether it lives. */
const BLOCK = 100;
/** More than what is kept for 3 controllers, 64 requests and tables at their bounds. */
const GROWTH_BYTES = 64 << 20;

const WHO = [idOf("Operator"), idOf("Resident"), idOf("Monitor")];
const flags = { returnCommands: true, returnEvents: true, returnParams: true, returnUniqueKeySets: true };
const REQUESTS: readonly RequestType[] = [
  get(["Device.", "Device.X_SPIN.Device.*.Stats.", 'Device.X_SPIN.Device.[PhysAddress=="02:00:00:00:00:01"].Name'], 3),
  get(["Device.LocalAgent.Subscription.[Enable==true&&TimeToLive<5].Recipient+.EndpointID"]),
  { $case: "getInstances", value: { objPaths: ["Device.X_SPIN.Rule.", "Device.LocalAgent."], firstLevelOnly: false } },
  { $case: "getSupportedDm", value: { objPaths: ["Device.X_SPIN.Device.{i}."], firstLevelOnly: false, ...flags } },
  { $case: "getSupportedProtocol", value: { controllerSupportedProtocolVersions: "1.0,1.4" } },
  setOne("Device.X_SPIN.Device.*.", { Name: "phone" }, { allowPartial: true }),
  setMany([
    { objPath: "Device.X_SPIN.Capture.", params: { CounterInterval: "7" } },
    { objPath: "Device.X_SPIN.Rule.1.", params: { Reason: "x", ExpiryDate: "2030-01-01T00:00:00Z" } },
  ]),
  addOne("Device.X_SPIN.Rule.", {
    Action: "Block",
    MACAddressList: "*",
    DestinationList: "192.0.2.0/24,ads.example",
    PortList: "443,8000-8010",
    Enable: "true",
  }),
  addMany([
    {
      objPath: "Device.LocalAgent.Subscription.",
      params: { ID: "a", Enable: "true", NotifType: "ValueChange", ReferenceList: "Device.X_SPIN." },
    },
    {
      objPath: "Device.LocalAgent.Subscription.",
      params: {
        ID: "b",
        NotifType: "Event",
        ReferenceList: "Device.Boot!",
        TriggerAction: "Config",
        TriggerConfigSettings: "Device.X_SPIN.Rule.1.Enable=true",
      },
    },
  ]),
  deletion(["Device.X_SPIN.Rule.*.", "Device.LocalAgent.Subscription.1."], true),
  operation("Device.X_SPIN.Device.*.Block()", { Duration: "60", Reason: "r" }),
  operation("Device.X_SPIN.Query()", { Kind: "Flows", Limit: "5" }, { commandKey: "q" }),
];

const envelope = (fromId: string) => ({ version: "1.4", fromId, toId: AGENT_ID });
const NOTHING = {
  sessionId: 5n,
  sequenceId: 1n,
  expectedId: 1n,
  retransmitId: 0n,
  payloadSarState: 0 as const,
  payloadrecSarState: 0 as const,
};
const CORPUS: readonly Uint8Array[] = WHO.flatMap((fromId) => [
  ...REQUESTS.map((request, i) => encodeMsgRecord(envelope(fromId), requestMsg(`m${i}`, request)).slice()),
  encodeMsgRecord(envelope(fromId), responseMsg("n", { $case: "notifyResp", value: { subscriptionId: "a" } })).slice(),
  encodeRecord(recordOf(envelope(fromId), { $case: "disconnect", value: { reason: "", reasonCode: 7105 } })).slice(),
  encodeRecord(
    recordOf(envelope(fromId), { $case: "sessionContext", value: { ...NOTHING, payload: [Buffer.from("x")] } }),
  ).slice(),
]);

/** Mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const WORDS = [
  "*",
  ".",
  "[",
  "]",
  '"',
  "==",
  "&&",
  "+",
  "#*",
  "{i}",
  "!",
  "()",
  "%22",
  "\0",
  "é",
  "-1",
  "4294967296",
  "Device.",
  "__proto__",
];

/** One to four changes of one Record of the corpus. */
function mutated(number: number): Uint8Array {
  const next = random(SEED * 1_000_003 + number);
  const below = (n: number) => Math.floor(next() * n);
  let bytes = Buffer.from(CORPUS[below(CORPUS.length)] as Uint8Array);
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(bytes.length + 1);
    const length = below(32);
    const part = (insert: Uint8Array, drop: number) =>
      (bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + drop)]));
    switch (below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << below(8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = [0, 0x7f, 0x80, 0xff, below(256)][below(5)] as number;
        break;
      case 2:
        part(Buffer.alloc(0), length);
        break;
      case 3:
        part(bytes.subarray(at, at + length), 0);
        break;
      case 4:
        part(Buffer.from(Array.from({ length }, () => below(256))), 0);
        break;
      case 5:
        bytes = Buffer.from(bytes.subarray(0, at));
        break;
      case 6: {
        const other = CORPUS[below(CORPUS.length)] as Uint8Array;
        part(other.subarray(below(other.length)), bytes.length);
        break;
      }
      case 7: {
        // A text of the same length: what comes through the decoder meets the parsers.
        const word = Buffer.from(WORDS[below(WORDS.length)] as string);
        part(word, word.length);
        break;
      }
    }
  }
  return bytes;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const heap = () => (collect(), process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers);

test(
  `mutated Records for ${SECONDS} s, seed ${SEED}`,
  async () => {
    const strays: unknown[] = [];
    const stray = (error: unknown) => void strays.push(error);
    process.on("unhandledRejection", stray);
    const gateway = await Gateway.start();
    gateway.withTraffic();
    const watchers = [gateway.as("Admin"), gateway.resident];
    const end = performance.now() + SECONDS * 1000;
    let number = FROM;
    let before: number | undefined;
    let answers = 0;
    try {
      while (performance.now() < end) {
        for (const last = number + BLOCK; number < last; number++) {
          const bytes = mutated(number);
          gateway.broker.deliver(bytes, "to/nobody");
          gateway.local.deliver(bytes);
        }
        const alive = watchers.map((watcher) => watcher.get("Device.LocalAgent.EndpointID"));
        const isAlive = () => strays.length > 0 || watchers.every(({ contents }) => contents.length > 0);
        await until(isAlive, `an answer after Record ${number}`);
        if (strays.length > 0) throw strays[0];
        for (const values of await Promise.all(alive))
          expect(values).toEqual({ "Device.LocalAgent.EndpointID": AGENT_ID });
        for (const { published } of [gateway.broker, gateway.local]) {
          for (const { record } of published) expect(internal(record)).toBe(false);
          answers += published.length;
          published.length = 0;
        }
        for (const { contents, records, notifies } of watchers) contents.length = records.length = notifies.length = 0;
        before ??= number - FROM >= 2_000 ? heap() : undefined;
      }
      if (before !== undefined) expect(heap() - before).toBeLessThan(GROWTH_BYTES);
      // Both doors: enough of them were understood to be answered.
      expect(answers).toBeGreaterThan((number - FROM) / 10);
      if (process.env["FUZZ_TALK"]) console.log(number - FROM, answers, before && heap() - before);
    } catch (error) {
      throw new Error(`at Records ${number - BLOCK} to ${number} of seed ${SEED}: ${String((error as Error).stack)}`);
    } finally {
      process.off("unhandledRejection", stray);
      await gateway.stop();
    }
  },
  (SECONDS + 60) * 1000,
);

/** An answer that our own bug made: 7003. */
function internal(record: Uint8Array): boolean {
  return Buffer.from(record).includes("internal error") || Buffer.from(record).includes("the command failed:");
}
