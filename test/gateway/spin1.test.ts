/** SPIN 1.0's own interfaces, over a real Unix socket of the agent: requests as SPIN's tools sent them, and its files. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync, type MqttClient } from "mqtt";
import { importSpin } from "../../src/cli/import-spin.ts";
import { parseConfig } from "../../src/config.ts";
import { ObjectText } from "../../src/gateway/spin1/object-text.ts";
import { runSpin1 } from "../../src/gateway/spin1/spin1.ts";
import type { Northbound } from "../../src/gateway/northbound.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import { listenUds } from "../../src/mtp/uds-server.ts";
import { CAMERA, Gateway, idOf, PHONE, ROOT, trySet } from "../objects/support.ts";
import { AGENT_ID } from "../usp/support.ts";
import { eventually } from "../support/eventually.ts";
import { hasMosquitto, startMosquitto } from "../support/mosquitto.ts";

let folder = "";
let rpc = "";
let gateway: Gateway;
let stopping: AbortController;
const running: Promise<unknown>[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "spin1-"));
  rpc = join(folder, "rpc.sock");
  stopping = new AbortController();
  let northbound: Northbound | undefined;
  gateway = (
    await Gateway.start({ clock: new ManualClock(Date.now()), before: (each) => (northbound = each) })
  ).withTraffic();
  await gateway.settled();
  const { tree, agent } = northbound as Northbound;
  const rows = [...tree.all(tree.object("Device.LocalAgent.Controller.")!)];
  const controller = rows.find((row) => tree.text(row, "EndpointID") === idOf("Resident"))!.path.slice(0, -1);
  const listening = new Promise<void>((resolve) => {
    const accept = ({ link, peer }: { link: Parameters<typeof agent.serve>[1]["link"]; peer: string }) => {
      const door = { protocol: "UDS", local: true, resident: true } as const;
      const connectRecord = { $case: "udsConnect", value: {} } as const;
      const served = agent.serve(
        "Device.LocalAgent.MTP.1",
        { link, peer, controller, connectRecord, door },
        "UDS",
        stopping.signal,
      );
      running.push(served.catch(() => undefined));
    };
    const options = { path: join(folder, "resident.sock"), endpointId: AGENT_ID, peerMayLeave: true };
    running.push(listenUds(options, stopping.signal, { listening: resolve, accept }));
  });
  await listening;
});
afterEach(async () => {
  stopping.abort();
  await Promise.all(running.splice(0));
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

function start(options = "", broker = ""): void {
  const { spin1, localBroker } = parseConfig(
    `config agent\n\toption endpoint_id '${AGENT_ID}'\nconfig spin1\n\toption socket '${rpc}'\n${options}\nconfig local_broker\n${broker}`,
  );
  const door = join(folder, "resident.sock");
  running.push(runSpin1({ spin1, broker: localBroker, door, connect: connectMqtt, log: silentLog }, stopping.signal));
}

/** What is sent, and all that comes until the other end closes. */
async function say(text: string, end = false): Promise<string> {
  await eventually(() => statSync(rpc, { throwIfNoEntry: false }) !== undefined, Boolean);
  const socket = connect(rpc);
  let said = "";
  socket.on("data", (chunk: Buffer) => (said += chunk.toString()));
  socket.on("error", () => undefined);
  if (end) socket.end(text);
  else socket.write(text);
  await once(socket, "close");
  return said;
}

let id = 0;
async function call(
  method: string,
  params?: unknown,
): Promise<{ result?: unknown; error?: { code: number; message: string } }> {
  const request = { jsonrpc: "2.0", method, id: ++id, ...(params === undefined ? {} : { params }) };
  const said = await say(JSON.stringify(request), true);
  expect(said.endsWith("\n")).toBe(true);
  return JSON.parse(said) as { result?: unknown };
}
const result = async (method: string, params?: unknown) => {
  const { result: value, error } = await call(method, params);
  if (error) throw new Error(error.message);
  return value;
};

const rulesOf = () =>
  gateway.spin.rules.list().map(({ action, origin, macs, destinations }) => ({ action, origin, macs, destinations }));

