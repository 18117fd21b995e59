/** What R-STOMP asks of a client, seen by a broker that a test scripts; and every way to fail, in words. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectStomp, type StompConnection } from "../../src/mtp/stomp.ts";
import { encodeFrame } from "../../src/mtp/stomp-codec.ts";
import { AGENT_DESTINATION, destinationOf, type StompOptions } from "../../src/mtp/stomp-options.ts";
import type { Link, ReceivedRecord } from "../../src/usp/link.ts";
import { authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/mosquitto.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { startScriptedStomp, type ScriptedStomp, type StompScript } from "../support/scripted-stomp.ts";

const never = new AbortController().signal;
const agent = { endpointId: "os::00D09E-0001", destination: "/topic/agent" } as const;

let broker: ScriptedStomp | undefined;
let connection: StompConnection | undefined;
afterEach(async () => {
  await connection?.link.close();
  await broker?.stop();
  connection = broker = undefined;
});

/** Connects to a broker that follows the script. */
async function meet(script: StompScript = {}, options: Partial<StompOptions> = {}) {
  broker = await startScriptedStomp(script);
  connection = await connectStomp({ ...agent, url: broker.url, ...options }, never);
  return { broker, ...connection };
}

async function take(link: Link, count: number): Promise<ReceivedRecord[]> {
  const got: ReceivedRecord[] = [];
  if (count > 0) for await (const record of link.received) if (got.push(record) === count) break;
  return got;
}

const text = ({ bytes, replyTo }: ReceivedRecord) => `${Buffer.from(bytes).toString()} ${replyTo ?? "-"}`;

