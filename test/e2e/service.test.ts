/** The agent as it is run, as the USP Service of a broker that is scripted (TR-369 R-REG, R-UDS). */
import type { MsgContent, RequestType } from "../../proto/codec.ts";
import type { Agent, AgentOptions } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { refusing, registered, ScriptedUspBroker } from "../support/scripted-usp-broker.ts";
import { SocketBed } from "../support/socket-bed.ts";

const SUBSCRIPTIONS = "Device.LocalAgent.Subscription.";
/** Of the agent whose doors are made in this order: Admin, then the broker's. */
const MTP = "Device.LocalAgent.MTP.2.";

let bed: SocketBed;
let broker: ScriptedUspBroker | undefined;

beforeEach(() => {
  bed = new SocketBed();
});
afterEach(async () => {
  await bed.clear();
  await broker?.stop();
  broker = undefined;
}, 30_000);

const start = (service: Readonly<Record<string, string>> = {}, options: Partial<AgentOptions> = {}): Promise<Agent> => {
  const section = { type: "service", options: { enable: "1", broker: bed.path("broker"), ...service } };
  return bed.agent(["Admin"], { ...options, sections: [section, ...(options.sections ?? [])] });
};

const status = async () => {
  const admin = await bed.as("Admin");
  const values = await admin.read([`${MTP}Status`]);
  await admin.close();
  return values.get(`${MTP}Status`);
};

describe("a USP Service", () => {
  it("says who it is, registers what is its own alone, and is then asked", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await start();
    const { request } = await broker.request("register");
    expect(broker.records.slice(0, 2)).toEqual(["udsConnect", "noSessionContext"]);
    expect(request.value).toMatchObject({ regPaths: [{ path: "Device.X_SPIN." }] });
    await eventually(status, (text) => text === "Up", { what: "Status" });

    const supported = await broker.ask({
      $case: "getSupportedDm",
      value: {
        objPaths: ["Device.X_SPIN."],
        firstLevelOnly: false,
        returnCommands: true,
        returnEvents: true,
        returnParams: true,
        returnUniqueKeySets: true,
      },
    });
    expect(JSON.stringify(supported, maps)).toContain("Device.X_SPIN.Rule.{i}.");
    const rows = await broker.ask({
      $case: "getInstances",
      value: { objPaths: ["Device.X_SPIN.Rule."], firstLevelOnly: false },
    });
    expect(rows).toMatchObject({ kind: "response" });
    expect(await get(broker, SUBSCRIPTIONS)).toEqual({});
  }, 60_000);

  it("takes the broker's subscriptions as OB-USP-A makes them, and pushes at once, wanting no answer", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await start();
    await broker.request("register");
    const params = {
      NotifType: "ValueChange",
      ReferenceList: "Device.X_SPIN.NewDevicePolicy",
      ID: "1a2b3c4d-0-BROKER-S",
      Persistent: "false",
      TimeToLive: "0",
      NotifRetry: "false",
      NotifExpiration: "0",
      Enable: "true",
    };
    const added = await broker.ask(add(SUBSCRIPTIONS, params));
    expect(JSON.stringify(added, maps)).toContain("operSuccess");
    // One that a controller asks to be repeated is none the less sent once: a broker takes no other (obuspa refuses it).
    await broker.ask(add(SUBSCRIPTIONS, { ...params, ID: "other", NotifRetry: "true" }));
    await broker.ask(set("Device.X_SPIN.", { NewDevicePolicy: "Quarantine" }));
    await broker.request("notify", 2);
    const told = broker.requests.flatMap(({ request }) => (request.$case === "notify" ? [request.value] : []));
    expect(told.map(({ sendResp }) => sendResp)).toEqual([false, false]);
    expect(told[0]?.notification).toEqual({
      $case: "valueChange",
      value: { paramPath: "Device.X_SPIN.NewDevicePolicy", paramValue: "Quarantine" },
    });
    const kept = await get(broker, SUBSCRIPTIONS);
    expect(kept[`${SUBSCRIPTIONS}1.ID`]).toBe("1a2b3c4d-0-BROKER-S");
    const gone = await broker.ask({
      $case: "delete",
      value: { allowPartial: false, objPaths: [`${SUBSCRIPTIONS}1.`, `${SUBSCRIPTIONS}2.`] },
    });
    expect(JSON.stringify(gone, maps)).toContain("operSuccess");
  }, 60_000);

  it("asks again where it is refused, and its MTP row says so", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    broker.answer = refusing(7029, "owned by another");
    const agent = await start();
    await broker.request("register", 2);
    expect(await status()).toBe("Error");
    expect(agent.log).toContain("does not register Device.X_SPIN.: 7029 owned by another; again in");
    broker.answer = () => ({ errCode: 7028, errMsg: "busy" });
    await broker.request("register", 3);
    broker.answer = registered;
    await eventually(status, (text) => text === "Up", { timeoutMs: 40_000, what: "Status" });
    expect(broker.connections).toBe(1);
  }, 90_000);

  it("registers again at a broker that restarted", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await start();
    await broker.request("register");
    await broker.stop();
    await eventually(status, (text) => text !== "Up", { what: "Status" });
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await broker.request("register");
    expect(broker.records[0]).toBe("udsConnect");
  }, 60_000);

  it("deregisters before it leaves", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    const agent = await start();
    await broker.request("register");
    await eventually(status, (text) => text === "Up", { what: "Status" });
    expect(await agent.stop()).toBe(0);
    const { request } = await broker.request("deregister");
    expect(request.value).toEqual({ paths: [] });
    expect(broker.records.slice(-1)).toEqual(["disconnect"]);
  }, 60_000);

  it("serves its other doors while the broker hangs, and stops in time", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    broker.answer = () => undefined;
    const agent = await start();
    await broker.request("register");
    const admin = await bed.as("Admin");
    const began = performance.now();
    for (let i = 0; i < 50; i++) await admin.read(["Device.X_SPIN.Version"]);
    expect(performance.now() - began).toBeLessThan(5_000);
    await admin.close();
    expect(await agent.stop()).toBe(0);
  }, 60_000);

  it("is called as the environment says, and never as the device it is on", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await start({}, { under: ["env", "USP_ENDPOINT_ID=self::named"] });
    await broker.request("register");
    expect(broker.service).toBe("self::named");
  }, 60_000);
});

