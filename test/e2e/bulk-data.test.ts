/** Reports of the product as it is run: profiles made over mosquitto, reports at collectors. */
import { spawn } from "node:child_process";
import mqtt from "mqtt";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID, CONTROLLER_TOPIC, type Agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { startMosquitto } from "../support/mosquitto.ts";
import { describeUnless } from "../support/needs.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { answers, Bed, gatewayMissing } from "../gateway/support.ts";
import { Collector } from "../usp/bulk-data/support.ts";

const PROFILES = "Device.BulkData.Profile.";
const REPORTS = {
  type: "bulk_data",
  options: { min_interval: "1", allow_plaintext: "1", allow_local: ["127.0.0.0/8"] },
} as const;

interface Published {
  readonly topic: string;
  readonly text: string;
  readonly qos: number;
  readonly contentType: string | undefined;
}

const clients: mqtt.MqttClient[] = [];

/** What a broker carries on that topic. */
async function listen(url: string, to: string) {
  const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
  clients.push(client);
  const published: Published[] = [];
  client.on("message", (topic, payload, { qos, properties }) =>
    published.push({ topic, text: payload.toString(), qos, contentType: properties?.contentType }),
  );
  await client.subscribeAsync(to, { qos: 2 });
  return { published };
}

describeUnless(gatewayMissing, "reports of a gateway", () => {
  let bed: Bed;
  let agent: Agent;
  let controller: Controller;
  let collector: Collector;
  beforeAll(async () => {
    bed = await Bed.up();
    bundle();
  }, 60_000);
  beforeEach(async () => {
    collector = await Collector.start();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
    await collector.stop();
    await bed.clear();
  }, 30_000);
  afterAll(() => bed?.down());

  async function up(options: Parameters<Bed["agent"]>[1] = {}): Promise<void> {
    agent = await bed.agent(await bed.folder(), { sections: [REPORTS], ...options });
    const version = options.mqttVersion === "3.1.1" ? "3.1.1" : "5";
    controller = await bed.controller({ version });
    await answers(controller, agent);
  }

  async function profile(values: Readonly<Record<string, string>>): Promise<string> {
    const path = await controller.create(PROFILES, { ReportingInterval: "3600", ...values });
    await controller.create(`${path}Parameter.`, { Name: "Devices", Reference: "Device.X_SPIN.Summary.DeviceCount" });
    await controller.write(path, { Enable: "true" });
    return path;
  }

  const force = (path: string) => controller.operate(`${path}ForceCollection()`);
  const soon = (holds: () => boolean, what: string) =>
    agent.unlessItDies(eventually(() => Promise.resolve(holds()), Boolean, { timeoutMs: 15_000, what }));

  test("arrive at a collector, each interval, of a profile that ctl added", async () => {
    await up();
    const path = (
      await ctl("add", PROFILES, "ReportingInterval=1", `HTTP.URL=${collector.url()}`, "HTTP.Compression=GZIP")
    )
      .split(/\s/)
      .find((word) => word.startsWith(PROFILES)) as string;
    await ctl("add", `${path}Parameter.`, "Name=Devices", "Reference=Device.X_SPIN.Summary.DeviceCount");
    await ctl("set", `${path}Enable=true`);
    await soon(() => collector.requests.length >= 2, "two reports");
    const { query, headers, text } = collector.requests[0]!;
    expect(JSON.parse(text)).toMatchObject({ Report: [{ Devices: 0 }] });
    expect(headers["content-encoding"]).toBe("gzip");
    expect(query.get("eid") ?? query.get("sn")).toBeTruthy();
    // What was reported goes on after a restart.
    await agent.kill();
    agent.restart();
    const before = collector.requests.length;
    await soon(() => collector.requests.length > before, "a report after the restart");
  }, 60_000);

  test("are pushed to the controller whose profile it is", async () => {
    await up();
    const path = await profile({ Protocol: "USPEventNotif" });
    const events = await controller.subscribe({ kind: "Event", references: [`${path}Push!`] });
    await force(path);
    for await (const event of events) {
      expect(event).toMatchObject({ kind: "Event", path: `${path}Push!` });
      if (event.kind === "Event") expect(event.params.get("Data")).toContain('"Devices":0');
      break;
    }
  }, 60_000);

  test.each(["5.0", "3.1.1"] as const)(
    "are published over MQTT %s on the connection of the MTP, with type, QoS and retain flag",
    async (mqttVersion) => {
      await up({ mqttVersion });
      const heard = await listen(bed.broker.url, `reports/${mqttVersion}`);
      const path = await profile({
        Protocol: "MQTT",
        "MQTT.Reference": "Device.MQTT.Client.1",
        "MQTT.PublishTopic": `reports/${mqttVersion}`,
        "MQTT.PublishQoS": "2",
        "MQTT.PublishRetain": "true",
      });
      await force(path);
      await soon(() => heard.published.length > 0, "a publication");
      expect(heard.published[0]).toEqual({
        topic: `reports/${mqttVersion}`,
        text: expect.stringContaining('"Devices":0') as string,
        qos: 2,
        contentType: mqttVersion === "5.0" ? "application/json; charset=UTF-8" : undefined,
      });
      const later = await listen(bed.broker.url, `reports/${mqttVersion}`);
      await soon(() => later.published.length > 0, "what was retained");
    },
    60_000,
  );

  test("are published at another broker, by a client that no MTP uses", async () => {
    const other = await startMosquitto();
    try {
      await up({ role: "Admin" });
      const heard = await listen(other.url, "reports/apart");
      const client = await controller.create("Device.MQTT.Client.", {
        Name: "telemetry",
        Enable: "true",
        BrokerAddress: "127.0.0.1",
        BrokerPort: `${other.port}`,
      });
      const path = await profile({
        Protocol: "MQTT",
        "MQTT.Reference": client.slice(0, -1),
        "MQTT.PublishTopic": "reports/apart",
        "MQTT.PublishQoS": "1",
      });
      await force(path);
      await soon(() => heard.published.length > 0, "a publication");
      expect(heard.published[0]?.text).toContain('"Devices":0');
    } finally {
      await other.stop();
    }
  }, 60_000);

  test("go nowhere inside the home, nor without TLS, unless the configuration says so", async () => {
    await up({ sections: [{ type: "bulk_data", options: { min_interval: "1" } }] });
    const path = await profile({ "HTTP.URL": collector.url() });
    await force(path);
    await soon(() => agent.log.includes("option allow_plaintext"), "the refusal");
    await controller.write(`${path}HTTP.`, { URL: collector.url().replace("http:", "https:") });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await force(path);
    await soon(() => agent.log.includes("option allow_local"), "the refusal");
    expect((await controller.read(["Device.BulkData.Status"])).get("Device.BulkData.Status")).toBe("Error");
    expect(collector.requests).toEqual([]);
  }, 60_000);

  /** What it prints; fails where it does. */
  async function ctl(...words: readonly string[]): Promise<string> {
    const child = spawn(process.execPath, [bundle(), "ctl", ...words], {
      env: {
        ...process.env,
        SPIN_USP_BROKER: bed.broker.url,
        SPIN_USP_AGENT: AGENT_ID,
        SPIN_USP_CONTROLLER: CONTROLLER_ID,
        SPIN_USP_AGENT_TOPIC: AGENT_TOPIC,
        SPIN_USP_CONTROLLER_TOPIC: CONTROLLER_TOPIC,
      },
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const code = await new Promise((resolve) => child.on("close", resolve));
    if (code !== 0) throw new Error(`ctl ${words.join(" ")} exited with ${String(code)}: ${text}`);
    return text;
  }
});