describe("a connection of STOMP 1.2", () => {
  test("begins with a STOMP frame that says who it is, and no more than is configured", async () => {
    const { broker } = await meet();
    expect(broker.seen[0]?.command).toBe("STOMP");
    expect([...(broker.seen[0]?.headers ?? [])]).toEqual([
      ["accept-version", "1.2"],
      ["endpoint-id", agent.endpointId],
    ]);
  });

  test("sends credentials, virtual host and heart-beats where they are configured", async () => {
    const heartBeat = { outgoingMs: 30_000, incomingMs: 60_000 };
    const { broker } = await meet({}, { username: "u:1", password: "p\\:\nq", virtualHost: "homes", heartBeat });
    expect(Object.fromEntries(broker.seen[0]?.headers ?? [])).toEqual({
      "accept-version": "1.2",
      host: "homes",
      login: "u:1",
      passcode: "p\\:\nq",
      "heart-beat": "30000,60000",
      "endpoint-id": agent.endpointId,
    });
  });

  test("subscribes where it is configured, with ack:auto", async () => {
    const { broker, info } = await meet({ connected: { server: "RabbitMQ/3.10.8" } });
    const { headers } = await broker.frame("SUBSCRIBE");
    expect([headers.get("destination"), headers.get("ack")]).toEqual(["/topic/agent", "auto"]);
    expect(info).toMatchObject({ destination: "/topic/agent", destinationFromServer: "", server: "RabbitMQ/3.10.8" });
  });

  test("subscribes where the broker says in subscribe-dest, whatever is configured", async () => {
    const { broker, info, link } = await meet({ connected: { "subscribe-dest": "/queue/os::00D09E-0001" } });
    expect((await broker.frame("SUBSCRIBE")).headers.get("destination")).toBe("/queue/os::00D09E-0001");
    expect(info.destination).toBe(info.destinationFromServer);
    await link.send(Buffer.from("x"), { to: "/queue/c" });
    expect((await broker.frame("SEND")).headers.get("reply-to-dest")).toBe("/queue/os::00D09E-0001");
  });

  test("sends with content-length, content-type and reply-to-dest, and every byte of the body", async () => {
    const { broker, link } = await meet();
    const body = Buffer.from([0, 10, 13, 0, 255, 0]);
    await link.send(body, { to: "/queue/c:1" });
    const { headers, body: sent } = await broker.frame("SEND");
    expect(Object.fromEntries(headers)).toEqual({
      destination: "/queue/c:1",
      "content-length": "6",
      "content-type": "application/vnd.bbf.usp.msg",
      "reply-to-dest": "/topic/agent",
    });
    expect(sent.equals(body)).toBe(true);
  });

  test("takes Records with a USP content type or none, and leaves other frames alone", async () => {
    const { broker, link } = await meet({}, { limits: { recordBytes: 100 } });
    const message = (body: string, headers: Record<string, string> = {}) =>
      broker.send("MESSAGE", { subscription: "0", "message-id": "1", ...headers }, Buffer.from(body));
    message("json", { "content-type": "application/json" });
    message("x".repeat(101), { "reply-to-dest": "/queue/c" });
    broker.socket().write(`MESSAGE\n${"h:v\n".repeat(200)}x:${"y".repeat(20_000)}\n\nflood\0`);
    message("1", { "content-type": "application/vnd.bbf.usp.msg", "reply-to-dest": "/queue/c" });
    message("2", { "reply-to-dest": "" });
    message("3", { "content-type": "usp.msg", "reply-to-dest": "/queue/os::c" });
    const [long, ...others] = await take(link, 4);
    // Enough of it to be refused in words.
    expect(long).toMatchObject({ tooLong: 101, replyTo: "/queue/c" });
    expect(others.map(text)).toEqual(["1 /queue/c", "2 -", "3 /queue/os::c"]);
  });

  test("lives with a broker that gives no receipt", async () => {
    const { link } = await meet({ subscribed: "silence", farewell: false });
    await link.send(Buffer.from("x"), { to: "/queue/c" });
    expect((await broker?.frame("SEND"))?.body.toString()).toBe("x");
  });

  test("ends with DISCONNECT, after all that was sent, and waits for its receipt", async () => {
    const { broker, link } = await meet();
    const sent = link.send(Buffer.alloc(300_000), { to: "/queue/c" });
    await link.close();
    await sent;
    expect(broker.seen.map(({ command }) => command)).toEqual(["STOMP", "SUBSCRIBE", "SEND", "DISCONNECT"]);
    await expect(link.send(Buffer.from("x"), { to: "/queue/c" })).rejects.toMatchObject({ kind: "closed" });
  });

  test("refuses what no header can hold as a destination", async () => {
    const { link } = await meet();
    for (const to of ["", "a\0b", "x".repeat(8_001)])
      await expect(link.send(Buffer.from("x"), { to })).rejects.toMatchObject({ kind: "address" });
    await expect(link.send(Buffer.from("x"))).rejects.toMatchObject({ kind: "address" });
  });

  test("encodes in destinations what a broker would read as an escape, a level or a wildcard", () => {
    const name = destinationOf(AGENT_DESTINATION, "proto::a%2Fb*c#d>e/f@g");
    expect(name).toBe("/topic/usp.v1.agent.proto::a%252Fb%2Ac%23d%3Ee%2Ff%40g");
  });
});

