/** Every Message over MQTT, between the agent as it is run and its controller. */
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { describeUnless } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "./support.ts";

describe.each(["5", "3.1.1"] as const)("mosquitto, MQTT %s:", (version) => {
  describeUnless(gatewayMissing, "the agent", () => {
    let bed: Bed;
    beforeAll(async () => {
      bed = await Bed.up();
      const agent = await bed.agent(await bed.folder(), {
        mqttVersion: version === "5" ? "5.0" : version,
        qos: 0,
        role: "Admin",
        args: ["--bench-model", `${BENCH_ROWS}`],
      });
      const controller = await bed.controller({ version });
      await answers(controller, agent);
      await controller.close();
    }, 60_000);
    afterAll(() => bed?.down(), 30_000);

    messageContract(`MQTT ${version} over mosquitto`, () => ({ connect: () => bed.controller({ version }) }));
  });
});
