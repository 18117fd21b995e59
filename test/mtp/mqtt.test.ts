/** What R-MQTT asks of a client, seen by a broker that a test scripts; and every way to fail, in words. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectMqtt, type MqttConnection } from "../../src/mtp/mqtt.ts";
import type { MqttOptions } from "../../src/mtp/mqtt-options.ts";
import type { ReceivedRecord } from "../../src/usp/link.ts";
import { freePort, hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { startScriptedBroker, type Script, type ScriptedBroker } from "../support/scripted-broker.ts";
import { startAedes } from "../support/aedes.ts";

const never = new AbortController().signal;
const agent = {
  endpointId: "os::00D09E-0001",
  version: "5",
  subscriptions: [{ topic: "usp/v1/agent/1", qos: 0 }],
} as const;

let broker: ScriptedBroker | undefined;
let connection: MqttConnection | undefined;
afterEach(async () => {
  await connection?.link.close();
  await broker?.stop();
  connection = broker = undefined;
});

/** Connects to a broker that follows the script. */
async function meet(
  script: Script,
  options: Partial<MqttOptions> = {},
): Promise<{ broker: ScriptedBroker } & MqttConnection> {
  broker = await startScriptedBroker(script);
  connection = await connectMqtt(
    { ...agent, version: script.version === 5 ? "5" : "3.1.1", url: broker.url, ...options },
    never,
  );
  return { broker, ...connection };
}

async function first(link: MqttConnection["link"]): Promise<ReceivedRecord | undefined> {
  for await (const record of link.received) return record;
  return undefined;
}

