/** The helper hangs or dies under a live home: it is told, nobody else is blamed, and rules hold all the time. */
import { readFileSync } from "node:fs";
import { eventually } from "../support/eventually.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { scene, sceneMissing } from "../support/scene.ts";

const SERVER = "198.51.100.10";

describeUnless(sceneMissing(), "a helper that stops", () => {
  test("shows in Status and in the log as what it is, and the configured resident ports alone are open", async () => {
    const { home, agent, operator, end } = await scene({ devices: 1, agent: { residentPorts: ["4444"] } });
    try {
      const device = home.device(1);
      await device.udp(SERVER, { count: 3 });
      await operator.device(device.mac);
      await operator.addRule({ macs: [device.mac] });
      const { stdout } = await exec(home.gateway, "nft", ["list", "set", "inet", "spin_usp", "resident"]);
      expect(stdout).toMatch(/elements = \{ 4444 \}/);

      const helper = Number(readFileSync(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8").trim().split(" ")[0]);
      const before = agent.log.length;
      process.kill(helper, "SIGSTOP");
      const status = () => operator.value("Device.X_SPIN.Status");
      await eventually(status, (text) => text === "Degraded", { what: "Degraded", timeoutMs: 8000 });
      await eventually(status, (text) => text === "Running", { what: "Running", timeoutMs: 15_000 });
      const said = agent.log.slice(before);
      expect(said).toContain("helper ended: no answer for 3 s");
      expect(said).toContain("may have gone unheard");
      expect(said).not.toMatch(/somebody (?:changed|removed)/);
      const stream = device.stream("udp", SERVER);
      expect(await stream.during(500)).toBe(0);
      await stream.stop();
      expect(await agent.stop()).toBe(0);
    } finally {
      await end();
    }
  }, 60_000);
});
