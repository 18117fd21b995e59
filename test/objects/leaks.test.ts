/**
 * What the home says and to whom does not leak: each way on which a value leaves the agent is tried, for every secured
 * parameter that the schema has, by each role without the right to it. Whoever declares another secured parameter finds
 * it tried here, and has to give it a value first.
 */
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryFiles } from "../../src/spin/flow-log/files.ts";
import { FlowLog } from "../../src/spin/flow-log/flow-log.ts";
import type { CaptureRequest, LiveCapture } from "../../src/spin/live-capture.ts";
import { START, WAN } from "../spin/home.ts";
import { get, operation, settle, subscribe, type Peer } from "../usp/support.ts";
import {
  CAMERA,
  Gateway,
  PHONE,
  print,
  ROOT,
  rule,
  run,
  told,
  tryAdd,
  tryDelete,
  trySet,
  type Level,
  type Role,
} from "./support.ts";

/** Parts of texts that nobody without the right may come to see. */
const SECRETS = [
  "secret.example",
  "asked.example",
  "hidden.example",
  "listed.example",
  "198.51.100.",
  "203.0.113.1",
  "2001:db8:5ec2",
];

let gateway: Gateway;
let flowLog: FlowLog;
const captures: CaptureRequest[] = [];
let stopReports: () => Promise<void>;

const liveCapture: LiveCapture = {
  interfaces: new Set(["br-lan"]),
  run: (request) => {
    captures.push(request);
    const visible = request.visible();
    return Promise.resolve({
      status: typeof visible === "string" ? ("Complete" as const) : ("Refused" as const),
      reason: typeof visible === "string" ? "Duration is over" : visible.denied,
      packets: 1,
      bytes: 60,
      lost: 0,
      startTime: START,
      endTime: START,
      location: "https://sink.example/x",
      headersOnly: visible !== "Frames",
    });
  },
};

/** A home in which each secured parameter says something. */
async function start(level: Level, secured: readonly Role[]): Promise<void> {
  const clock = new ManualClock(START);
  flowLog = new FlowLog({ files: memoryFiles(), clock, log: silentLog, bytes: 1_000_000, days: 7 });
  const stop = new AbortController();
  captures.length = 0;
  gateway = await Gateway.start({
    level,
    secured,
    clock,
    flowLog,
    liveCapture,
    before: ({ bulkData }) => {
      const running = bulkData.run(stop.signal);
      stopReports = () => (stop.abort(), running);
    },
  });
  gateway.withTraffic();
  gateway.home.tell({ kind: "query", time: clock.now(), client: "192.0.2.11", name: "asked.example", type: "A" });
  gateway.home.tell({
    kind: "server-name",
    time: clock.now(),
    client: "192.0.2.11",
    address: "198.51.100.8",
    port: 443,
    protocol: 6,
    name: "secret.example",
    ech: false,
  });
  gateway.flows({
    id: 2,
    event: "End",
    from: "192.0.2.11",
    to: "198.51.100.8",
    sourcePort: 40002,
    counters: [1, 100, 2, 300],
  });
  const { resident } = gateway;
  await rule(resident, {
    MACAddressList: PHONE,
    DestinationList: "hidden.example,203.0.113.128/25,2001:db8:5ec2::/48",
  });
  await rule(gateway.as("Operator"), { MACAddressList: CAMERA, DestinationList: "hidden.example" });
  await tryAdd(resident, `${ROOT}List.`, { Enable: "true", Content: "listed.example\n%% listed.example no name\n" });
  gateway.home.tell({
    kind: "blocked",
    time: clock.now(),
    mac: gateway.spin.device(1)?.mac as number,
    outbound: true,
    address: "203.0.113.130",
    protocol: 6,
    port: 443,
    packets: 40,
    bytes: 4000,
  });
  await scan();
  await flowLog.settled();
}

/** An incident whose evidence names peers. */
async function scan(first = 0): Promise<void> {
  for (let host = first; host < first + 12; host++)
    gateway.flows({
      id: 100 + host,
      event: "New",
      from: "192.0.2.12",
      to: `203.0.113.${host + 110}`,
      sourcePort: 41000 + host,
      port: 23,
      counters: [1, 60, 0, 0],
    });
  for (let second = 0; second < 8; second++) await gateway.after(1000);
}

afterEach(async () => {
  await stopReports();
  await gateway.stop();
});

/** Secured parameters of the whole of SPIN that may be read at all, by walking the model. */
function securedParams(): { readonly table: string; readonly name: string; readonly isList: boolean }[] {
  return [...gateway.tree.objects()].flatMap(({ path, paramList }) =>
    path.startsWith(ROOT)
      ? paramList
          .filter(({ schema }) => schema.secured && !schema.hidden)
          .map(({ name, schema }) => ({ table: path, name, isList: schema.type.item !== undefined }))
      : [],
  );
}

