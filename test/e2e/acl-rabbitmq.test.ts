/** RabbitMQ's permissions of docs/security.md, in a real RabbitMQ: who may hear and send what, over STOMP and MQTT. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectController } from "../../src/controller/connect.ts";
import { connectByStomp } from "../../src/controller/connect-stomp.ts";
import { connectStomp, type StompConnection } from "../../src/mtp/stomp.ts";
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import type { Link } from "../../src/usp/link.ts";
import { answers } from "../gateway/support.ts";
import { Agent, AGENT_ID } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { rabbitMissing, type RabbitUser } from "../support/rabbitmq.ts";
import { StompBed } from "../support/stomp-bed.ts";

const never = new AbortController().signal;
const ACS = "self::acs.example";
const CONTROLLER = `/topic/usp.v1.controller.${ACS}`;
const agentTopic = (user: string) => `/topic/usp.v1.agent.${user}`;

/** The users of the manual's lines, and a second agent whose lines are the first's with its own name. */
function documented(): RabbitUser[] {
  const text = readFileSync("docs/security.md", "utf8").replaceAll("\\\n", "");
  const users = new Map<string, Partial<Record<"permissions" | "topic", readonly string[]>>>();
  for (const [, kind, user, rest] of text.matchAll(/^rabbitmqctl set_(permissions|topic_permissions) (\S+) (.*)$/gm)) {
    const patterns = [...(rest as string).matchAll(/'([^']*)'/g)].map(([, pattern]) => pattern as string);
    const key = kind === "permissions" ? "permissions" : "topic";
    users.set(user as string, { ...users.get(user as string), [key]: patterns });
  }
  const made = [...users].map(([name, { permissions = [], topic = [] }]): RabbitUser => {
    const [configure = "", write = "", read = ""] = permissions;
    return {
      name,
      password: passwordOf(name),
      configure,
      write,
      read,
      topic: { write: topic[0] ?? "", read: topic[1] ?? "" },
    };
  });
  const first = made.find(({ name }) => name === "home-0001") as RabbitUser;
  return [...made, JSON.parse(JSON.stringify(first).replaceAll("home-0001", "home-0002")) as RabbitUser];
}

const passwordOf = (user: string) => `pw: of\\${user}`;

