/** OB-USP-A as the USP Broker of the device, our agent as its Service, and a remote controller at OB-USP-A over MQTT. */
import { connectController } from "../../src/controller/connect.ts";
import type { Controller, Notification, Subscription } from "../../src/controller/controller.ts";
import { type Agent, AGENT_ID } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { describeUnless } from "../support/needs.ts";
import {
  Obuspa,
  OBUSPA_CONTROLLER_ID,
  OBUSPA_CONTROLLER_TOPIC,
  OBUSPA_ID,
  OBUSPA_TOPIC,
  obuspaMissing,
} from "../support/obuspa.ts";
import { SocketBed } from "../support/socket-bed.ts";

const RULE = "Device.X_SPIN.Rule.";
const BENCH = "Device.X_BENCH.";

describeUnless(obuspaMissing ?? (hasMosquitto ? undefined : "needs mosquitto"), "a Service of OB-USP-A", () => {
  let mosquitto: Broker;
  let obuspa: Obuspa;
  let bed: SocketBed;
  let agent: Agent;
  let remote: Controller;

  beforeAll(async () => {
    mosquitto = await startMosquitto({ config: ["set_tcp_nodelay true"] });
    obuspa = await Obuspa.start(mosquitto.port);
    bed = new SocketBed();
    // Admin, for the synthetic model: an Operator has SPIN's alone.
    const options = { enable: "1", broker: obuspa.controllerPath, role: "Admin", secured: "1" };
    const service = { type: "service", options };
    agent = await bed.agent(["Admin"], { sections: [service], args: ["--bench-model", "50"] });
    const { controller } = await connectController(
      {
        controllerId: OBUSPA_CONTROLLER_ID,
        agentId: OBUSPA_ID,
        agentTopic: OBUSPA_TOPIC,
        controllerTopic: OBUSPA_CONTROLLER_TOPIC,
        timeoutMs: 20_000,
        mqtt: { url: mosquitto.url, version: "5", publishQos: 0 },
      },
      new AbortController().signal,
    );
    remote = controller;
    await served();
  }, 90_000);

  afterAll(async () => {
    await remote?.close();
    await bed?.clear();
    await obuspa?.stop();
    await mosquitto?.stop();
  }, 60_000);

  /** Until the broker shows our model to the remote controller. */
  async function served(): Promise<void> {
    const ask = () =>
      remote.read(["Device.X_SPIN.Version"], { timeoutMs: 2_000 }).then(
        (values) => `${values.size}`,
        (error: unknown) => String(error),
      );
    const wait = eventually(ask, (answer) => answer === "1", { timeoutMs: 40_000, what: "our model at the broker" });
    await agent.unlessItDies(wait);
  }

  const next = async (subscription: Subscription): Promise<Notification> => {
    for await (const notification of subscription) return notification;
    throw new Error("the notifications ended");
  };

  it("is registered once, and its broker's row says who the broker is", async () => {
    const services = await remote.read(["Device.USPServices.USPService."]);
    expect([...services.values()]).toContain(AGENT_ID);
    const admin = await bed.as("Admin");
    const rows = await admin.read(["Device.LocalAgent.Controller."], { maxDepth: 2 });
    expect([...rows].filter(([path, value]) => path.endsWith("EndpointID") && value === OBUSPA_ID)).toHaveLength(1);
    expect((await admin.read(["Device.LocalAgent.MTP.2.Status"])).get("Device.LocalAgent.MTP.2.Status")).toBe("Up");
  }, 30_000);

  it("is described by the broker as it describes itself", async () => {
    const [through] = await remote.supported(["Device.X_SPIN."], { timeoutMs: 20_000 });
    const admin = await bed.as("Admin");
    const [itself] = await admin.supported(["Device.X_SPIN."]);
    const summary = (outcome: typeof through) =>
      (outcome?.objects ?? [])
        .map(({ path, params, commands, events }) => [
          path,
          params.map(({ name, access }) => `${name} ${access}`).sort(),
          commands.map(({ name, type }) => `${name} ${type}`).sort(),
          events.map(({ name }) => name).sort(),
        ])
        .sort();
    expect(summary(through)).toEqual(summary(itself));
  }, 30_000);

  it("gets, sets, adds and deletes", async () => {
    await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Quarantine" });
    expect((await remote.read(["Device.X_SPIN.NewDevicePolicy"])).get("Device.X_SPIN.NewDevicePolicy")).toBe(
      "Quarantine",
    );
    await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Allow" });
    const rule = await remote.create(RULE, {
      Enable: "true",
      Action: "Block",
      MACAddressList: "02:00:00:00:00:01",
      DestinationList: "192.0.2.0/24",
    });
    const values = await remote.read([rule]);
    expect(values.get(`${rule}Origin`)).toBe("Controller");
    expect(values.get(`${rule}Creator`)).toBe(OBUSPA_ID);
    expect(values.get(`${rule}DestinationList`)).toBe("192.0.2.0/24");
    const [rows] = await remote.instances([RULE]);
    expect(rows?.instances.map(({ path }) => path)).toEqual([rule]);
    await remote.remove(rule);
    expect((await remote.instances([RULE]))[0]?.instances).toEqual([]);
  }, 60_000);

  it("is refused what only the resident may, through the broker too", async () => {
    await expect(remote.write("Device.X_SPIN.", { PrivacyCeiling: "Summary" })).rejects.toMatchObject({
      name: "UspError",
    });
  }, 30_000);

  it("tells a ValueChange at once, through the broker", async () => {
    const subscription = await remote.subscribe({ kind: "ValueChange", references: ["Device.X_SPIN.NewDevicePolicy"] });
    await pause(500);
    const told = next(subscription);
    const began = performance.now();
    await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Quarantine" });
    expect(await told).toMatchObject({
      kind: "ValueChange",
      path: "Device.X_SPIN.NewDevicePolicy",
      value: "Quarantine",
    });
    expect(performance.now() - began).toBeLessThan(5_000);
    await subscription.close();
    await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Allow" });
  }, 60_000);

  it("tells that a row came and went", async () => {
    const came = await remote.subscribe({ kind: "ObjectCreation", references: [RULE] });
    const went = await remote.subscribe({ kind: "ObjectDeletion", references: [`${RULE}*.`] });
    await pause(500);
    const rule = await remote.create(RULE, {
      Action: "Count",
      MACAddressList: "*",
      DestinationList: "198.51.100.1",
    });
    expect(await next(came)).toMatchObject({ kind: "ObjectCreation", path: rule });
    await remote.remove(rule);
    expect(await next(went)).toMatchObject({ kind: "ObjectDeletion", path: rule });
    await came.close();
    await went.close();
  }, 60_000);

  it("runs commands, and tells events and the end of asynchronous ones", async () => {
    const event = await remote.subscribe({ kind: "Event", references: [`${BENCH}Fired!`] });
    await pause(500);
    await remote.run(`${BENCH}Fire()`, { Text: "fired" });
    expect(await next(event)).toMatchObject({ kind: "Event", path: `${BENCH}Fired!` });
    await event.close();
    expect((await remote.run(`${BENCH}Echo()`, { Text: "ab", Times: "2" })).get("Text")).toBe("abab");
    const [waited] = await remote.operate(`${BENCH}Wait()`, { Seconds: "1" });
    expect(waited?.error).toBeUndefined();
    expect(Number(waited?.output.get("Waited"))).toBeGreaterThanOrEqual(900);
  }, 60_000);

  it("carries a table of 500 values, and 200 requests at one time", async () => {
    expect((await remote.read([`${BENCH}Row.`])).size).toBe(500);
    const asked = Array.from({ length: 200 }, (_, index) => remote.read([`${BENCH}Row.${(index % 50) + 1}.P2`]));
    expect((await Promise.all(asked)).map(({ size }) => size)).toEqual(asked.map(() => 1));
  }, 60_000);

  it("goes on serving its own doors while the broker hangs, and is served again after", async () => {
    const admin = await bed.as("Admin");
    obuspa.halt();
    try {
      const began = performance.now();
      for (let i = 0; i < 100; i++) await admin.write(BENCH, { Mem: `${i}` });
      expect(performance.now() - began).toBeLessThan(5_000);
    } finally {
      obuspa.go();
    }
    await served();
  }, 60_000);

  it("registers again when the broker restarts, and keeps the remote controller's subscriptions", async () => {
    const subscription = await remote.subscribe({
      kind: "ValueChange",
      references: ["Device.X_SPIN.NewDevicePolicy"],
      persistent: true,
    });
    await obuspa.restart();
    await served();
    await eventually(
      async () => {
        await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Quarantine" });
        await remote.write("Device.X_SPIN.", { NewDevicePolicy: "Allow" });
        return Promise.race([next(subscription), pause(500)]);
      },
      (told) => told !== undefined,
      { timeoutMs: 30_000, what: "a ValueChange after the restart" },
    );
    await subscription.close();
  }, 120_000);

  it("comes back after its own restart, with its rules", async () => {
    const rule = await remote.create(RULE, { Action: "Count", MACAddressList: "*", DestinationList: "192.0.2.9" });
    expect(await agent.stop()).toBe(0);
    await expect(remote.read(["Device.X_SPIN.Version"])).rejects.toMatchObject({ name: "UspError" });
    agent.restart();
    await served();
    expect((await remote.read([`${rule}DestinationList`])).get(`${rule}DestinationList`)).toBe("192.0.2.9");
    await remote.remove(rule);
  }, 120_000);
});
