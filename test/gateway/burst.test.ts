/** Many requests at one time, over a real broker. */
import { describeUnless } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "./support.ts";

describeUnless(gatewayMissing, "a burst of requests", () => {
  let bed: Bed;
  beforeAll(async () => {
    // The broker's own bound is 1,000; what it drops, nobody can answer.
    bed = await Bed.up(["set_tcp_nodelay true", "max_queued_messages 0"]);
  }, 30_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down());

  test.each([
    [1, "5.0"],
    [1, "3.1.1"],
    [0, "5.0"],
  ] as const)(
    "is answered in full at QoS %d over MQTT %s",
    async (qos, mqttVersion) => {
      const agent = await bed.agent(await bed.folder(), { qos, mqttVersion, role: "Admin" });
      const controller = await bed.controller({ version: mqttVersion === "5.0" ? "5" : "3.1.1" });
      await answers(controller, agent);
      const asked = Array.from({ length: 1_800 }, () => controller.read(["Device.X_SPIN.Summary.DeviceCount"]));
      const settled = await Promise.allSettled(asked);
      const refusals = settled.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
      expect([refusals.length, ...new Set(refusals)]).toEqual([0]);
    },
    60_000,
  );
});
