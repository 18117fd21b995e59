/** The agent as it is run, in a session over a broker that takes Records of 64 kB. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCtl } from "../../src/cli/ctl.ts";
import { connectController } from "../../src/controller/connect.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { inSession, trustIn } from "../../src/controller/session.ts";
import { makeAuthority } from "../session/support.ts";
import { AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC, type Agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "../gateway/support.ts";

const SESSION = "Device.LocalAgent.Controller.1.E2ESession.";

describeUnless(gatewayMissing, "a session over a broker", () => {
  let bed: Bed;
  let agent: Agent;
  const controllers: Controller[] = [];
  const connect = async (openSession?: ReturnType<typeof inSession>) => {
    const { controller } = await connectController(
      {
        controllerId: CONTROLLER_ID,
        agentId: AGENT_ID,
        agentTopic: AGENT_TOPIC,
        controllerTopic: CONTROLLER_TOPIC,
        timeoutMs: 20_000,
        mqtt: { url: bed.broker.url, version: "5", publishQos: 1 },
        ...(openSession ? { openSession } : {}),
      },
      new AbortController().signal,
    );
    controllers.push(controller);
    return controller;
  };

  beforeAll(async () => {
    bed = await Bed.up(["set_tcp_nodelay true", "max_packet_size 65536"]);
    agent = await bed.agent(await bed.folder(), {
      role: "Admin",
      args: ["--bench-model", "9000"],
      agent: { max_message_size: "8000000" },
    });
    const controller = await bed.controller();
    await answers(controller, agent);
  }, 60_000);
  afterEach(async () => {
    for (const controller of controllers.splice(0)) await controller.close();
  });
  afterAll(() => bed?.down(), 30_000);

  test("an answer of 3 MB comes through Records of 64 kB, and outside of a session does not", async () => {
    const outside = await connect();
    await outside.write(SESSION, { MaxUSPRecordSize: "64000" });
    await expect(outside.read(["Device.X_BENCH.Row."])).rejects.toMatchObject({ code: 7005 });
    const inside = await connect(inSession({ isSecure: false, maxRecordBytes: 60_000 }));
    const values = await inside.read(["Device.X_BENCH.Row."]);
    expect(values.size).toBeGreaterThanOrEqual(90_000);
    let bytes = 0;
    for (const [path, value] of values) bytes += path.length + value.length;
    expect(bytes).toBeGreaterThan(3_000_000);
    expect((await inside.read([`${SESSION}Status`])).get(`${SESSION}Status`)).toBe("Up");
    // And requests that are cut, the other way.
    const settings = Array.from({ length: 400 }, () => ({
      path: "Device.X_BENCH.",
      values: { Mem: "x".repeat(1_000) },
    }));
    const outcomes = await inside.set(settings);
    expect(outcomes.every(({ error }) => error === undefined)).toBe(true);
  }, 60_000);

  test("notifications come in it, and when the controller left, outside", async () => {
    const inside = await connect(inSession({ isSecure: false }));
    const subscription = await inside.subscribe({ kind: "ValueChange", references: ["Device.X_BENCH.Mem"] });
    await inside.write("Device.X_BENCH.", { Mem: "inside" });
    for await (const notification of subscription) {
      expect(notification).toMatchObject({ kind: "ValueChange", value: "inside" });
      break;
    }
    await controllers.splice(0)[0]?.close();
    const outside = await connect();
    const status = () => outside.read([`${SESSION}Status`]).then((values) => values.get(`${SESSION}Status`), String);
    await eventually(status, (text) => text === "Down", { what: "the end of the session" });
  }, 60_000);

  test("ctl uses one with --session", async () => {
    const outside = await connect();
    await outside.write(SESSION, { SessionMode: "Require", PayloadSecurity: "Plaintext" });
    const ids = ["--agent", AGENT_ID, "--controller", CONTROLLER_ID, "--agent-topic", AGENT_TOPIC];
    const ctl = async (...args: string[]) => {
      const said = { out: "", err: "" };
      const code = await runCtl(
        ["--broker", bed.broker.url, ...ids, "--reply-topic", `${CONTROLLER_TOPIC}/ctl`, ...args],
        {
          env: {},
          signal: new AbortController().signal,
          out: (text) => void (said.out += text),
          err: (text) => void (said.err += text),
        },
      );
      return { code, ...said };
    };
    const refused = await ctl("get", "Device.LocalAgent.EndpointID");
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("7101")]);
    const got = await ctl("--session", "plain", "get", "Device.LocalAgent.EndpointID");
    expect([got.code, got.out]).toEqual([0, expect.stringContaining(AGENT_ID)]);
  }, 60_000);
});

describeUnless(gatewayMissing, "a secured session over a broker", () => {
  const authority = makeAuthority();
  let bed: Bed;
  let agent: Agent;
  const connect = async (openSession?: ReturnType<typeof inSession>, timeoutMs = 10_000) => {
    const ids = {
      controllerId: CONTROLLER_ID,
      agentId: AGENT_ID,
      agentTopic: AGENT_TOPIC,
      controllerTopic: CONTROLLER_TOPIC,
    };
    const mqtt = { url: bed.broker.url, version: "5", publishQos: 1 } as const;
    const options = { ...ids, timeoutMs, mqtt, ...(openSession ? { openSession } : {}) };
    return (await connectController(options, new AbortController().signal)).controller;
  };
  const secured = (identity = authority.identity(CONTROLLER_ID)) =>
    inSession({ isSecure: true, trust: trustIn(authority.pem, identity) });

  beforeAll(async () => {
    bed = await Bed.up();
    const folder = await bed.folder();
    const { cert, key } = authority.identity(AGENT_ID);
    for (const [name, text] of [
      ["agent.pem", cert],
      ["agent.key", key],
      ["ca.pem", authority.pem],
    ] as const)
      writeFileSync(join(folder, name), text);
    agent = await bed.agent(folder, {
      agent: { session_cert_file: join(folder, "agent.pem"), session_key_file: join(folder, "agent.key") },
      controller: { session: "Require", ca_file: join(folder, "ca.pem") },
    });
    const outside = await connect(undefined, 500);
    const code = () =>
      outside.read(["Device.LocalAgent.EndpointID"]).then(
        () => 0,
        (error: { code?: number }) => error.code,
      );
    await agent.unlessItDies(eventually(code, (each) => each === 7101, { what: "that a session is required" }));
    await outside.close();
  }, 60_000);
  afterAll(async () => {
    await bed?.down();
    authority.remove();
  }, 30_000);

  test("is what a controller gets answers in that shows its certificate", async () => {
    const inside = await connect(secured());
    const values = await inside.read([`${SESSION}Status`, `${SESSION}SessionMode`, "Device.LocalAgent."]);
    expect(values.get(`${SESSION}Status`)).toBe("Up");
    await inside.close();
  }, 30_000);

  test("is not for one that shows another's, and the agent's log says why", async () => {
    const inside = await connect(secured(authority.identity("self::other")), 2_000);
    await expect(inside.read(["Device.LocalAgent.EndpointID"])).rejects.toThrow();
    await inside.close();
    await eventually(
      () => Promise.resolve(agent.log),
      (log) => /the session failed: TLS: .*self::other/.test(log),
      { what: "the agent's log" },
    );
  }, 30_000);

  test("is not with an agent that shows another's", async () => {
    const inside = await connect(
      inSession({ isSecure: true, trust: trustIn(stranger(), authority.identity(CONTROLLER_ID)) }),
      5_000,
    );
    await expect(inside.read(["Device.LocalAgent.EndpointID"])).rejects.toThrow("not trusted");
    await inside.close();
  }, 30_000);
});

function stranger(): string {
  const other = makeAuthority();
  other.remove();
  return other.pem;
}
