/** The agent as it is run, over STOMP through RabbitMQ: connections that come and go, large answers, hostile input. */
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { runCtl } from "../../src/cli/ctl.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { connectStomp } from "../../src/mtp/stomp.ts";
import { encodeFrame } from "../../src/mtp/stomp-codec.ts";
import { AGENT_DESTINATION, CONTROLLER_DESTINATION, destinationOf } from "../../src/mtp/stomp-options.ts";
import type { Link } from "../../src/usp/link.ts";
import { decodeRecord, encodeMsgRecord, requestMsg, type CompleteRecord } from "../../proto/codec.ts";
import { answers } from "../gateway/support.ts";
import { AGENT_ID, CONTROLLER_ID, type Agent } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { freePort } from "../support/mosquitto.ts";
import { describeUnless } from "../support/needs.ts";
import { GUEST, rabbitMissing } from "../support/rabbitmq.ts";
import { StompBed } from "../support/stomp-bed.ts";

const never = new AbortController().signal;
const AGENT = destinationOf(AGENT_DESTINATION, AGENT_ID);
const CONNECTION = "Device.STOMP.Connection.1.";
const MTP = "Device.LocalAgent.MTP.1.";

/** In one place of /proc, in bytes. */
const memoryOf = ({ pid }: Agent) =>
  1024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

