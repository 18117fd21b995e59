/** The broker dies, the line is cut: the agent comes back by itself, and what was due arrives. */
import { connectAsync } from "mqtt";
import { decodeMsg, decodeRecord } from "../../proto/codec.ts";
import { CONTROLLER_TOPIC } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

describeUnless(sceneMissing(), "a broker that goes away", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 3, agent: { mqtt: { keepalive: "2" } } });
    const subscribe = (id: string, type: string, references: string, retry: boolean) =>
      s.operator.connection.add("Device.LocalAgent.Subscription.", {
        Enable: "true",
        ID: id,
        NotifType: type,
        ReferenceList: references,
        Persistent: "true",
        NotifRetry: String(retry),
      });
    await subscribe("boot", "Event", "Device.Boot!", true);
    await subscribe("devices", "ObjectCreation", "Device.X_SPIN.Device.", true);
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  const notified = (id: string) => s.operator.connection.notifications.filter((n) => n.subscriptionId === id);

  test("a restart of the agent gives one Boot!", async () => {
    await s.agent.stop();
    s.agent.restart();
    await s.operator.ready();
    await eventually(
      () => notified("boot").length,
      (n) => n > 0,
      { what: "the number of Boot!" },
    );
    await pause(1500);
    expect(notified("boot")).toHaveLength(1);
  }, 60_000);

  test("the broker is killed and started again: the agent reconnects, and the notification that was due arrives once", async () => {
    const before = notified("devices").length;
    await s.home.broker.kill();
    await pause(300);
    // A device that nobody has seen: its row is made while no broker is there.
    await s.home.device(2).forgeMacs(1, 1, 7001);
    await pause(1500);
    await s.home.broker.run();
    await s.operator.ready(60_000);
    await eventually(
      () => notified("devices").length - before,
      (n) => n >= 1,
      { timeoutMs: 60_000, what: "the notifications" },
    );
    await pause(1500);
    expect(notified("devices").length - before).toBe(1);
    expect(notified("boot")).toHaveLength(1);
  }, 150_000);

  test("the line is cut silently and mended: the agent reconnects and answers", async () => {
    const before = notified("devices").length;
    await s.home.cut();
    await s.home.device(2).forgeMacs(1, 1, 7002);
    // Longer than the keep-alive and its answer: both ends give the connection up.
    await pause(10_000);
    expect(s.agent.log).toMatch(/mqtt.*(ping|keep|timeout|closed|lost|gone)/i);
    await s.home.mend();
    await s.operator.ready(120_000);
    await eventually(
      () => notified("devices").length - before,
      (n) => n >= 1,
      { timeoutMs: 60_000, what: "the notifications" },
    );
    expect(notified("boot")).toHaveLength(1);
  }, 200_000);

  test("a notification that nobody answers is sent again, until somebody does", async () => {
    const { connection } = s.operator;
    const before = notified("devices").length;
    const tap = await connectAsync({
      host: s.home.broker.host,
      port: s.home.broker.port,
      protocol: "mqtt",
      protocolVersion: 5,
    });
    const seen: string[] = [];
    tap.on("message", (_topic, payload) => {
      const record = decodeRecord(payload);
      if (!record.ok || record.record.recordType.$case !== "noSessionContext") return;
      const msg = decodeMsg(record.record.recordType.value.payload);
      if (msg.ok && msg.content.kind === "request" && msg.content.request.$case === "notify") seen.push(msg.msgId);
    });
    await tap.subscribeAsync(CONTROLLER_TOPIC);
    connection.answersNotifications = false;
    try {
      await s.home.device(2).forgeMacs(1, 1, 7003);
      await eventually(
        () => seen.length,
        (n) => n >= 2,
        { timeoutMs: 40_000, what: "the sendings" },
      );
      connection.answersNotifications = true;
      const so = seen.length;
      await eventually(
        () => seen.length,
        (n) => n > so,
        { timeoutMs: 60_000, what: "the sendings" },
      );
      const answered = seen.length;
      await pause(12_000);
      expect(seen.length).toBe(answered);
      // Each sending is of one notification, which the controller knows by its msg_id.
      expect(notified("devices").length - before).toBe(1);
    } finally {
      connection.answersNotifications = true;
      await tap.endAsync(true);
    }
  }, 150_000);
});