describe("whoever comes through the broker", () => {
  it("is an Operator and not the resident, whose role no Admin gives its row", async () => {
    broker = await ScriptedUspBroker.start(bed.path("broker"));
    await start();
    await broker.request("register");
    const operator = broker;
    const level = () => operator.ask(set("Device.X_SPIN.", { PrivacyCeiling: "Summary" }));
    expect(await level()).toMatchObject({ kind: "error" });
    const admin = await bed.as("Admin");
    const rows = await admin.read(["Device.LocalAgent.Controller."], { maxDepth: 2 });
    const row = [...rows].find(([path, value]) => path.endsWith(".EndpointID") && value === operator.endpointId)?.[0];
    expect(row).toBeDefined();
    const resident = await admin.read(['Device.LocalAgent.ControllerTrust.Role.[Name=="Resident"].Name']);
    const role = [...resident.keys()][0]?.replace(/\.Name$/, "") as string;
    const given = admin.write((row as string).replace(/EndpointID$/, ""), { AssignedRole: role });
    await expect(given).rejects.toThrow("the resident's role");
    await pause(20);
    expect(await level()).toMatchObject({ kind: "error" });
  }, 60_000);
});

const maps = (_: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);

async function get(broker: ScriptedUspBroker, path: string): Promise<Record<string, string>> {
  const content: MsgContent = await broker.ask({ $case: "get", value: { paramPaths: [path], maxDepth: 0 } });
  if (content.kind !== "response" || content.response.$case !== "getResp") throw new Error(JSON.stringify(content));
  const values: Record<string, string> = {};
  for (const { resolvedPathResults } of content.response.value.reqPathResults)
    for (const { resolvedPath, resultParams } of resolvedPathResults)
      for (const [name, value] of resultParams) values[`${resolvedPath}${name}`] = value;
  return values;
}

const settings = (params: Readonly<Record<string, string>>) =>
  Object.entries(params).map(([param, value]) => ({ param, value, required: true }));

const add = (objPath: string, params: Readonly<Record<string, string>>): RequestType => ({
  $case: "add",
  value: { allowPartial: false, createObjs: [{ objPath, paramSettings: settings(params) }] },
});

const set = (objPath: string, params: Readonly<Record<string, string>>): RequestType => ({
  $case: "set",
  value: { allowPartial: false, updateObjs: [{ objPath, paramSettings: settings(params) }] },
});
