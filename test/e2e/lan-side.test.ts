/** Which side the home is can be widened from afar, but not moved away from what rules hold for. */
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { scene, sceneMissing } from "../support/scene.ts";

const SERVER = "198.51.100.10";
const CAPTURE = "Device.X_SPIN.Capture.";

describeUnless(sceneMissing(), "an operator that names the LAN's interfaces", () => {
  test.each(["lo", "wan", "nowhere"])(
    "can't let blocked traffic through with %s, and is told",
    async (name) => {
      const { home, agent, operator, end } = await scene({ devices: 1 });
      try {
        const device = home.device(1);
        await device.udp(SERVER, { count: 3 });
        await operator.device(device.mac);
        await operator.addRule({ macs: [device.mac] });
        await operator.connection.set(CAPTURE, { Interfaces: name });
        const reason = () => operator.value("Device.X_SPIN.StatusReason");
        await eventually(reason, (text) => text.includes(`interface ${name} is passed over`), { what: "the reason" });
        expect(await operator.value("Device.X_SPIN.Status")).toBe("Degraded");
        const source = await operator.get(`${CAPTURE}Source.[Name=="network"].`);
        const of = (param: string) => [...source].find(([path]) => path.endsWith(`.${param}`))?.[1];
        expect(of("Status")).toBe("Degraded");
        expect(of("LastError")).toContain(`interface ${name} is passed over`);
        const stream = device.stream("udp", SERVER);
        expect(await stream.during(1000)).toBe(0);
        await stream.stop();
        await operator.connection.set(CAPTURE, { Interfaces: "" });
        const status = () => operator.value("Device.X_SPIN.Status");
        await eventually(status, (text) => text === "Running", { what: "Status" });
        expect(await agent.stop()).toBe(0);
      } finally {
        await end();
      }
    },
    60_000,
  );
});
