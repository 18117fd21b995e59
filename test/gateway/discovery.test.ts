/** The controller that DHCP names (TR-369 §"Using DHCP", sub-options 25 to 29 of options 125 and 17). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { runDiscovery, take } from "../../src/gateway/discovery.ts";
import { parseDhcp, type DiscoveredController } from "../../src/lib/dhcp-usp.ts";
import { silentLog } from "../../src/lib/log.ts";
import { eventually } from "../support/eventually.ts";
import { Gateway } from "../objects/support.ts";
import { setParams } from "../usp/support.ts";

const BBF = "00000de9";
const TEXTS: Readonly<Record<number, string>> = {
  25: "wss://acs.example:8443/usp",
  26: "prov",
  27: "10",
  28: "1500",
  29: "self::acs.example",
};
const EXPECTED: DiscoveredController = {
  url: "wss://acs.example:8443/usp",
  provisioningCode: "prov",
  retryMinimum: 10,
  retryMultiplier: 1500,
  endpointId: "self::acs.example",
};

const number = (value: number, width: number) => value.toString(16).padStart(2 * width, "0");
const subOptions = (texts: Readonly<Record<number, string>>, width: number) =>
  Object.entries(texts)
    .map(
      ([code, text]) =>
        number(Number(code), width) + number(Buffer.byteLength(text), width) + Buffer.from(text).toString("hex"),
    )
    .join("");
const v4 = (texts = TEXTS, enterprise = BBF) => {
  const data = subOptions(texts, 1);
  return `${enterprise}${number(data.length / 2, 1)}${data}`;
};
const v6 = (texts = TEXTS, enterprise = BBF) => `${enterprise}${subOptions(texts, 2)}`;

describe("what is read", () => {
  it.each<[string, string]>([
    ["udhcpc", `interface=wan\nopt125=${v4()}\n`],
    ["udhcpc, with colons and quotes", `opt125="${(v4().match(/../g) ?? []).join(":")}"`],
    ["behind another enterprise's", `opt125=${v4({ 1: "x" }, "00000009")}${v4()}`],
    ["odhcp6c", `OPTION_17=${v6()}\n`],
    [
      "with final NULs",
      `opt125=${v4(Object.fromEntries(Object.entries(TEXTS).map(([code, text]) => [code, `${text}\0`])))}`,
    ],
    ["both, the first that names one", `OPTION_17=${v6({ 3: "x" })}\nopt125=${v4()}`],
  ])("%s", (_, text) => expect(parseDhcp(text)).toEqual(EXPECTED));

  it.each<[string, string]>([
    ["nothing", ""],
    ["no hex", "opt125=hello"],
    ["an odd digit", `opt125=${v4().slice(1)}`],
    ["another enterprise", `opt125=${v4(TEXTS, "00000009")}`],
    ["another option", `opt43=${v4()}`],
    ["sub-options that say nothing of a controller", `opt125=${v4({ 26: "x" })}`],
    ["control characters", `opt125=${v4({ 25: "wss://a\nb", 29: "self::\u0007" })}`],
  ])("nothing of %s", (_, text) => expect(parseDhcp(text)).toBeUndefined());

  it("nothing that stops it, whatever stands there", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom("opt125", "OPTION_17"), (bytes, name) => {
        parseDhcp(`${name}=${BBF}${Buffer.from(bytes).toString("hex")}`);
        parseDhcp(`${name}=${Buffer.from(bytes).toString("hex")}`);
      }),
    );
  });

  it("no retry values out of their range", () => {
    expect(parseDhcp(`opt125=${v4({ ...TEXTS, 27: "0", 28: "999" })}`)).toMatchObject({
      retryMinimum: undefined,
      retryMultiplier: undefined,
    });
  });
});

describe("the row that is made", () => {
  let gateway: Gateway;
  beforeEach(async () => {
    gateway = await Gateway.start();
  });
  afterEach(() => gateway.stop());

  const row = (endpointId = EXPECTED.endpointId) => `${gateway.controllerRow(endpointId)}.`;
  const read = (path: string, name: string) => gateway.tree.text(gateway.tree.at(path)!, name);

  it("dials it, waits as it says, and gives it nothing", () => {
    take(gateway.tree, EXPECTED, silentLog);
    const path = row();
    expect(
      ["Enable", "AssignedRole", "ProvisioningCode", "OnBoardingComplete"].map((name) => read(path, name)),
    ).toEqual(["true", "", "prov", "false"]);
    expect(read(path, "USPNotifRetryMinimumWaitInterval")).toBe("10");
    const mtp = `${path}MTP.1.WebSocket.`;
    expect(["Host", "Port", "Path", "EnableEncryption"].map((name) => read(mtp, name))).toEqual([
      "acs.example",
      "8443",
      "/usp",
      "true",
    ]);
  });

  it("follows what DHCP says later, and is another where it names another", () => {
    take(gateway.tree, EXPECTED, silentLog);
    const before = row();
    take(gateway.tree, { ...EXPECTED, url: "wss://[2001:db8::1]/" }, silentLog);
    expect([row(), read(`${before}MTP.1.WebSocket.`, "Host"), read(`${before}MTP.1.WebSocket.`, "Port")]).toEqual([
      before,
      "2001:db8::1",
      "443",
    ]);
    take(gateway.tree, { ...EXPECTED, endpointId: "self::other" }, silentLog);
    expect(row("self::other")).not.toBe(before);
    expect(gateway.tree.at(before)).toBeUndefined();
  });

  it("stays where somebody gave it a role, whatever DHCP says", () => {
    take(gateway.tree, EXPECTED, silentLog);
    setParams(gateway.tree, row(), { AssignedRole: gateway.roleRow("Monitor") });
    take(gateway.tree, { ...EXPECTED, endpointId: "self::other" }, silentLog);
    expect(gateway.tree.at(row())).toBeDefined();
    expect(() => row("self::other")).toThrow();
  });

  it("is not made where somebody else made one", () => {
    const operator = gateway.controllerRow("self::operator");
    take(gateway.tree, { ...EXPECTED, endpointId: "self::operator" }, silentLog);
    expect(gateway.controllerRow("self::operator")).toBe(operator);
    expect(read(`${operator}.`, "ProvisioningCode")).toBe("");
  });

  it.each<Partial<DiscoveredController>>([
    { url: "ws://acs.example/" },
    { url: "acs.example" },
    { url: "wss://user@acs.example/" },
    { url: "mqtts://acs.example/" },
    { endpointId: "" },
    { endpointId: "nonsense" },
    { url: `wss://${"a".repeat(300)}.example/` },
  ])("is not made of %j", (changes) => {
    const before = [...gateway.tree.all(gateway.tree.object("Device.LocalAgent.Controller.{i}.")!)].length;
    take(gateway.tree, { ...EXPECTED, ...changes }, silentLog);
    expect([...gateway.tree.all(gateway.tree.object("Device.LocalAgent.Controller.{i}.")!)]).toHaveLength(before);
  });

  it("is made from the file, as soon as it is there", async () => {
    const folder = mkdtempSync(join(tmpdir(), "spin-usp-dhcp-"));
    const stopping = new AbortController();
    const file = join(folder, "options");
    writeFileSync(file, `opt125=${v4()}`);
    const running = runDiscovery({ tree: gateway.tree, file, log: silentLog }, stopping.signal);
    const known = () =>
      [...gateway.tree.all(gateway.tree.object("Device.LocalAgent.Controller.{i}.")!)].map((node) =>
        gateway.tree.text(node, "EndpointID"),
      );
    await eventually(known, (ids) => ids.includes(EXPECTED.endpointId));
    stopping.abort();
    await running;
    rmSync(folder, { recursive: true });
  });
});