describe("bounds", () => {
  test("of what waits to be sent, when the broker does not read", async () => {
    const { broker, link } = await meet({}, { limits: { outgoingRecords: 50, outgoingBytes: 1 << 30 } });
    broker.socket().pause();
    const record = Buffer.alloc(200_000);
    const sending = Array.from({ length: 200 }, () =>
      link.send(record, { to: "/queue/c" }).then(
        () => "sent",
        (error: { kind?: string }) => error.kind,
      ),
    );
    expect(await sending[199]).toBe("congested");
    broker.socket().resume();
    const outcomes = await Promise.all(sending);
    expect(outcomes.filter((outcome) => outcome === "sent").length).toBeGreaterThanOrEqual(50);
    expect(new Set(outcomes)).toEqual(new Set(["sent", "congested"]));
    await link.send(Buffer.from("again"), { to: "/queue/c" });
  });

  test("of what came and is not taken: reading stops, and goes on without a loss", async () => {
    const { broker, link } = await meet({}, { limits: { incomingRecords: 20 } });
    const count = 2_000;
    for (let i = 0; i < count; i++) broker.send("MESSAGE", { n: `${i}` }, Buffer.from(`${i} ${"x".repeat(10_000)}`));
    await eventually(
      () => broker.socket().writableLength,
      (waiting) => waiting > 1_000_000,
      {
        what: "what the broker can't send",
      },
    );
    // It stays so while nobody takes.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(broker.socket().writableLength).toBeGreaterThan(1_000_000);
    const got = await take(link, count);
    expect(got.map((each) => Number(text(each).split(" ")[0]))).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  test("a farewell is not kept waiting by what was never taken", async () => {
    const { broker, link } = await meet({}, { limits: { incomingRecords: 5 } });
    for (let i = 0; i < 100; i++) broker.send("MESSAGE", {}, Buffer.alloc(10_000));
    await eventually(
      () => broker.socket().bytesWritten,
      (written) => written > 100_000,
      { what: "bytes" },
    );
    await link.close();
    await broker.frame("DISCONNECT");
  });
});

describe("heart-beats", () => {
  test("are what both sides agree on: the slower of offer and wish, none where one side has none", async () => {
    const agree = async (heartBeat: StompOptions["heartBeat"], theirs: string | undefined) => {
      const connected: Record<string, string> = theirs === undefined ? {} : { "heart-beat": theirs };
      const { info } = await meet({ connected }, heartBeat === undefined ? {} : { heartBeat });
      await connection?.link.close();
      await broker?.stop();
      return [info.sendsEveryMs, info.hearsEveryMs];
    };
    expect(await agree({ outgoingMs: 1_000, incomingMs: 2_000 }, "3000,500")).toEqual([1_000, 3_000]);
    expect(await agree({ outgoingMs: 1_000, incomingMs: 2_000 }, "0,0")).toEqual([0, 0]);
    expect(await agree({ outgoingMs: 0, incomingMs: 2_000 }, "1000,4000")).toEqual([0, 2_000]);
    expect(await agree({ outgoingMs: 1_000, incomingMs: 2_000 }, undefined)).toEqual([0, 0]);
    expect(await agree(undefined, "1000,1000")).toEqual([0, 0]);
    expect(await agree({ outgoingMs: 1_000, incomingMs: 2_000 }, "nonsense")).toEqual([0, 0]);
  });

  test("are sent when nothing else is", async () => {
    const { broker } = await meet(
      { connected: { "heart-beat": "0,60" } },
      { heartBeat: { outgoingMs: 60, incomingMs: 0 } },
    );
    await eventually(
      () => broker.beats(),
      (beats) => beats >= 3,
      { what: "the heart-beats" },
    );
  });

  test("that stop end the connection, and say so; those that come keep it", async () => {
    const { broker, link } = await meet(
      { connected: { "heart-beat": "60,0" } },
      { heartBeat: { outgoingMs: 0, incomingMs: 60 } },
    );
    const beating = setInterval(() => broker.socket().write("\n"), 20);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await link.send(Buffer.from("still there"), { to: "/queue/c" });
    clearInterval(beating);
    await expect(take(link, 1)).rejects.toMatchObject({
      kind: "closed",
      message: expect.stringContaining("the broker has said nothing for"),
    });
  });
});

describe("an attempt fails and says why", () => {
  const reach = (options: Partial<StompOptions>, signal = never) =>
    connectStomp({ ...agent, url: "stomp://127.0.0.1:1", ...options }, signal);
  const error = (message: string, body = "") => encodeFrame("ERROR", [["message", message]], Buffer.from(body));

  test("when nobody listens, or the name does not exist", async () => {
    const url = `stomp://127.0.0.1:${await freePort()}`;
    await expect(reach({ url })).rejects.toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining("refused"),
    });
    await expect(reach({ url: "stomp://broker.invalid" })).rejects.toMatchObject({ kind: "dns" });
  });

  test.each(["", "127.0.0.1", "http://127.0.0.1", "stomp://"])("when %j is no broker's address", async (url) => {
    await expect(reach({ url })).rejects.toMatchObject({ kind: "address" });
  });

  test.each([
    [
      "RabbitMQ's",
      "Bad CONNECT",
      "Access refused for user 'u'\n",
      "credentials",
      '(user "u"): Bad CONNECT: Access refused',
    ],
    ["ActiveMQ's", "User name [u] or password is invalid.", "", "credentials", "password is invalid"],
    ["another refusal", "Virtual host 'x' not found", "", "rejected", "Virtual host 'x' not found"],
    ["one without words", "", "", "rejected", "it does not say why"],
    ["one with control characters", "a\r\nb\u001b[2J", "", "rejected", "a b [2J"],
  ])("when the broker answers with %s ERROR", async (_, message, body, kind, words) => {
    const attempt = meet({ connected: error(message, body) }, { username: "u" });
    await expect(attempt).rejects.toMatchObject({ kind, message: expect.stringContaining(words) });
  });

  test("when the broker refuses the subscription", async () => {
    // RabbitMQ's way: the receipt comes all the same.
    const receipt = encodeFrame("RECEIPT", [["receipt-id", "subscribed"]]);
    const refusal = error("Processing error", "access to queue refused");
    const attempt = meet({ subscribed: Buffer.concat([refusal, receipt]) });
    await expect(attempt).rejects.toMatchObject({
      kind: "subscribe",
      message: expect.stringContaining("refuses the subscription to /topic/agent: Processing error: access to queue"),
    });
  });

  test("when there is nowhere to listen; then it disconnects without a subscription", async () => {
    broker = await startScriptedStomp();
    const { url } = broker;
    await expect(connectStomp({ url, endpointId: agent.endpointId }, never)).rejects.toMatchObject({
      kind: "subscribe",
      message: expect.stringContaining("none is configured, and the broker named none"),
    });
    expect(broker.seen.map(({ command }) => command)).not.toContain("SUBSCRIBE");
  });

  test("when the broker speaks an older version", async () => {
    await expect(meet({ connected: { version: "1.1" } })).rejects.toMatchObject({
      kind: "version",
      message: expect.stringContaining("speaks STOMP 1.1, not 1.2"),
    });
  });

  test("when the broker hangs up, never answers, or is none", async () => {
    const server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await expect(reach({ url: `stomp://127.0.0.1:${port}` })).rejects.toMatchObject({
      kind: "closed",
      message: expect.stringContaining("no STOMP frame begins"),
    });
    server.close();
    await expect(meet({ connected: "silence" }, { connectTimeoutMs: 100 })).rejects.toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining("not connected after 100 ms"),
    });
  });

  test("when it is ended meanwhile, or before", async () => {
    const controller = new AbortController();
    broker = await startScriptedStomp({ connected: "silence" });
    const attempt = reach({ url: broker.url }, controller.signal);
    await broker.frame("STOMP");
    controller.abort();
    await expect(attempt).rejects.toMatchObject({ kind: "aborted" });
    await expect(reach({}, controller.signal)).rejects.toMatchObject({ kind: "aborted" });
  });
});