test("the sixteen methods are there, over a socket that others can't open", async () => {
  start();
  const methods = (await result("list_rpc_methods")) as { "rpc-name": string }[];
  expect(methods).toHaveLength(16);
  expect(statSync(rpc).mode & 0o777).toBe(0o660);
});

test("devices, their flows and names, as SPIN's tools read them", async () => {
  start();
  const devices = (await result("list_devices")) as { id: number; mac: string; ips: string[] }[];
  const phone = devices.find(({ mac }) => mac === PHONE)!;
  expect(phone).toMatchObject({ ips: ["192.0.2.11"], domains: [], lastseen: expect.any(Number) });
  expect(await result("set_device_name", { node: phone.id, name: "Hall" })).toBeNull();
  expect(await result("get_device_data", { node: phone.id })).toMatchObject({ name: "Hall", mac: PHONE });
  const flows = (await result("list_device_flows", { device: PHONE })) as { to: number; bytes: number }[];
  expect(flows).toContainEqual(
    expect.objectContaining({ dst_port: 443, icmp_type: -1, packets: 30, bytes: 4000, to: expect.any(Number) }),
  );
  const to = flows.find(({ bytes }) => bytes === 4000)!.to;
  expect(await result("get_device_data", { node: to })).toMatchObject({
    id: to,
    ips: ["198.51.100.7"],
    domains: ["secret.example."],
  });
});

test("lists become rules of the resident's, by MAC for devices, and go again", async () => {
  start();
  await result("add_iplist_ip", { list: "block", ip: "192.0.2.11" });
  await result("add_iplist_ip", { list: "block", ip: "192.0.2.11" });
  await result("add_iplist_ip", { list: "b", ip: "203.0.113.9" });
  await gateway.settled();
  expect(rulesOf()).toMatchObject([
    { action: "Block", origin: "User", destinations: "*" },
    { action: "Block", macs: "*" },
  ]);
  expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
  expect(gateway.packet(CAMERA, "203.0.113.9")).toBe("Block");
  expect(await result("list_iplist", { list: "block" })).toEqual(expect.arrayContaining(["192.0.2.11", "203.0.113.9"]));
  await result("remove_iplist_ip", { list: "block", ip: "192.0.2.11" });
  await result("remove_iplist_ip", { list: "block", ip: "203.0.113.9" });
  expect(await result("list_iplist", { list: "block" })).toEqual([]);
  expect(rulesOf()).toEqual([]);
});

test("a rule that was switched off is switched on again, not made twice", async () => {
  start();
  await result("add_iplist_ip", { list: "block", ip: "203.0.113.9" });
  expect(await trySet(gateway.resident, `${ROOT}Rule.1.`, { Enable: "false" })).toMatchObject({ code: 0 });
  const isOn = () => gateway.spin.rules.list().map(({ enable }) => enable);
  expect(await result("list_iplist", { list: "block" })).toEqual([]);
  await result("add_iplist_ip", { list: "block", ip: "203.0.113.9" });
  expect(isOn()).toEqual([true]);
});

test("a flow between two nodes is blocked, and only that", async () => {
  start();
  const [flow] = (await result("list_device_flows", { device: PHONE })) as { to: number }[];
  const devices = (await result("list_devices")) as { id: number; mac: string }[];
  const node1 = devices.find(({ mac }) => mac === PHONE)!.id;
  await result("set_flow_block", { node1, node2: flow!.to, block: 1 });
  expect(await result("get_flow_block")).toEqual([{ node1, node2: flow!.to }]);
  expect(rulesOf()).toHaveLength(1);
  await result("set_device_flow_block", { device: PHONE, node: flow!.to, block: 0 });
  expect(await result("get_flow_block")).toEqual([]);
});

test("a provider's call for help blocks who spoke to the target, for its lifetime", async () => {
  start();
  const scope = [{ lifetime: 600, "target-prefix": ["198.51.100.7/32"], "target-port-range": [{ "lower-port": 443 }] }];
  await result("dots_signal", { dots_signal: { "ietf-dots-signal-channel:mitigation-scope": { scope } } });
  await gateway.settled();
  expect(gateway.packet(PHONE, "203.0.113.1")).toBe("Block");
  expect(gateway.packet(CAMERA, "203.0.113.1")).not.toBe("Block");
});