describeUnless(rabbitMissing, "RabbitMQ with the permissions of docs/security.md", () => {
  let bed: StompBed;
  const links: Link[] = [];
  beforeAll(async () => {
    bed = await StompBed.up({ users: documented(), config: ["mqtt.allow_anonymous = false"] });
  }, 120_000);
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
    await bed.clear();
  }, 30_000);
  afterAll(() => bed?.down(), 30_000);

  const stomp = async (user: string, destination: string): Promise<StompConnection & { heard: string[] }> => {
    const made = await connectStomp(
      { url: bed.rabbit.url, username: user, password: passwordOf(user), endpointId: `self::${user}`, destination },
      never,
    );
    links.push(made.link);
    return { ...made, heard: hear(made.link) };
  };
  const mqtt = async (user: string, topic: string, clientId = user) => {
    const made = await connectMqtt(
      {
        url: bed.rabbit.mqttUrl,
        version: "3.1.1",
        clientId,
        username: user,
        password: passwordOf(user),
        endpointId: `self::${user}`,
        responseTopic: topic,
      },
      never,
    );
    links.push(made.link);
    return { ...made, heard: hear(made.link) };
  };
  const hear = (link: Link): string[] => {
    const heard: string[] = [];
    void (async () => {
      for await (const { bytes } of link.received) heard.push(Buffer.from(bytes).toString());
    })().catch((error: unknown) => heard.push(`ended: ${String(error)}`));
    return heard;
  };
  const refused = ({ heard }: { heard: string[] }) =>
    eventually(
      () => heard,
      (lines) => lines.some((line) => line.startsWith("ended:")),
      { what: "what it hears" },
    );

  test("names all three users in the manual", () => {
    expect(documented().map(({ name }) => name)).toEqual(["home-0001", "acs", "home-0002"]);
    for (const { configure, write, read, topic } of documented())
      for (const pattern of [configure, write, read, topic?.read, topic?.write]) expect(pattern).toMatch(/^\^/);
  });

  test("lets nobody in without a password", async () => {
    const connect = (credentials: object) =>
      connectStomp({ url: bed.rabbit.url, endpointId: "self::x", destination: "/topic/x", ...credentials }, never);
    await expect(connect({})).rejects.toMatchObject({ name: "MtpError" });
    await expect(connect({ username: "acs", password: "wrong" })).rejects.toMatchObject({ kind: "credentials" });
    await expect(connect({ username: "guest", password: "guest" })).rejects.toMatchObject({ kind: "credentials" });
    await expect(
      connectMqtt({ url: bed.rabbit.mqttUrl, version: "3.1.1", endpointId: "self::x", responseTopic: "x" }, never),
    ).rejects.toMatchObject({ name: "MtpError" });
  });

  test.each([
    "/topic/usp.v1.agent.home-0001",
    "/topic/usp.v1.agent.*",
    "/topic/usp.v1.agent.#",
    "/topic/usp.#",
    "/topic/#",
    CONTROLLER,
    "/topic/usp.v1.controller.#",
    "/exchange/amq.topic/usp.v1.agent.home-0001",
    "/exchange/amq.fanout/x",
    "/queue/usp.v1.agent.home-0001",
    "/amq/queue/mqtt-subscription-home-0001qos0",
  ])("does not let another agent hear %s", async (destination) => {
    const own = await mqtt("home-0001", "usp/v1/agent/home-0001");
    await expect(stomp("home-0002", destination)).rejects.toMatchObject({ kind: "subscribe" });
    const acs = await stomp("acs", CONTROLLER);
    await acs.link.send(Buffer.from("for home-0001"), { to: agentTopic("home-0001") });
    await eventually(
      () => own.heard,
      (heard) => heard.length > 0,
      { what: "what the agent hears" },
    );
    expect(own.heard).toEqual(["for home-0001"]);
  });

  test.each(["usp/v1/agent/home-0001", "usp/#", "#", `usp/v1/controller/${ACS}`])("nor %s over MQTT", async (topic) => {
    await expect(mqtt("home-0002", topic)).rejects.toMatchObject({ name: "MtpError" });
  });

  test("nor take an agent's queue over by its client id", async () => {
    const own = await mqtt("home-0001", "usp/v1/agent/home-0001");
    await expect(mqtt("home-0002", "usp/v1/agent/home-0002", "home-0001")).rejects.toMatchObject({ name: "MtpError" });
    // RabbitMQ ends the older connection of that client id all the same; nothing that was for it is read by another.
    expect(own.heard.filter((line) => !line.startsWith("ended:"))).toEqual([]);
  });

  test.each([
    "/topic/usp.v1.agent.home-0001",
    "/exchange/amq.topic/usp.v1.agent.home-0001",
    "/queue/usp.v1.agent.home-0001",
    "/amq/queue/mqtt-subscription-home-0001qos0",
    "/exchange/amq.direct/x",
  ])("lets no agent send to %s, where the controller alone speaks", async (destination) => {
    const own = await mqtt("home-0001", "usp/v1/agent/home-0001");
    const other = await stomp("home-0002", agentTopic("home-0002"));
    await other.link.send(Buffer.from("forged"), { to: destination });
    await refused(other);
    const acs = await stomp("acs", CONTROLLER);
    await acs.link.send(Buffer.from("true"), { to: agentTopic("home-0001") });
    await eventually(
      () => own.heard,
      (heard) => heard.length > 0,
      { what: "what the agent hears" },
    );
    expect(own.heard).toEqual(["true"]);
  });

  test("lets an agent tell the controller, over either protocol", async () => {
    const acs = await stomp("acs", CONTROLLER);
    const [byStomp, byMqtt] = [
      await stomp("home-0001", agentTopic("home-0001")),
      await mqtt("home-0002", "usp/v1/agent/home-0002"),
    ];
    await byStomp.link.send(Buffer.from("by STOMP"), { to: CONTROLLER });
    await eventually(
      () => acs.heard,
      (heard) => heard.includes("by STOMP"),
      { what: "what the controller hears" },
    );
    const ear = await mqtt("acs", `usp/v1/controller/${ACS}`);
    await byMqtt.link.send(Buffer.from("by MQTT"), { to: `usp/v1/controller/${ACS}` });
    await eventually(
      () => ear.heard,
      (heard) => heard.includes("by MQTT"),
      { what: "what the controller hears" },
    );
  });

  test.each(["STOMP", "MQTT"] as const)(
    "lets agent and controller do their work over %s",
    async (protocol) => {
      const folder = await bed.folder();
      const password_file = join(folder, "password");
      writeFileSync(password_file, `${passwordOf("home-0001")}\n`, { mode: 0o600 });
      const credentials = { username: "home-0001", password_file };
      const acs = { username: "acs", password: passwordOf("acs") };
      const ids = { controllerId: ACS, agentId: AGENT_ID, timeoutMs: 5_000 };
      const agent =
        protocol === "STOMP"
          ? await bed.agent({
              folder,
              stomp: { ...credentials, destination: agentTopic("home-0001") },
              sections: [{ type: "controller", name: "acs", options: { endpoint_id: ACS, stomp: "broker" } }],
            })
          : await Agent.start({
              folder,
              broker: { host: "127.0.0.1", port: bed.rabbit.mqttPort },
              mqttVersion: "3.1.1",
              mqtt: { ...credentials, client_id: "home-0001", topic: "usp/v1/agent/home-0001" },
              controller: { topic: "usp/v1/controller/operator" },
              qos: 0,
              enforce: "none",
              capture: { enable: "0", helper: "none" },
              sections: [{ type: "controller", name: "acs", options: { endpoint_id: ACS, mqtt: "broker" } }],
            });
      const { controller } =
        protocol === "STOMP"
          ? await connectByStomp(
              { ...ids, agentDestination: agentTopic("home-0001"), stomp: { url: bed.rabbit.url, ...acs } },
              never,
            )
          : await connectController(
              {
                ...ids,
                agentTopic: "usp/v1/agent/home-0001",
                mqtt: { url: bed.rabbit.mqttUrl, version: "3.1.1", ...acs },
              },
              never,
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
        if (agent.running) await agent.kill();
      }
    },
    60_000,
  );
});