test("an ERROR later ends the connection with the broker's words, after what came before", async () => {
  const { broker, link } = await meet();
  broker.send("MESSAGE", {}, Buffer.from("last"));
  broker.send("ERROR", { message: "connection_forced" }, Buffer.from("broker is going down"));
  expect((await take(link, 1)).map(text)).toEqual(["last -"]);
  await expect(take(link, 1)).rejects.toMatchObject({
    kind: "closed",
    message: expect.stringContaining("connection_forced: broker is going down"),
  });
});

describeUnless(missing("openssl"), "over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-stomp-tls-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("checks the broker's certificate, and shows its own", async () => {
    const own = authority(folder, "own");
    const strange = authority(folder, "strange");
    const read = ({ cert, key }: { cert: string; key: string }) => ({
      cert: readFileSync(cert),
      key: readFileSync(key),
    });
    const server = read(own.issue("server", { host: "127.0.0.1" }));
    const ca = readFileSync(own.file);
    broker = await startScriptedStomp({ tls: { ...server, ca, requestCert: true } });
    const client = read(own.issue("client"));
    const { link } = await connectStomp({ ...agent, url: broker.url, tls: { ca, ...client } }, never);
    await link.send(Buffer.alloc(200_000, 1), { to: "/queue/c" });
    expect((await broker.frame("SEND")).body.length).toBe(200_000);
    await link.close();
    for (const tls of [{ ca: readFileSync(strange.file) }, { ca, ...client, serverName: "other.example" }, { ca }])
      await expect(
        connectStomp({ ...agent, url: broker.url, tls, connectTimeoutMs: 3_000 }, never),
      ).rejects.toMatchObject({ name: "MtpError" });
  });
});