test.each([
  ["{}", /jsonrpc must be/],
  ['{"jsonrpc":"2.0","method":7,"id":1}', /method must be a string/],
  ['{"jsonrpc":"2.0","method":"list_devices","params":[],"id":1}', /params must be an object/],
  ['{"jsonrpc":"2.0","method":"rm -rf","id":1}', /there is no method/],
  ['{"jsonrpc":"2.0","method":"toString","id":1}', /there is no method/],
  ['{"jsonrpc":"2.0","method":"get_device_data","params":{"node":"1"},"id":1}', /needs node, of type int/],
  ['{"jsonrpc":"2.0","method":"get_device_data","params":{"node":99},"id":1}', /Unknown node id/],
  [
    '{"jsonrpc":"2.0","method":"add_iplist_ip","params":{"list":"block","ip":"1.2.3.4; rm"},"id":1}',
    /is no IP address/,
  ],
  ['{"jsonrpc":"2.0","method":"list_iplist","params":{"list":""},"id":1}', /is no list/],
  ["{,}", /Parse error/],
  ["GET / HTTP/1.1\r\n", /a JSON object is wanted/],
  [`{"a":"${"x".repeat(70_000)}"}`, /longer than 65536 bytes/],
])("%# is refused in words", async (text, error) => {
  start();
  const said = JSON.parse(await say(text, true)) as { error: { message: string } };
  expect(said.error.message).toMatch(error);
});

test("several requests a connection, in pieces or at once; the end comes by itself, as SPIN's tools wait for it", async () => {
  start();
  const one = '{"jsonrpc":"2.0","method":"list_iplist","params":{"list":"allow"},"id":7}';
  const said = await say(`${one}\n${one}${one}`);
  expect(said.trim().split("\n")).toEqual(Array(3).fill('{"jsonrpc":"2.0","result":[],"id":7}'));
});

test("objects are cut where their braces say", () => {
  const texts = new ObjectText(100);
  const all = ' {"a":"}\\"{"}\n{"b":{}}';
  for (const byte of Buffer.from(all)) texts.push(Buffer.from([byte]));
  expect([texts.take(), texts.take(), texts.take(), texts.fault]).toEqual([
    '{"a":"}\\"{"}',
    '{"b":{}}',
    undefined,
    undefined,
  ]);
});

(hasMosquitto ? test : test.skip)(`SPIN's topics${hasMosquitto ? "" : " (needs mosquitto)"}`, async () => {
  const broker = await startMosquitto();
  let client: MqttClient | undefined;
  const got: { topic: string; text: string; retain: boolean }[] = [];
  try {
    client = await connectAsync(broker.url);
    client.on("message", (topic, payload, { retain }) => got.push({ topic, text: payload.toString(), retain }));
    await client.subscribeAsync("SPIN/#");
    start("\toption mqtt '1'\n\toption mqtt_rpc '1'", `\toption host '127.0.0.1'\n\toption port '${broker.port}'`);
    const messages = (command: string) => got.filter(({ text }) => text.includes(`"command":"${command}"`));
    await eventually(
      () => messages("nodeInfo").length,
      (count) => count >= 2,
    );
    expect(messages("serverRestart")).toHaveLength(1);
    const node = messages("nodeInfo").map(({ topic, text }) => [topic, JSON.parse(text)] as const);
    expect(node).toContainEqual([
      expect.stringMatching(/^SPIN\/traffic\/node\/\d+$/),
      { command: "nodeInfo", result: expect.objectContaining({ mac: PHONE, ips: ["192.0.2.11"] }) },
    ]);
    await eventually(
      () => messages("block").length,
      (count) => count === 1,
    );
    gateway.home.after(3000);
    gateway
      .flows({ id: 9, event: "New", from: "192.0.2.12", to: "198.51.100.9", sourcePort: 40009 })
      .flows({ id: 9, from: "192.0.2.12", to: "198.51.100.9", sourcePort: 40009, counters: [5, 500, 6, 700] });
    const isNew = ({ text }: { text: string }) => text.includes('"size":1200');
    await eventually(
      () => messages("traffic").filter(isNew).length,
      (count) => count > 0,
    );
    const traffic = JSON.parse(messages("traffic").find(isNew)!.text) as { result: { flows: { to: number }[] } };
    const camera = node.find(([, { result: each }]) => (each as { mac: string }).mac === CAMERA)![1] as {
      result: { id: number };
    };
    expect(traffic).toEqual({
      command: "traffic",
      argument: "",
      result: {
        flows: expect.arrayContaining([
          {
            ...{ from: camera.result.id, to: expect.any(Number), protocol: 6, from_port: 0, to_port: 443 },
            ...{ size: 1200, count: 11 },
          },
        ]),
        timestamp: expect.any(Number),
        total_size: expect.any(Number),
        total_count: expect.any(Number),
      },
    });
    // Who is spoken of was told, retained.
    for (const { to } of traffic.result.flows)
      expect(got.some(({ topic }) => topic === `SPIN/traffic/node/${to}`)).toBe(true);
    await client.publishAsync(
      "SPIN/jsonrpc/q",
      '{"jsonrpc":"2.0","method":"list_iplist","params":{"list":"block"},"id":3}',
    );
    await eventually(
      () => got.filter(({ topic }) => topic === "SPIN/jsonrpc/a").length,
      (count) => count === 1,
    );
    expect(got.find(({ topic }) => topic === "SPIN/jsonrpc/a")!.text).toBe('{"jsonrpc":"2.0","result":[],"id":3}');
  } finally {
    await client?.endAsync();
    await broker.stop();
  }
});

