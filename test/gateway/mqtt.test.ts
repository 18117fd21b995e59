/** The agent's connections to brokers, as the rows of the model say: counted, guarded by TLS, and changed by Set. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentStatus } from "../../src/gateway/status.ts";
import { authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/mosquitto.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { startScriptedBroker } from "../support/scripted-broker.ts";
import { answers, Bed, gatewayMissing } from "./support.ts";

const CLIENT = "Device.MQTT.Client.1.";

describeUnless(gatewayMissing, "a client of a broker", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down());

  test.each(["5.0", "3.1.1"] as const)(
    "counts its packets, over MQTT %s",
    async (mqttVersion) => {
      const agent = await bed.agent(await bed.folder(), { qos: 0, mqttVersion, role: "Admin" });
      const controller = await bed.controller({ version: mqttVersion === "5.0" ? "5" : "3.1.1" });
      await answers(controller, agent);
      const stats = async () => {
        const values = await controller.read([`${CLIENT}Stats.`]);
        const of = (name: string) => Number(values.get(`${CLIENT}Stats.${name}`));
        return {
          sent: of("MQTTMessagesSent"),
          received: of("MQTTMessagesReceived"),
          publishSent: of("PublishSent"),
          publishReceived: of("PublishReceived"),
          subscribes: of("SubscribeSent"),
          unsubscribes: of("UnSubscribeSent"),
          errors: of("ConnectionErrors"),
        };
      };
      const first = await stats();
      expect(first).toMatchObject({ subscribes: 1, unsubscribes: 0, errors: 0 });
      // CONNECT and SUBSCRIBE, CONNACK and SUBACK.
      expect(first.sent - first.publishSent).toBe(2);
      expect(first.received - first.publishReceived).toBe(2);
      for (let i = 0; i < 10; i++) await stats();
      const last = await stats();
      expect(last.publishSent - first.publishSent).toBe(11);
      expect(last.received - first.received).toBe(11);
      expect(last.sent - last.publishSent).toBe(2);
      await controller.operate(`${CLIENT}ForceReconnect()`);
      const path = `${CLIENT}Stats.SubscribeSent`;
      const subscribes = () => controller.read([path], { timeoutMs: 300 }).then((values) => values.get(path), String);
      await eventually(subscribes, (count) => count === "2", { what: "SubscribeSent" });
    },
    60_000,
  );

  test("keeps the client id that the broker gave, without connecting anew for it", async () => {
    const agent = await bed.agent(await bed.folder(), { qos: 0, role: "Admin" });
    const controller = await bed.controller();
    await answers(controller, agent);
    const id = async () => (await controller.read([`${CLIENT}ClientID`])).get(`${CLIENT}ClientID`) ?? "";
    const given = await id();
    expect(given).toMatch(/^auto-/);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const subscribes = async () =>
      (await controller.read([`${CLIENT}Stats.SubscribeSent`])).get(`${CLIENT}Stats.SubscribeSent`);
    expect(await subscribes()).toBe("1");
    await agent.stop();
    agent.restart();
    await answers(controller, agent);
    expect(await id()).toBe(given);
    expect(await subscribes()).toBe("1");
  }, 60_000);

  test("a Set of BrokerPort is answered where it came, and moves the connection", async () => {
    const other = await Bed.up();
    try {
      const agent = await bed.agent(await bed.folder(), { role: "Admin" });
      const here = await bed.controller();
      const there = await other.controller();
      await answers(here, agent);
      await here.write(CLIENT, { BrokerPort: String(other.broker.port) });
      await answers(there, agent);
      expect((await there.read([`${CLIENT}BrokerPort`, `${CLIENT}Status`])).get(`${CLIENT}Status`)).toBe("Connected");
      await expect(here.read([`${CLIENT}Status`], { timeoutMs: 500 })).rejects.toThrow("no answer");
      // Nobody there: it says so, and comes back when the broker does.
      const port = await freePort();
      await there.write(CLIENT, { BrokerPort: String(port) });
      await eventually(
        () => agent.log,
        (log) => log.includes(`127.0.0.1:${port}: connection refused: nothing listens there; again in`),
        { what: "the log" },
      );
    } finally {
      await other.down();
    }
  }, 60_000);

  test("a password without a user name cuts nobody off: it is not sent", async () => {
    const agent = await bed.agent(await bed.folder(), { role: "Admin" });
    const controller = await bed.controller();
    await answers(controller, agent);
    await controller.set([{ path: CLIENT, values: { Password: "Secret-D" } }]);
    const path = `${CLIENT}Stats.SubscribeSent`;
    const subscribes = () => controller.read([path], { timeoutMs: 300 }).then((values) => values.get(path), String);
    await eventually(subscribes, (count) => count === "2", { what: "the new connection" });
  }, 60_000);

  test("a password that a controller wrote comes back by no message", async () => {
    const agent = await bed.agent(await bed.folder(), { role: "Admin" });
    const controller = await bed.controller();
    await answers(controller, agent);
    const heard: string[] = [];
    const subscription = await controller.subscribe({ kind: "ValueChange", references: [CLIENT] });
    const listens = (async () => {
      for await (const notification of subscription) heard.push(JSON.stringify(notification));
    })();
    const second = "Device.MQTT.Client.2.";
    const texts = [
      await controller.add([{ path: "Device.MQTT.Client.", values: { Name: "second", Password: "Secret-A" } }]),
      await controller.set([{ path: second, values: { Password: "Secret-B", Username: "u" } }]),
      await controller.set([{ path: CLIENT, values: { Username: "u", Password: "Secret-C", KeepAliveTime: "61" } }]),
    ].map((outcome) => JSON.stringify(outcome, (_, value: unknown) => (value instanceof Map ? [...value] : value)));
    // It connects anew for it; a request before that might be lost.
    const path = `${CLIENT}Stats.SubscribeSent`;
    const subscribes = () => controller.read([path], { timeoutMs: 300 }).then((values) => values.get(path), String);
    await eventually(subscribes, (count) => count === "2", { what: "SubscribeSent" });
    texts.push(JSON.stringify([...(await controller.read(["Device.MQTT."]))]));
    texts.push(JSON.stringify(await controller.instances(["Device.MQTT.Client."])));
    await eventually(
      () => heard.join(),
      (all) => all.includes("KeepAliveTime"),
      { what: "the notifications" },
    );
    await subscription.close();
    await listens;
    expect([...texts, ...heard].join("\n")).not.toContain("Secret-");
    expect(agent.log).not.toContain("Secret-");
  }, 60_000);

  test.each([
    ["at another address", { BrokerAddress: "localhost" }],
    ["under another name", { Username: "other" }],
  ])(
    "the configured password goes nowhere else: %s",
    async (_, moved) => {
      const strange = await startScriptedBroker({ version: 5 });
      try {
        const folder = await bed.folder();
        const password_file = join(folder, "password");
        writeFileSync(password_file, "Secret-D\n", { mode: 0o600 });
        const agent = await bed.agent(folder, { role: "Admin", mqtt: { username: "home", password_file } });
        const controller = await bed.controller();
        await answers(controller, agent);
        await controller.write(CLIENT, { ...moved, BrokerPort: new URL(strange.url).port });
        const { username, password } = await agent.unlessItDies(strange.packet("connect"));
        expect([username, String(password ?? "")]).toEqual(["Username" in moved ? "other" : "home", ""]);
      } finally {
        await strange.stop();
      }
    },
    60_000,
  );

  describeUnless(missing("openssl"), "over TLS", () => {
    test("trusts the authority that it is told, and says what is wrong with a certificate", async () => {
      const folder = await bed.folder();
      const own = authority(folder, "own");
      const strange = authority(folder, "strange");
      const cases = {
        good: { cert: own.issue("good"), ca: own.file, host: "localhost" },
        address: { cert: own.issue("address", { host: "127.0.0.1" }), ca: own.file, host: "127.0.0.1" },
        stranger: { cert: own.issue("stranger"), ca: strange.file, host: "localhost" },
        expired: { cert: own.issue("expired", { expired: true }), ca: own.file, host: "localhost" },
        misnamed: { cert: own.issue("misnamed", { host: "other.example" }), ca: own.file, host: "localhost" },
        missing: { cert: own.issue("missing"), ca: "/does/not/exist.pem", host: "localhost" },
      };
      const ports = new Map<string, number>();
      for (const name of Object.keys(cases)) ports.set(name, await freePort());
      const listeners = Object.entries(cases).flatMap(([name, { cert }]) => [
        `listener ${ports.get(name)} 127.0.0.1`,
        `certfile ${cert.cert}`,
        `keyfile ${cert.key}`,
      ]);
      const guarded = await Bed.up(["set_tcp_nodelay true", ...listeners]);
      try {
        const agent = await guarded.agent(folder, {
          role: "Admin",
          sections: Object.entries(cases).map(([name, { ca, host }]) => ({
            type: "mqtt",
            name,
            options: { host, port: String(ports.get(name)), tls: "1", ca_file: ca, topic: `usp/agent/${name}` },
          })),
        });
        const controller = await guarded.controller();
        await answers(controller, agent);
        const expected = {
          good: ["Connected", ""],
          address: ["Connected", ""],
          stranger: ["Error", "the peer's certificate is of an authority that is not known"],
          expired: ["Error", "the peer's certificate, or one above it, has expired"],
          misnamed: ["Error", "the peer's certificate is for another name"],
          missing: ["Error_Misconfigured", "option ca_file: ENOENT"],
        } as const;
        const states = async () => {
          const values = await controller.read(["Device.MQTT.Client.*.Name", "Device.MQTT.Client.*.Status"]);
          return new Map(
            [...values]
              .filter(([path]) => path.endsWith("Name"))
              .map(([path, name]) => [name, values.get(path.replace(/Name$/, "Status"))]),
          );
        };
        await eventually(
          states,
          (now) => Object.entries(expected).every(([name, [status]]) => now.get(name) === status),
          { what: "the Status of the clients", timeoutMs: 15_000 },
        );
        for (const [name, [, text]] of Object.entries(expected))
          if (text !== "")
            expect(agent.log).toMatch(
              new RegExp(`${name === "missing" ? "" : `:${ports.get(name)}: `}${escape(text)}`),
            );
        await agent.stop();
        const status = JSON.parse(readFileSync(join(folder, "state/status.json"), "utf8")) as AgentStatus;
        for (const [name, [, text]] of Object.entries(expected))
          if (text !== "")
            expect(
              status.mtps.some(({ broker, reason }) => broker.endsWith(`:${ports.get(name)}`) && reason.includes(text)),
            ).toBe(true);
      } finally {
        await guarded.down();
      }
    }, 60_000);
  });
});

const escape = (text: string) => text.replace(/[()[\].+*?^$|\\/]/g, "\\$&");
