/** The agent as it is run, in a session over a broker that takes Records of 64 kB. */
import { runCtl } from "../../src/cli/ctl.ts";
import { connectController } from "../../src/controller/connect.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { inSession } from "../../src/controller/session.ts";
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