describe("import-spin", () => {
  const run = async (...args: string[]) => {
    let out = "";
    let err = "";
    const stream = (add: (text: string) => void) =>
      ({ write: (text: string) => (add(text), true) }) as unknown as NodeJS.WriteStream;
    const io = {
      stdout: stream((text) => (out += text)),
      stderr: stream((text) => (err += text)),
      signal: stopping.signal,
    };
    const code = await importSpin([join(folder, "spin"), "--socket", join(folder, "resident.sock"), ...args], io);
    return { code, out, err };
  };
  beforeEach(() => {
    const spin = join(folder, "spin");
    mkdirSync(join(spin, "nodestore"), { recursive: true });
    writeFileSync(join(spin, "block.list"), "192.0.2.11\n203.0.113.9\nnot an address\n2001:db8::9\n192.0.2.11\n");
    writeFileSync(join(spin, "allow.list"), "203.0.113.53\n");
    writeFileSync(join(spin, "names.conf"), `name: ${PHONE} Hall camera\nname: 02:00:00:00:00:99 gone\nnonsense\n`);
    writeFileSync(join(spin, "nodepair.list"), "4 7\n4 8\n");
    writeFileSync(join(spin, "nodestore/4"), JSON.stringify({ id: 4, mac: CAMERA, ips: ["192.0.2.12"] }));
    writeFileSync(join(spin, "nodestore/7"), JSON.stringify({ id: 7, ips: ["198.51.100.77", "2001:db8::77"] }));
    writeFileSync(join(spin, "nodestore/8"), "{ broken");
  });

  test("says what it would do, does it, and a second run changes nothing", async () => {
    const dry = await run();
    expect(dry.out).toContain(`would: Block device ${PHONE} (192.0.2.11 in block.list)`);
    expect(dry.code).toBe(5);
    expect(rulesOf()).toEqual([]);
    expect(dry.err).toMatch(/block\.list line 3: "not an address" is no IP address/);
    expect(dry.err).toMatch(/no device 02:00:00:00:00:99/);
    expect(dry.err).toMatch(/nodestore\/8 is no JSON object/);
    const applied = await run("--apply");
    expect(applied.out).toMatch(/^6 done, 0 there already/m);
    expect(rulesOf()).toHaveLength(5);
    expect(gateway.spin.deviceByMac(0x02_00_00_00_00_01)?.name).toBe("Hall camera");
    const again = await run("--apply");
    expect(again.out).toMatch(/^0 done, 6 there already/m);
    expect(rulesOf()).toHaveLength(5);
  });

  test("an agent that is not there, and a folder that is not", async () => {
    stopping.abort();
    expect((await run()).code).toBe(1);
    rmSync(join(folder, "spin"), { recursive: true });
    expect(await run()).toMatchObject({ code: 1, err: expect.stringContaining("ENOENT") as string });
  });

  test("two folders are wrong use", async () => {
    expect((await run("too", "many")).code).toBe(2);
  });
});