describeUnless(rabbitMissing, "the agent behind RabbitMQ", () => {
  let bed: StompBed;
  beforeAll(async () => {
    bed = await StompBed.up();
  }, 120_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down(), 30_000);

  /** Everything that comes to a destination, decoded; what a queue of the broker's kept comes as well. */
  async function listen(destination: string): Promise<{ link: Link; records: CompleteRecord[] }> {
    const { link } = await connectStomp({ url: bed.rabbit.url, ...GUEST, endpointId: "self::ear", destination }, never);
    const records: CompleteRecord[] = [];
    void (async () => {
      for await (const { bytes } of link.received) {
        const decoded = decodeRecord(bytes);
        if (decoded.ok) records.push(decoded.record);
      }
    })().catch(() => undefined);
    return { link, records };
  }
  const kinds = (records: readonly CompleteRecord[]) => records.map(({ recordType }) => recordType.$case);

  test("says Connect first on every connection, Disconnect last, and Boot! once", async () => {
    const destination = `/queue/operator.${Date.now()}`;
    const agent = await bed.agent({ controller: { destination } });
    const first = await listen(destination);
    await eventually(
      () => kinds(first.records),
      (all) => all.length >= 1,
      { what: "the Records" },
    );
    expect(first.records[0]).toMatchObject({
      fromId: AGENT_ID,
      toId: CONTROLLER_ID,
      recordType: { $case: "stompConnect", value: { version: 0, subscribedDestination: AGENT } },
    });
    await bed.rabbit.kill();
    await eventually(
      () => agent.log,
      (log) => log.includes("again in"),
      { what: "the log" },
    );
    await bed.rabbit.start();
    // The queue outlived the broker; what the agent says first on its new connection waits there.
    const second = await agent.unlessItDies(
      eventually(
        () => listen(destination).catch(() => undefined),
        (made) => made !== undefined,
      ),
    );
    await eventually(
      () => kinds(second?.records ?? []),
      (all) => all.length >= 1,
      { timeoutMs: 30_000, what: "the Records" },
    );
    expect(kinds(second?.records ?? [])[0]).toBe("stompConnect");
    expect(await agent.stop()).toBe(0);
    await eventually(
      () => kinds(second?.records ?? []).at(-1),
      (last) => last === "disconnect",
      { what: "the last Record" },
    );
    await first.link.close();
    await second?.link.close();
  }, 120_000);

  test("shows in the model how it is connected, and why not", async () => {
    const port = await freePort();
    const agent = await bed.agent({
      sections: Object.entries({
        nobody: { port: String(port), username: "nobody" },
        stranger: { username: "stranger" },
        nowhere: { username: "nowhere", virtual_host: "/nowhere" },
        misplaced: { username: "guest", virtual_host: "/", ca_file: "/does/not/exist", tls: "1" },
      }).map(([name, options]) => ({
        type: "stomp",
        name,
        options: {
          host: "127.0.0.1",
          port: String(bed.rabbit.port),
          tls: "0",
          password_file: `${bed.rabbit.folder}/guest`,
          ...options,
        },
      })),
    });
    const controller = await bed.controller();
    await answers(controller, agent);
    const read = async (...paths: string[]) => Object.fromEntries(await controller.read(paths));
    expect(await read(CONNECTION, MTP)).toMatchObject({
      [`${CONNECTION}Status`]: "Enabled",
      [`${CONNECTION}Host`]: "127.0.0.1",
      [`${CONNECTION}EnableHeartbeats`]: "true",
      [`${CONNECTION}OutgoingHeartbeat`]: "30000",
      [`${CONNECTION}EnableEncryption`]: "false",
      [`${CONNECTION}Password`]: "",
      [`${MTP}Status`]: "Up",
      [`${MTP}Protocol`]: "STOMP",
      [`${MTP}STOMP.Reference`]: "Device.STOMP.Connection.1",
      [`${MTP}STOMP.Destination`]: AGENT,
      [`${MTP}STOMP.DestinationFromServer`]: "",
    });
    expect(await read("Device.LocalAgent.Controller.1.MTP.1.")).toMatchObject({
      "Device.LocalAgent.Controller.1.MTP.1.Protocol": "STOMP",
      "Device.LocalAgent.Controller.1.MTP.1.STOMP.Reference": "Device.STOMP.Connection.1",
      "Device.LocalAgent.Controller.1.MTP.1.STOMP.Destination": destinationOf(CONTROLLER_DESTINATION, CONTROLLER_ID),
    });
    const states = async () => Object.values(await read("Device.STOMP.Connection.*.Status"));
    const expected = ["Enabled", "ServerNotPresent", "Error_AuthenticationFailure", "Error", "Error_Misconfigured"];
    await eventually(states, (now) => now.every((status, at) => status === expected[at]), { what: "the states" });
    expect(agent.log).toContain(`127.0.0.1:${port}: connection refused`);
    expect(agent.log).toContain('refuses the connection (user "stranger")');
    expect(agent.log).toContain("option ca_file: ENOENT");
    expect(agent.log).not.toContain("passcode");
  }, 60_000);

  test("refuses to speak in the clear to a broker beyond this machine, also where a controller points it there", async () => {
    const agent = await bed.agent();
    const controller = await bed.controller();
    await answers(controller, agent);
    const made = await controller.create("Device.STOMP.Connection.", {
      Host: "192.0.2.1",
      Enable: "true",
      EnableEncryption: "false",
      Username: "guest",
    });
    const mtp = await controller.create("Device.LocalAgent.MTP.", { Protocol: "STOMP", Enable: "false" });
    await controller.write(`${mtp}STOMP.`, { Reference: made.slice(0, -1), Destination: "/topic/x" });
    await controller.write(mtp, { Enable: "true" });
    await eventually(
      () => controller.read([`${made}Status`]),
      (now) => now.get(`${made}Status`) === "Error_Misconfigured",
    );
    expect(agent.log).toContain("192.0.2.1 is beyond this machine: without TLS it needs option allow_plaintext '1'");
  }, 60_000);

  test("a Set of Destination is answered where it came, and moves the agent", async () => {
    const agent = await bed.agent();
    const controller = await bed.controller();
    await answers(controller, agent);
    await controller.write(`${MTP}STOMP.`, { Destination: "/topic/moved" });
    const { link } = await connectStomp(
      { url: bed.rabbit.url, ...GUEST, endpointId: "self::x", destination: "/topic/x" },
      never,
    );
    const stays = () =>
      controller.read([`${MTP}STOMP.Destination`], { timeoutMs: 200 }).then(
        () => true,
        () => false,
      );
    await eventually(stays, (is) => !is, { what: "whether it listens where it was" });
    const asking = setInterval(() => void link.send(request("moved"), { to: "/topic/moved" }), 100);
    try {
      for await (const { bytes } of link.received) {
        const decoded = decodeRecord(bytes);
        expect(decoded.ok && decoded.record.fromId).toBe(AGENT_ID);
        break;
      }
    } finally {
      clearInterval(asking);
    }
    await link.close();
  }, 60_000);

  test("a controller whose row names another connection is not known here", async () => {
    const agent = await bed.agent({
      sections: [
        { type: "stomp", name: "other", options: { host: "127.0.0.1", port: String(await freePort()), tls: "0" } },
      ],
      controller: { stomp: "other" },
    });
    const controller = await bed.controller();
    await eventually(
      () => agent.log,
      (log) => log.includes("again in"),
      { what: "the log" },
    );
    await expect(controller.read(["Device.LocalAgent.EndpointID"], { timeoutMs: 1_000 })).rejects.toThrow("no answer");
  }, 60_000);

  test("what a controller was to be told while the broker was away arrives when it is back", async () => {
    const agent = await bed.agent({ args: ["--bench-model", "1"], stomp: { heartbeat: "1" } });
    let controller = await bed.controller();
    await answers(controller, agent);
    await controller.create("Device.LocalAgent.Subscription.", {
      ID: "away",
      Enable: "true",
      NotifType: "OperationComplete",
      ReferenceList: "Device.X_BENCH.Wait()",
      NotifRetry: "true",
      Persistent: "true",
    });
    await controller.operate("Device.X_BENCH.Wait()", { Seconds: "2" }, { wait: false, commandKey: "while away" });
    await bed.rabbit.kill();
    await pause(2_500);
    await bed.rabbit.start();
    controller = await bed.controller();
    const told = controller.notifications();
    await agent.unlessItDies(
      (async () => {
        for await (const notification of told) {
          expect(notification).toMatchObject({
            subscriptionId: "away",
            kind: "OperationComplete",
            commandKey: "while away",
          });
          return;
        }
      })(),
    );
    await told.close();
  }, 120_000);

  test("a broker that hangs is noticed, and left", async () => {
    const agent = await bed.agent({ stomp: { heartbeat: "1" } });
    const controller = await bed.controller();
    await answers(controller, agent);
    bed.rabbit.signal("SIGSTOP");
    try {
      await eventually(
        () => agent.log,
        (log) => log.includes("the broker has said nothing for"),
        { what: "the log" },
      );
    } finally {
      bed.rabbit.signal("SIGCONT");
    }
    const after = await bed.controller();
    await answers(after, agent, 40_000);
  }, 120_000);

  test("ctl reaches it by the URL of the broker", async () => {
    const agent = await bed.agent();
    await answers(await bed.controller(), agent);
    const ctl = async (...args: string[]) => {
      let out = "";
      const code = await runCtl(
        [
          "--agent",
          AGENT_ID,
          "--controller",
          CONTROLLER_ID,
          "--username",
          "guest",
          "--password-file",
          `${bed.rabbit.folder}/guest`,
          ...args,
        ],
        { out: (text) => (out += text), err: (text) => (out += text), env: {}, signal: never },
      );
      return { code, out };
    };
    const get = ["get", "Device.LocalAgent.EndpointID"];
    for (const option of ["--broker", "--url"])
      expect(await ctl(option, bed.rabbit.url, ...get)).toMatchObject({
        code: 0,
        out: expect.stringContaining(AGENT_ID),
      });
    const elsewhere = await ctl(
      "--broker",
      bed.rabbit.url,
      "--agent-topic",
      "/topic/nobody.{eid}",
      "--timeout",
      "1s",
      ...get,
    );
    expect(elsewhere).toMatchObject({ code: 4, out: expect.stringContaining(`on /topic/nobody.${AGENT_ID} within`) });
  }, 60_000);

  test("large answers come whole, and those beyond the bound as 7005", async () => {
    const agent = await bed.agent({ args: ["--bench-model", "10000"] });
    const controller = await bed.controller();
    await answers(controller, agent);
    const rows = Array.from({ length: 1_500 }, (_, index) => `Device.X_BENCH.Row.${index + 1}.`);
    const values = await controller.read(rows, { timeoutMs: 20_000 });
    expect(values.size).toBe(15_000);
    expect([...values.values()].join("").length).toBeGreaterThan(200_000);
    const [all] = await controller.get(["Device.X_BENCH.Row."], { timeoutMs: 20_000 });
    expect(all?.error).toMatchObject({ code: 7005 });
  }, 60_000);

  test("a broker that stops in the middle of answers, and goes on, loses none", async () => {
    const agent = await bed.agent({ args: ["--bench-model", "2000"] });
    const controller = await bed.controller();
    await answers(controller, agent);
    const rows = Array.from({ length: 500 }, (_, index) => `Device.X_BENCH.Row.${index + 1}.`);
    const asked = Array.from({ length: 200 }, () => controller.read(rows, { timeoutMs: 60_000 }));
    await asked[0];
    bed.rabbit.signal("SIGSTOP");
    await pause(1_500);
    expect(agent.running).toBe(true);
    bed.rabbit.signal("SIGCONT");
    expect(new Set((await Promise.all(asked)).map(({ size }) => size))).toEqual(new Set([5_000]));
    expect(agent.log).not.toContain("an answer is lost");
  }, 90_000);

  describe("under hostile input", () => {
    let agent: Agent;
    let controller: Controller;
    let link: Link;
    beforeEach(async () => {
      agent = await bed.agent({ logLevel: "info" });
      controller = await bed.controller({ limits: { outgoingRecords: 10_000, incomingRecords: 10_000 } });
      await answers(controller, agent);
      ({ link } = await connectStomp(
        {
          url: bed.rabbit.url,
          ...GUEST,
          endpointId: "self::fuzz",
          destination: "/topic/fuzz",
          limits: { outgoingBytes: 128 << 20, outgoingRecords: 10_000 },
        },
        never,
      ));
    }, 60_000);
    afterEach(() => link?.close());

    test("flipped bits, cut Records and garbage leave it as it was", async () => {
      const valid = request("fuzz");
      const flipped = fc
        .tuple(fc.array(fc.nat(), { minLength: 1, maxLength: 8 }), fc.nat(valid.length))
        .map(([bits, length]) => {
          const bytes = Buffer.from(valid.subarray(0, length || valid.length));
          for (const bit of bits) {
            const at = (bit >> 3) % bytes.length;
            bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
          }
          return bytes;
        });
      const garbage = fc.uint8Array({ maxLength: 2_000 });
      for (const bytes of fc.sample(fc.oneof(flipped, garbage), { numRuns: 1_500, seed: 369 }))
        await link.send(bytes, { to: AGENT });
      await answers(controller, agent);
      expect(agent.running).toBe(true);
    }, 60_000);

    test("Records of 10 MB, floods of headers and paths of 64 kB cost no memory that stays", async () => {
      const before = memoryOf(agent);
      await flood(bed.rabbit.port);
      for (let i = 0; i < 5; i++) await link.send(Buffer.alloc(10 << 20, i), { to: AGENT });
      const path = `Device.${"x".repeat(64_000)}.`;
      const [long] = await controller.get([path]);
      expect(long?.error?.code).toBeGreaterThanOrEqual(7000);
      // A request of 2 MB is not lost in silence.
      const tooLong = controller.get([`Device.${"x".repeat(2 << 20)}.`]);
      await expect(tooLong).rejects.toMatchObject({
        code: 7005,
        message: expect.stringContaining("more than this agent"),
      });
      await answers(controller, agent);
      // 10 MB are seen and left out as they come.
      expect(memoryOf(agent) - before).toBeLessThan(60 << 20);
      expect(await controller.read([`${CONNECTION}Status`])).toEqual(new Map([[`${CONNECTION}Status`, "Enabled"]]));
      expect(agent.log).not.toContain("again in");
    }, 90_000);

    test("5,000 requests at one time are each answered, or refused with 7005", async () => {
      const asked = Array.from({ length: 5_000 }, () =>
        controller.read(["Device.LocalAgent.EndpointID"], { timeoutMs: 60_000 }).then(
          () => "answered",
          (error: unknown) => (error instanceof UspError ? String(error.code) : String(error)),
        ),
      );
      const outcomes = await Promise.all(asked);
      const counts = new Map<string, number>();
      for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      expect([...counts.keys()].filter((outcome) => outcome !== "answered" && outcome !== "7005")).toEqual([]);
      expect((counts.get("answered") ?? 0) + (counts.get("7005") ?? 0)).toBe(5_000);
    }, 120_000);

    test("500 large answers at one time are each given, and memory stays bounded", async () => {
      const asked = Array.from({ length: 500 }, () =>
        controller.get(["Device."], { timeoutMs: 60_000 }).then(
          ([outcome]) => (outcome?.error === undefined ? "answered" : String(outcome.error.code)),
          (error: unknown) => (error instanceof UspError ? String(error.code) : String(error)),
        ),
      );
      let peak = 0;
      const watch = setInterval(() => (peak = Math.max(peak, memoryOf(agent))), 50);
      const outcomes = new Set(await Promise.all(asked));
      clearInterval(watch);
      expect([...outcomes].filter((outcome) => outcome !== "answered" && outcome !== "7005")).toEqual([]);
      expect(peak).toBeLessThan(200 << 20);
    }, 120_000);
  });
});