describe("a connection of MQTT 5", () => {
  test("says who it is in the first user property, asks for Response Information, and leaves the client id to the broker", async () => {
    const { broker } = await meet({ version: 5 });
    expect(await broker.packet("connect")).toMatchObject({
      protocolVersion: 5,
      clientId: "",
      clean: true,
      keepalive: 60,
      properties: { requestResponseInformation: true, userProperties: { "usp-endpoint-id": agent.endpointId } },
    });
  });

  test("sends what was configured: client id, credentials, session, keep-alive and will", async () => {
    const { broker } = await meet(
      { version: 5 },
      {
        clientId: "cpe-1",
        username: "u",
        password: "p",
        cleanStart: false,
        sessionExpirySeconds: 3600,
        keepAliveSeconds: 30,
        will: { topic: "gone", payload: Buffer.from("x"), qos: 1, retain: true },
      },
    );
    const sent = await broker.packet("connect");
    expect(sent).toMatchObject({ clientId: "cpe-1", username: "u", clean: false, keepalive: 30 });
    expect(sent).toMatchObject({
      properties: { sessionExpiryInterval: 3600 },
      will: { topic: "gone", qos: 1, retain: true },
    });
    expect(String(sent["password"])).toBe("p");
  });

  test("sends configured user properties after its own", async () => {
    const { broker, link } = await meet(
      { version: 5 },
      { connectProperties: { tenant: "7" }, publishProperties: { zone: "a", __proto__x: "b" } },
    );
    const { properties } = (await broker.packet("connect")) as { properties?: { userProperties?: object } };
    expect(Object.entries(properties?.userProperties ?? {})).toEqual([
      ["usp-endpoint-id", agent.endpointId],
      ["tenant", "7"],
    ]);
    await link.send(Buffer.from("record"), { to: "c" });
    expect((await broker.packet("publish"))["properties"]).toMatchObject({
      contentType: "usp.msg",
      userProperties: { zone: "a", __proto__x: "b" },
    });
  });

  test("subscribes to all that is configured and all that the CONNACK names, and reports what it was told", async () => {
    const properties = {
      responseInformation: "broker/says/reply",
      assignedClientIdentifier: "assigned-7",
      serverKeepAlive: 17,
      maximumPacketSize: 5_000,
      userProperties: { "subscribe-topic": ["named/one", "named/two", "bad/#/filter"] },
    };
    const { broker, info } = await meet({ version: 5, connack: { properties } }, { responseTopic: "configured/reply" });
    expect((await broker.packet("subscribe"))["subscriptions"]).toMatchObject(
      ["usp/v1/agent/1", "named/one", "named/two", "broker/says/reply"].map((topic) => ({ topic })),
    );
    expect(info).toMatchObject({
      replyTopic: "broker/says/reply",
      assignedClientId: "assigned-7",
      keepAliveSeconds: 17,
      maximumPacketSize: 5_000,
      subscribed: ["usp/v1/agent/1", "named/one", "named/two", "broker/says/reply"],
    });
  });

  test("subscribes to a single subscribe-topic with nothing configured, and answers are to go there", async () => {
    const connack = { properties: { userProperties: { "subscribe-topic": "only/one" } } };
    const { info } = await meet({ version: 5, connack }, { subscriptions: [] });
    expect(info).toMatchObject({ subscribed: ["only/one"], replyTopic: "only/one" });
  });

  test("does not subscribe to a Response Information that a filter covers already", async () => {
    const connack = { properties: { responseInformation: "usp/reply/me" } };
    const { info } = await meet({ version: 5, connack }, { subscriptions: [{ topic: "usp/reply/#", qos: 1 }] });
    expect(info).toMatchObject({ subscribed: ["usp/reply/#"], replyTopic: "usp/reply/me" });
  });

  test("publishes with Response Topic and Content Type, at the quality that broker and configuration allow", async () => {
    const { broker, link } = await meet({ version: 5, connack: { properties: { maximumQoS: 1 } } }, { publishQos: 2 });
    await link.send(Buffer.from("record"), { to: "usp/v1/controller/c", retain: true });
    expect(await broker.packet("publish")).toMatchObject({
      topic: "usp/v1/controller/c",
      qos: 1,
      retain: true,
      properties: { responseTopic: "usp/v1/agent/1", contentType: "usp.msg" },
    });
  });

  test("takes Records with a USP content type or none, and ignores others", async () => {
    const { broker, link } = await meet({ version: 5 });
    const publish = (payload: string, properties?: object) =>
      broker.send({ cmd: "publish", topic: "usp/v1/agent/1", payload, qos: 0, retain: false, dup: false, properties });
    publish("json", { contentType: "application/json" });
    publish("text", { contentType: "text/plain" });
    publish("1", { contentType: "usp.msg", responseTopic: "c/1" });
    publish("2", { contentType: "application/vnd.bbf.usp.msg" });
    publish("3");
    publish("4", { contentType: "usp.msg", responseTopic: "c/+" });
    const got: string[] = [];
    for await (const record of link.received) {
      if (got.push(`${Buffer.from(record.bytes).toString()} ${record.replyTo ?? "-"}`) === 4) break;
    }
    expect(got).toEqual(["1 c/1", "2 -", "3 -", "4 -"]);
  });

  test.each([0, 1] as const)("takes the beginning of a Record that is too long, at QoS %d", async (qos) => {
    const { broker, link } = await meet({ version: 5 }, { limits: { recordBytes: 20_000 } });
    const packet = { cmd: "publish", topic: "usp/v1/agent/1", qos, messageId: 7, retain: false, dup: false };
    broker.send({ ...packet, payload: Buffer.alloc(80_000, 1), properties: { responseTopic: "c/1" } });
    const taken = await first(link);
    expect(taken).toMatchObject({ tooLong: 80_000, replyTo: "c/1" });
    expect(taken?.bytes.length).toBe(16_384);
    if (qos === 1) expect(await broker.packet("puback")).toMatchObject({ messageId: 7 });
  });

  test("has never more unacknowledged than the broker's Receive Maximum", async () => {
    const { broker, link } = await meet(
      { version: 5, connack: { properties: { receiveMaximum: 3 } } },
      { publishQos: 1 },
    );
    const counts: number[] = [];
    const all = Promise.all(
      Array.from({ length: 20 }, (_, i) => link.send(Buffer.from([i]), { to: "t" }).then(() => counts.push(i))),
    );
    expect(broker.seen.filter((packet) => packet.cmd === "publish").length).toBeLessThanOrEqual(3);
    await all;
    expect(counts).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  test("refuses to send what the broker's maximum packet size excludes, to no topic, or past its bound", async () => {
    const limits = { outgoingRecords: 2 };
    const connack = { properties: { maximumPacketSize: 1_000, receiveMaximum: 1 } };
    const { link } = await meet({ version: 5, connack }, { publishQos: 1, limits });
    await expect(link.send(Buffer.alloc(1_000), { to: "t" })).rejects.toMatchObject({ kind: "too-large" });
    for (const to of ["", "a/+", "#", "x\0y"])
      await expect(link.send(Buffer.alloc(1), { to })).rejects.toMatchObject({ kind: "address" });
    await expect(link.send(Buffer.alloc(1))).rejects.toMatchObject({ kind: "address" });
    const sends = [1, 2, 3].map(() => link.send(Buffer.alloc(1), { to: "t" }));
    await expect(sends[2]).rejects.toMatchObject({ kind: "congested" });
    await Promise.all(sends.slice(0, 2));
  });

  test("ends with the reason that the broker gives", async () => {
    const { broker, link } = await meet({ version: 5 });
    broker.send({ cmd: "disconnect", reasonCode: 0x8b, properties: { reasonString: "maintenance" } });
    broker.hangUp();
    await expect(first(link)).rejects.toMatchObject({
      kind: "closed",
      message: expect.stringContaining("maintenance"),
    });
  });
});

describe("a connection of MQTT 3.1.1", () => {
  test("uses the endpoint id as client id, and no properties", async () => {
    const { broker } = await meet({ version: 4 });
    expect(await broker.packet("connect")).toMatchObject({ protocolVersion: 4, clientId: agent.endpointId });
    expect(await broker.packet("connect")).not.toHaveProperty("properties");
  });

  test("listens below its reply topic, and publishes to the peer's with its own at the end", async () => {
    const { broker, link, info } = await meet(
      { version: 4 },
      { subscriptions: [], responseTopic: "usp/v1/agent/os::00D09E-A%2FB" },
    );
    expect(info).toMatchObject({
      subscribed: ["usp/v1/agent/os::00D09E-A%2FB/#"],
      replyTopic: "usp/v1/agent/os::00D09E-A%2FB",
    });
    await link.send(Buffer.from("r"), { to: "usp/v1/controller/c" });
    const { topic } = await broker.packet("publish");
    expect(topic).toBe("usp/v1/controller/c/reply-to=usp%2Fv1%2Fagent%2Fos::00D09E-A%252FB");
  });

  test("can leave its own topic out for peers that do not expect it", async () => {
    const { broker, link } = await meet({ version: 4 }, { appendReplyTo: false });
    await link.send(Buffer.from("r"), { to: "ctl/in" });
    expect(await broker.packet("publish")).toMatchObject({ topic: "ctl/in" });
  });

  test("reads the reply topic from what follows the last reply-to", async () => {
    const { broker, link } = await meet({ version: 4 });
    broker.send({
      cmd: "publish",
      topic: "usp/v1/agent/1/reply-to=a/reply-to=ctl%2Fin",
      payload: "r",
      qos: 0,
      retain: false,
      dup: false,
    });
    expect(await first(link)).toMatchObject({ replyTo: "ctl/in" });
  });
});

describe("subscriptions that the broker refuses", () => {
  test.each([4, 5] as const)("leave the connection up while one is granted (protocol level %d)", async (version) => {
    const topics = ["secret/a", "usp/v1/agent/1"].map((topic) => ({ topic, qos: 0 as const }));
    const suback = (topic: string) => (topic.startsWith("secret") ? (version === 5 ? 0x87 : 0x80) : 0);
    const { info } = await meet({ version, suback }, { subscriptions: topics });
    expect(info).toMatchObject({ subscribed: ["usp/v1/agent/1"], refused: ["secret/a"], replyTopic: "usp/v1/agent/1" });
  });

  test("end it when none is granted, with nothing published before", async () => {
    const attempt = meet({ version: 5, suback: () => 0x87 });
    await expect(attempt).rejects.toMatchObject({
      kind: "subscribe",
      message: expect.stringContaining("usp/v1/agent/1"),
    });
    await broker?.packet("disconnect");
    expect(broker?.seen.map((packet) => packet.cmd)).toEqual(["connect", "subscribe", "disconnect"]);
  });

  test("or when there is nothing to subscribe to", async () => {
    await expect(meet({ version: 5 }, { subscriptions: [] })).rejects.toMatchObject({ kind: "subscribe" });
  });
});

describe("an attempt fails and says why", () => {
  const reach = (options: Partial<MqttOptions>, signal = never) =>
    connectMqtt({ ...agent, url: "mqtt://127.0.0.1:1", ...options }, signal);

  test("when nobody listens", async () => {
    const url = `mqtt://127.0.0.1:${await freePort()}`;
    await expect(reach({ url })).rejects.toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining("connection refused"),
    });
  });

  test("when the name does not exist", async () => {
    const attempt = reach({ url: "mqtt://broker.invalid:1883" });
    await expect(attempt).rejects.toMatchObject({ kind: "dns", message: expect.stringContaining("broker.invalid") });
  });

  test.each(["", "127.0.0.1", "http://127.0.0.1", "mqtt://"])("when %j is no broker's address", async (url) => {
    await expect(reach({ url })).rejects.toMatchObject({ kind: "address" });
  });

  test.each([
    [4, 1, "version", "does not speak MQTT 3.1.1"],
    [4, 4, "credentials", "user name or password is wrong"],
    [4, 5, "credentials", "not authorized"],
    [5, 0x84, "version", "does not speak MQTT 5"],
    [5, 0x86, "credentials", "user name or password is wrong"],
    [5, 0x88, "rejected", "not available"],
    [5, 0x9f, "rejected", "too many connections"],
    [5, 0x80, "rejected", "code 128: because"],
  ] as const)("when the broker answers (level %d) with code %d", async (version, code, kind, text) => {
    const connack = {
      returnCode: code,
      reasonCode: code,
      properties: version === 5 ? { reasonString: "because" } : undefined,
    };
    await expect(meet({ version, connack })).rejects.toMatchObject({ kind, message: expect.stringContaining(text) });
  });

  test("when the broker hangs up instead of answering", async () => {
    await expect(meet({ version: 5, connack: "close" })).rejects.toMatchObject({ kind: "closed" });
  });

  test("when the broker never answers", async () => {
    const attempt = meet({ version: 5, connack: "silence" }, { connectTimeoutMs: 100 });
    await expect(attempt).rejects.toMatchObject({ kind: "unreachable", message: expect.stringContaining("100 ms") });
  });

  test("when it is ended meanwhile, or before", async () => {
    const controller = new AbortController();
    broker = await startScriptedBroker({ version: 5, connack: "silence" });
    const attempt = connectMqtt({ ...agent, url: broker.url }, controller.signal);
    await broker.packet("connect");
    controller.abort();
    await expect(attempt).rejects.toMatchObject({ kind: "aborted" });
    await expect(reach({}, controller.signal)).rejects.toMatchObject({ kind: "aborted" });
  });

  test("when a broker of 3.1.1 is spoken to in 5", async () => {
    const aedes = await startAedes();
    try {
      await expect(reach({ url: aedes.url })).rejects.toMatchObject({
        kind: expect.stringMatching(/^(version|closed)$/),
      });
    } finally {
      await aedes.kill();
    }
  });
});

