/** The file of rules is damaged: what was blocked stays blocked until an operator says what shall be. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { scene, sceneMissing } from "../support/scene.ts";

const SERVER = "198.51.100.77";

describeUnless(sceneMissing(), "rules that can't be read", () => {
  test("stay in force in the kernel, over restarts, until a rule is set", async () => {
    const s = await scene({ devices: 1 });
    try {
      const stream = s.home.device(1).stream("udp", SERVER);
      await stream.flowing();
      await s.operator.addRule({ destinations: [SERVER] });
      const stopped = () =>
        eventually(
          () => stream.during(300),
          (packets) => packets === 0,
          { what: "packets that pass" },
        );
      await stopped();
      const file = join(s.home.folder, "state/model-device-x_spin.json");
      for (const spoil of [() => writeFileSync(file, readFileSync(file).subarray(0, 40)), () => undefined]) {
        await s.agent.kill();
        spoil();
        s.agent.restart();
        await s.operator.ready();
        const said = await eventually(
          () => s.operator.get("Device.X_SPIN.Status", "Device.X_SPIN.StatusReason"),
          (values) => values.get("Device.X_SPIN.Status") === "Error",
          { what: "Status" },
        );
        expect(said.get("Device.X_SPIN.StatusReason")).toContain("blocks that were in force stay in force");
        // Long enough for the home to be known, which is when a policy would be applied.
        await new Promise((done) => setTimeout(done, 3000));
        expect(await stream.during(300)).toBe(0);
      }
      await s.operator.addRule({ destinations: ["203.0.113.9"] });
      await stream.flowing();
      await s.operator.running();
      await stream.stop();
    } finally {
      await s.end();
    }
  }, 90_000);
});