/** The resident's values of a parameter, by the path of the row. */
async function valuesOf(peer: Peer, { table, name }: { readonly table: string; readonly name: string }) {
  const { reqPathResults } = await peer.response(get([`${table.replaceAll("{i}", "*")}${name}`]), "getResp");
  return (reqPathResults[0]?.resolvedPathResults ?? []).map(
    ({ resolvedPath, resultParams }) => [resolvedPath, resultParams.get(name) as string] as const,
  );
}

const clean = (text: string, where: string) => {
  for (const secret of SECRETS) expect([where, secret, text.includes(secret)]).toEqual([where, secret, false]);
};

/** The role may ask, and is not the one who said it. */
const CASES: readonly [who: Role, level: Level, secured: boolean][] = [
  ["Monitor", "Devices", false],
  ["Support", "Devices", true],
  ["Admin", "Devices", true],
  ["Support", "Summary", true],
  ["Admin", "Destinations", false],
];

test("the home of these tests gives each secured parameter a value, and shows it to who may see it", async () => {
  await start("Destinations", ["Support"]);
  expect(securedParams().map(({ table, name }) => `${table}${name}`)).toEqual(
    expect.arrayContaining([`${ROOT}Device.{i}.TopDestinations`, `${ROOT}Rule.{i}.DestinationList`]),
  );
  for (const param of securedParams()) {
    const values = await valuesOf(gateway.resident, param);
    expect([param, values.some(([, text]) => SECRETS.some((secret) => text.includes(secret)))]).toEqual([param, true]);
    expect(await valuesOf(gateway.as("Support"), param)).toEqual(values);
  }
});