const suite = hasMosquitto ? describe : describe.skip;

suite(`with a real mosquitto${hasMosquitto ? "" : " (SKIPPED: not installed)"}`, () => {
  let real: Broker;
  afterEach(() => real.stop());

  test.each(["5", "3.1.1"] as const)(
    "wrong credentials are told apart from none at all, in MQTT %s",
    async (version) => {
      // Made by `mosquitto_passwd -b`, password "right".
      const folder = mkdtempSync(join(tmpdir(), "spin-usp-passwd-"));
      execFileSync("mosquitto_passwd", ["-c", "-b", join(folder, "passwd"), "agent", "right"]);
      const passwd = readFileSync(join(folder, "passwd"), "utf8");
      rmSync(folder, { recursive: true });
      real = await startMosquitto({
        config: ["allow_anonymous false", "password_file {folder}/passwd"],
        files: { passwd },
      });
      const options = { ...agent, version, url: real.url };
      await expect(connectMqtt({ ...options, username: "agent", password: "wrong" }, never)).rejects.toMatchObject({
        kind: "credentials",
      });
      await expect(connectMqtt(options, never)).rejects.toMatchObject({ kind: "credentials" });
      const { link } = await connectMqtt({ ...options, username: "agent", password: "right" }, never);
      await link.close();
    },
  );

  test("an assigned client id comes back, and serves for the next connection", async () => {
    real = await startMosquitto();
    const firstTime = await connectMqtt({ ...agent, url: real.url }, never);
    const clientId = firstTime.info.assignedClientId as string;
    expect(clientId).not.toBe("");
    await firstTime.link.close();
    const again = await connectMqtt({ ...agent, url: real.url, clientId }, never);
    expect(again.info.assignedClientId).toBeUndefined();
    await again.link.close();
  });

  test("TLS is checked against the given authority, both ways", async () => {
    const tls = makeCertificates();
    real = await startMosquitto({
      config: [
        "cafile {folder}/ca.pem",
        "certfile {folder}/server.pem",
        "keyfile {folder}/server.key",
        "require_certificate true",
      ],
      files: tls.files,
    });
    const options = { ...agent, url: `mqtts://127.0.0.1:${real.port}` };
    const { ca, cert, key } = tls;
    const { link, chain } = await connectMqtt({ ...options, tls: { ca, cert, key } }, never);
    expect(chain?.map((der) => new X509Certificate(der).ca)).toContain(false);
    await link.close();
    await expect(connectMqtt({ ...options, tls: { cert, key } }, never)).rejects.toMatchObject({
      kind: "tls",
      message: expect.stringContaining("of an authority that is not"),
    });
    await expect(connectMqtt({ ...options, tls: { ca } }, never)).rejects.toMatchObject({ name: "MtpError" });
    await expect(connectMqtt({ ...agent, url: real.url, connectTimeoutMs: 2_000 }, never)).rejects.toMatchObject({
      name: "MtpError",
    });
  });
});

/** An authority, a server's certificate for 127.0.0.1 and a client's, by openssl. */
function makeCertificates() {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-tls-"));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA");
  for (const [name, extra] of [
    ["server", ["-addext", "subjectAltName=IP:127.0.0.1"]],
    ["client", []],
  ] as const) {
    openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`, ...extra);
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-copy_extensions",
      "copy",
      "-out",
      `${name}.pem`,
    );
  }
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const files = { "ca.pem": read("ca.pem"), "server.pem": read("server.pem"), "server.key": read("server.key") };
  const made = { files, ca: read("ca.pem"), cert: read("client.pem"), key: read("client.key") };
  rmSync(folder, { recursive: true });
  return made;
}
