/** The agent's WebSocket ports by DNS-SD over mDNS (TR-369 §"Using mDNS"), asked for by a client of the same protocol on loopback. */
import multicastDns from "multicast-dns";
import { MtpWebSocket } from "../../datamodel/websocket.ts";
import { answersTo, recordsOf, runMdns, servicesOf } from "../../src/gateway/mdns.ts";
import { silentLog } from "../../src/lib/log.ts";
import { table } from "../../src/model/table.ts";
import { deviceInfo } from "../../src/objects/device-info.ts";
import { freePort } from "../support/mosquitto.ts";
import { addRow, buildModel, setParams, until, type BuiltModel } from "../usp/support.ts";

const ID = "os::00005E-HOME0001";
const TYPE = "_usp-agt-ws._tcp.local";

const identity = {
  manufacturer: "",
  oui: "00005E",
  model: "",
  productClass: "",
  serialNumber: "HOME0001",
  hardwareVersion: "",
  softwareVersion: "",
};
let model: BuiltModel;
beforeEach(() => {
  model = buildModel(undefined, [table(MtpWebSocket), deviceInfo(identity, undefined)]);
});

function listen(values: Record<string, string> = {}, status: "Up" | "Error" = "Up"): string {
  const { tree, mtpStates } = model;
  const { path } = addRow(tree, "Device.LocalAgent.MTP.", { Enable: "true", Protocol: "WebSocket", ...values });
  setParams(tree, `${path}WebSocket.`, { Port: "8443", Path: "/usp" });
  mtpStates.set(path.slice(0, -1), { status, reason: "", since: 0 });
  return path;
}

it("tells rows that listen by WebSocket and want to be told", () => {
  const { tree } = model;
  listen();
  listen({ EnableMDNS: "false" });
  listen({ Enable: "false" });
  listen({ Protocol: "MQTT" });
  listen({}, "Error");
  setParams(tree, "Device.DeviceInfo.", { FriendlyName: "Home" });
  expect(servicesOf(tree)).toEqual([{ port: 8443, path: "/usp", isEncrypted: true, name: "Home" }]);
});

describe("records", () => {
  const service = { port: 8443, path: "/usp", isEncrypted: true, name: "Home" };
  const records = recordsOf([service, { ...service, port: 8080, isEncrypted: false }], ID, "192.0.2.1");

  it("are one instance a port, the first of the agent's endpoint id", () => {
    expect(records.map(({ name, type, data }) => [name, type, data])).toEqual([
      ["_services._dns-sd._udp.local", "PTR", TYPE],
      [TYPE, "PTR", `${ID}.${TYPE}`],
      [`${ID}.${TYPE}`, "SRV", { target: "os-00005E-HOME0001.local", port: 8443, priority: 0, weight: 0 }],
      [`${ID}.${TYPE}`, "TXT", ["path=/usp", "name=Home", "encrypt"]],
      [TYPE, "PTR", `${ID} (2).${TYPE}`],
      [`${ID} (2).${TYPE}`, "SRV", { target: "os-00005E-HOME0001.local", port: 8080, priority: 0, weight: 0 }],
      [`${ID} (2).${TYPE}`, "TXT", ["path=/usp", "name=Home"]],
      ["os-00005E-HOME0001.local", "A", "192.0.2.1"],
    ]);
  });

  it.each<[string, string, number]>([
    [TYPE, "PTR", 7],
    ["_USP-AGT-WS._tcp.local", "ANY", 7],
    ["_services._dns-sd._udp.local", "PTR", 1],
    ["os-00005E-HOME0001.local", "A", 1],
    [`${ID}.${TYPE}`, "SRV", 5],
    ["_http._tcp.local", "PTR", 0],
    [TYPE, "A", 0],
  ])("that answer %s %s are %i", (name, type, count) => {
    expect(answersTo([{ name, type }], records)).toHaveLength(count);
  });
});

it("answers on the wire, says what changes, and goodbye", async () => {
  const port = await freePort();
  const { tree } = model;
  const row = listen();
  const heard: { name: string; type: string; ttl?: number; data?: unknown }[] = [];
  const client = multicastDns({ port, interface: "127.0.0.1", bind: "224.0.0.251" });
  client.on("response", ({ answers }) => void heard.push(...(answers as typeof heard)));
  const stopping = new AbortController();
  const running = runMdns({ tree, endpointId: ID, interfaces: ["lo", "none0"], log: silentLog, port }, stopping.signal);
  const srv = () =>
    heard.filter(({ type }) => type === "SRV").map(({ data, ttl }) => [(data as { port: number }).port, ttl]);
  await until(() => srv().length > 0, "an announcement");
  heard.length = 0;
  client.query({ questions: [{ name: TYPE, type: "PTR" }] });
  await until(() => srv().length > 0, "an answer");
  expect(heard.find(({ type }) => type === "PTR")).toMatchObject({ name: TYPE, data: `${ID}.${TYPE}` });
  setParams(tree, `${row}WebSocket.`, { Port: "9443" });
  await until(() => srv().some(([number]) => number === 9443), "the new port");
  stopping.abort();
  await running;
  await until(() => srv().some(([, ttl]) => ttl === 0), "the goodbye");
  await new Promise<void>((resolve) => client.destroy(() => resolve()));
});

it("says nothing of an endpoint id that no label can hold", async () => {
  await runMdns(
    { tree: model.tree, endpointId: "self::a.example", interfaces: ["lo"], log: silentLog },
    new AbortController().signal,
  );
});