/** Sends frames of as many and as long headers as RabbitMQ passes on, and waits until it has them. */
async function flood(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  let heard = "";
  socket.on("data", (chunk: Buffer) => (heard += chunk.toString()));
  const login = { login: GUEST.username, passcode: GUEST.password };
  socket.write(encodeFrame("STOMP", Object.entries({ "accept-version": "1.2", ...login })));
  await eventually(
    () => heard,
    (text) => text.includes("CONNECTED"),
    { what: "what RabbitMQ says" },
  );
  const many = Array.from({ length: 90 }, (_, index) => [`h${index}`, "v".repeat(1_000)] as const);
  for (let i = 0; i < 100; i++)
    socket.write(encodeFrame("SEND", [["destination", AGENT], ["receipt", `r${i}`], ...many], Buffer.from("x")));
  await eventually(
    () => heard,
    (text) => text.includes("receipt-id:r99\n"),
    { what: "what RabbitMQ says" },
  );
  expect(heard).not.toContain("ERROR");
  socket.destroy();
}

/** A Get as the operator sends it. */
function request(msgId: string): Uint8Array {
  const envelope = { version: "1.4", fromId: CONTROLLER_ID, toId: AGENT_ID };
  const value = { paramPaths: ["Device.LocalAgent.EndpointID"], maxDepth: 0 };
  return encodeMsgRecord(envelope, requestMsg(msgId, { $case: "get", value }));
}
