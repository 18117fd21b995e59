/** The ACL of docs/security.md, in a real mosquitto: who may read and write what, and that agent and ctl work under it. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectAsync, type MqttClient } from "mqtt";
import { connectController } from "../../src/controller/connect.ts";
import { AGENT_ID } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "./support.ts";

const ACL = /```\n(# agents: [\s\S]*?)```/.exec(readFileSync("docs/security.md", "utf8"))?.[1] ?? "";
const CONTROLLER_ID = "self::acs.example";
const AGENT_TOPIC = "usp/v1/agent/home-0001";
const CONTROLLER_TOPIC = `usp/v1/controller/${CONTROLLER_ID}`;
const USERS = ["home-0001", "home-0002", "acs", "stranger"];

describeUnless(gatewayMissing ?? missing("mosquitto_passwd"), "the ACL of docs/security.md", () => {
  let bed: Bed;
  const clients: MqttClient[] = [];
  beforeAll(async () => {
    bed = await Bed.up(
      ["set_tcp_nodelay true", "allow_anonymous false", "password_file {folder}/users", "acl_file {folder}/acl"],
      { acl: ACL, users: hashed(USERS.map((user) => `${user}:pw of ${user}\n`).join("")) },
    );
  }, 30_000);
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
    await bed.clear();
  }, 30_000);
  afterAll(() => bed?.down());

  /** A client of that user, and the topics of what it hears. */
  async function as(username: string): Promise<{ client: MqttClient; heard: string[] }> {
    const client = await connectAsync(bed.broker.url, { protocolVersion: 5, username, password: `pw of ${username}` });
    const heard: string[] = [];
    client.on("message", (topic) => heard.push(topic));
    clients.push(client);
    return { client, heard };
  }
  const mayNot = (what: Promise<unknown>) => expect(what).rejects.toThrow(/not authorized/i);

  test("lets nobody in without a password", async () => {
    await mayNot(connectAsync(bed.broker.url, { reconnectPeriod: 0 }));
    await mayNot(connectAsync(bed.broker.url, { username: "acs", password: "pw", reconnectPeriod: 0 }));
  });

  test("lets an agent read its own topic, and no other's", async () => {
    const acs = await as("acs");
    const own = await as("home-0001");
    const other = await as("home-0002");
    await own.client.subscribeAsync([AGENT_TOPIC, `${AGENT_TOPIC}/#`]);
    await other.client.subscribeAsync("usp/v1/agent/home-0002");
    // Mosquitto grants what overlaps and sifts what it delivers; what can't be right it refuses at once.
    for (const filter of [
      AGENT_TOPIC,
      `${AGENT_TOPIC}/#`,
      "usp/v1/agent/+",
      "#",
      "usp/v1/controller/#",
      CONTROLLER_TOPIC,
    ])
      await other.client.subscribeAsync(filter).catch(() => undefined);
    for (const topic of [AGENT_TOPIC, `${AGENT_TOPIC}/reply-to=x`, "usp/v1/agent/home-0002"])
      await acs.client.publishAsync(topic, "x", { qos: 1 });
    await own.client.publishAsync(CONTROLLER_TOPIC, "x", { qos: 1 });
    await eventually(
      () => own.heard.length + other.heard.length,
      (count) => count >= 3,
      { what: "the messages" },
    );
    await acs.client.publishAsync("usp/v1/agent/home-0002", "last", { qos: 1 });
    await eventually(
      () => other.heard.length,
      (count) => count >= 2,
      { what: "the messages" },
    );
    expect(own.heard.every((topic) => topic.startsWith(AGENT_TOPIC))).toBe(true);
    expect(new Set(other.heard)).toEqual(new Set(["usp/v1/agent/home-0002"]));
  });

  test("lets the controller alone write to an agent's topic", async () => {
    const own = await as("home-0001");
    await own.client.subscribeAsync([AGENT_TOPIC, `${AGENT_TOPIC}/#`]);
    for (const user of ["stranger", "home-0002"]) {
      const { client } = await as(user);
      for (const topic of [AGENT_TOPIC, `${AGENT_TOPIC}/reply-to=x`])
        await mayNot(client.publishAsync(topic, "x", { qos: 1 }));
    }
    await (await as("acs")).client.publishAsync(AGENT_TOPIC, "x", { qos: 1 });
    await eventually(
      () => own.heard,
      (heard) => heard.length > 0,
      { what: "what the agent hears" },
    );
    expect(new Set(own.heard)).toEqual(new Set([AGENT_TOPIC]));
  });

  test.each(["5", "3.1.1"] as const)(
    "lets agent and controller do their work, over MQTT %s",
    async (version) => {
      const folder = await bed.folder();
      writeFileSync(join(folder, "password"), "pw of home-0001\n", { mode: 0o600 });
      const agent = await bed.agent(folder, {
        mqttVersion: version === "5" ? "5.0" : version,
        mqtt: { username: "home-0001", password_file: join(folder, "password"), topic: AGENT_TOPIC },
        // As the README has it, without a topic of its own.
        sections: [{ type: "controller", name: "acs", options: { endpoint_id: CONTROLLER_ID, mqtt: "broker" } }],
      });
      const { controller } = await connectController(
        {
          controllerId: CONTROLLER_ID,
          agentId: AGENT_ID,
          agentTopic: AGENT_TOPIC,
          mqtt: { url: bed.broker.url, version, username: "acs", password: "pw of acs" },
        },
        new AbortController().signal,
      );
      try {
        await answers(controller, agent);
        const subscription = await controller.subscribe({
          kind: "ObjectCreation",
          references: ["Device.X_SPIN.Rule."],
        });
        await controller.create("Device.X_SPIN.Rule.", { MACAddressList: "*", DestinationList: "203.0.113.1" });
        for await (const { kind } of subscription) {
          expect(kind).toBe("ObjectCreation");
          break;
        }
      } finally {
        await controller.close();
      }
    },
    30_000,
  );
});

/** The text of a password file, as mosquitto_passwd makes it of plain ones. */
function hashed(plain: string): string {
  const { stdout, stderr, status } = spawnSync(
    "sh",
    ["-ec", 'file=$(mktemp); cat > "$file"; mosquitto_passwd -U "$file"; cat "$file"; rm "$file"'],
    { input: plain, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