describe.each(CASES)("%s at level %s, role in SecuredRoles: %s", (who, level, secured) => {
  let peer: Peer;
  beforeEach(async () => {
    await start(level, secured ? [who] : []);
    peer = gateway.as(who);
  });

  test("gets nothing of it by Get, nor by the keys of GetInstances", async () => {
    for (const param of securedParams()) {
      const held = await valuesOf(gateway.resident, param);
      const got = await valuesOf(peer, param);
      expect(got.map(([, text]) => text).filter((text) => text !== "")).toEqual([]);
      if (level === "Summary") expect(got).toEqual([]);
      for (const [path] of held) clean(print(await peer.ask(get([`${path}${param.name}`]))), `${path}${param.name}`);
    }
    for (const path of ["Device.", ROOT, `${ROOT}Device.*.`, `${ROOT}Rule.*.`]) {
      const answer = print(await peer.ask(get([path])));
      clean(answer, path);
    }
    const instances = { $case: "getInstances" as const, value: { objPaths: ["Device."], firstLevelOnly: false } };
    clean(print(await peer.ask(instances)), "GetInstances");
  });

  test("finds nothing by a search, whatever it guesses", async () => {
    const ask = async (path: string) =>
      print(await peer.ask(get([path]))).replaceAll(JSON.stringify(path).slice(1, -1), "PATH");
    for (const { table, name, isList } of securedParams()) {
      const held = (await valuesOf(gateway.resident, { table, name })).map(([, text]) => text);
      const items = isList ? held.flatMap((text) => text.split(",")) : held;
      // Of equal length, so that nothing but the guess differs.
      for (const right of [...new Set([...held, ...items])].filter((text) => text !== "" && text.length < 200)) {
        const wrong = right.replaceAll(/[a-z0-9]/g, "z");
        for (const operator of isList ? ["==", "!=", "~="] : ["==", "!="]) {
          const search = (text: string) =>
            `${table.replace("{i}.", `[${name}${operator}"${text.replaceAll('"', "%22").replaceAll("\n", "%0A")}"].`)}`;
          const [hit, miss] = [await ask(search(right)), await ask(search(wrong))];
          expect(hit.replaceAll(right, "TEXT")).toBe(miss.replaceAll(wrong, "TEXT"));
          expect(hit).not.toContain("resultParams");
        }
      }
    }
  });

  test("is told nothing of it, whatever it subscribes to", async () => {
    for (const type of ["ValueChange", "ObjectCreation", "ObjectDeletion", "Event", "OperationComplete"])
      await subscribe(peer, type, ROOT).catch(() => undefined);
    for (const { table, name } of securedParams())
      await subscribe(peer, "ValueChange", `${table.replaceAll("{i}", "*")}${name}`).catch(() => undefined);
    const { resident } = gateway;
    await trySet(resident, `${ROOT}Rule.1.`, { DestinationList: "secret.example", Reason: "moved" });
    const added = await rule(resident, { MACAddressList: CAMERA, DestinationList: "asked.example" });
    await tryDelete(resident, added);
    await trySet(resident, `${ROOT}List.1.`, { Content: "hidden.example\n" });
    await trySet(resident, `${ROOT}Incident.1.`, { State: "Closed" });
    await run(resident, `${ROOT}Query()`, { Kind: "Flows" });
    await resident.ask(operation(`${ROOT}Device.1.CaptureTraffic()`, {}));
    await scan(20);
    await settle();
    clean(print(peer.notifies), "Notify");
    if (level !== "Summary" && who !== "Monitor") expect(told(peer).join()).toContain("Reason=moved");
    expect(
      told(peer).filter((text) => /AccessLog|DestinationList|Evidence|TopDestinations|Content/.test(text)),
    ).toEqual([]);
  });

  test("is reported nothing of it, as JSON nor as CSV", async () => {
    if (who === "Monitor") return; // has no reports
    for (const Format of ["JSON", "CSV"]) {
      const profile = await tryAdd(peer, "Device.BulkData.Profile.", {
        Enable: "true",
        Protocol: "USPEventNotif",
        EncodingType: Format,
      });
      expect(profile.code).toBe(0);
      for (const Reference of [
        ROOT,
        ...securedParams().map(({ table, name }) => `${table.replaceAll("{i}", "*")}${name}`),
      ])
        expect((await tryAdd(peer, `${profile.path}Parameter.`, { Reference })).code).toBe(0);
      await subscribe(peer, "Event", `${profile.path}Push!`);
      const before = peer.notifies.length;
      await run(peer, `${profile.path}ForceCollection()`);
      for (let k = 0; k < 40 && peer.notifies.length === before; k++) await settle();
      const report = print(peer.notifies.slice(before));
      expect(report).toContain("Summary");
      clean(report, Format);
    }
  });

  test("gets nothing of it from a command, nor from what it is refused with", async () => {
    for (const Kind of ["Flows", "Destinations", "DNSQueries", "Blocked", "History"])
      for (const more of [
        {},
        { PhysAddress: PHONE },
        { Destination: "secret.example" },
        { Destination: "zzzzzz.example" },
      ])
        clean(
          print(await peer.ask(operation(`${ROOT}Query()`, { Kind, ...more }))).replaceAll(
            /"Destination":"[^"]*"/g,
            "",
          ),
          `Query ${Kind}`,
        );
    const question = { Time: new Date(gateway.home.clock.now()).toISOString(), Tolerance: "600", Protocol: "6" };
    clean(
      print(
        await peer.ask(operation(`${ROOT}ResolveIncident()`, { ...question, SourceAddress: WAN, SourcePort: "40001" })),
      ).replaceAll(WAN, ""),
      "ResolveIncident",
    );
    for (const [command, args] of [
      [`${ROOT}Undo()`, {}],
      [`${ROOT}Device.1.Block()`, {}],
      [`${ROOT}Device.1.Unblock()`, {}],
      [`${ROOT}Device.1.MergeInto()`, { Device: `${ROOT}Device.2` }],
      [`${ROOT}List.1.Refresh()`, {}],
      [`${ROOT}GrantSupport()`, { Duration: "3600" }],
      [`${ROOT}EraseHistory()`, {}],
      ["Device.PacketCaptureDiagnostics()", { FilterExpression: "host 192.0.2.11" }],
    ] as const)
      clean(print(await peer.ask(operation(command, args))), command);
    await peer.ask(operation(`${ROOT}Device.1.CaptureTraffic()`, {}));
    await settle();
    for (const { visible } of captures) expect(visible()).not.toBe("Frames");
    for (const { visible } of captures)
      if (typeof visible() === "string") expect(visible()).toBe("HeadersWithoutPeers");
  });

  test("guesses nothing by what clashes", async () => {
    // The answer to a guess that is right is that to one that is not, but for the number of a row that was made.
    const tries = async (ask: (text: string) => Promise<{ code: number; text: string }>, texts: readonly string[]) => {
      const answers = [];
      for (const text of texts) {
        const { code, text: said } = await ask(text);
        answers.push([code, said.replaceAll(text, "TEXT").replaceAll(/\d+/g, "N")]);
      }
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    };
    const guesses = ["hidden.example", "nothere.example"];
    const add = { Enable: "true", Action: "Block", MACAddressList: CAMERA };
    await tries((text) => tryAdd(peer, `${ROOT}Rule.`, { ...add, DestinationList: text }), guesses);
    // A rule of another's, beside one of the same controller that says the guess.
    const operator = gateway.as("Operator");
    const other =
      level === "Summary"
        ? `${ROOT}Rule.3.`
        : await rule(operator, { MACAddressList: CAMERA, DestinationList: "third.example" });
    await tries((text) => trySet(peer, other, { DestinationList: text }), [...guesses].reverse());
  });
});
