/** The gateway's flash is full: the home is watched and guarded as before, and the controller is told. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { UspError } from "../../src/lib/usp-error.ts";
import { eventually } from "../support/eventually.ts";
import { Home } from "../support/home.ts";
import { describeUnless } from "../support/needs.ts";
import { Operator } from "../support/operator.ts";
import { sceneMissing, startAgent } from "../support/scene.ts";

const SERVER = "198.51.100.10";

describeUnless(sceneMissing(), "with a full disk", () => {
  test("rules go into the kernel, hits and counters rise, and rules are saved once there is room", async () => {
    const home = await Home.up({ devices: 2, broker: true });
    const state = join(home.folder, "state");
    mkdirSync(state);
    const script = `mount -t tmpfs -o size=256k tmpfs ${state} && exec "$@"`;
    const agent = await startAgent(home, { under: ["unshare", "-m", "sh", "-c", script, "sh"] });
    let operator: Operator | undefined;
    try {
      operator = await Operator.connect(agent, home.broker);
      await operator.running();
      const [device, other] = [home.device(1), home.device(2)];
      await device.udp(SERVER, { count: 3 });
      await operator.device(device.mac);
      const room = fill(`/proc/${agent.pid}/root${state}`);

      const stream = device.stream("udp", SERVER);
      await stream.flowing();
      const refused = await operator.addRuleOnly({ macs: [device.mac] }).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refused).toBeInstanceOf(UspError);
      expect((refused as UspError).code).toBe(7005);
      expect((refused as UspError).message).toContain("in force now, but could not be saved: ENOSPC");
      const rule = "Device.X_SPIN.Rule.1.";
      await operator.inForce(rule);
      await eventually(
        () => stream.during(200),
        (packets) => packets === 0,
        { what: "packets that pass" },
      );
      await eventually(
        async () => (await (operator as Operator).rule(rule)).hitPackets,
        (hits) => hits > 0,
        { what: "hits" },
      );
      await stream.stop();
      const before = await operator.stats(other.mac).catch(() => undefined);
      await other.udp(SERVER, { count: 7, size: 100 });
      await eventually(
        async () => (await (operator as Operator).stats(other.mac)).PacketsReceived,
        (packets) => packets === (before?.PacketsReceived ?? 0) + 7,
        { what: "the other device's packets" },
      );
      room();
      await operator.addRule({ destinations: ["203.0.113.9"] });
      expect(await agent.stop()).toBe(0);
    } finally {
      await operator?.close();
      if (agent.running) await agent.kill();
      await home.down();
    }
  }, 90_000);
});

/** Takes all that is left of a disk; gives it back when the returned function is called. */
function fill(directory: string): () => void {
  const path = join(directory, "filler");
  const file = openSync(path, "a");
  for (let bytes = 65_536; bytes >= 1; bytes >>= 1) {
    try {
      for (;;) writeSync(file, Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
  closeSync(file);
  return () => writeFileSync(path, "");
}
