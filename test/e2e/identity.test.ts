/** Who a device is, and which two are one, as the resident sees and says it on the gateway itself. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { bundle, residentSocket } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { dhcpFrame, mdnsFrame } from "../support/lan-frames.ts";
import { describeUnless } from "../support/needs.ts";
import { scene, sceneMissing, type Scene } from "../support/scene.ts";

describeUnless(sceneMissing(), "the resident's devices", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 3 });
    const row = () => s.operator.get('Device.X_SPIN.Capture.Source.[Name=="frames"].Status');
    await eventually(row, (values) => [...values.values()][0] === "Running", { what: "the source of frames" });
    for (const device of s.home.devices) {
      await device.udp("198.51.100.10");
      await s.operator.device(device.mac);
    }
  }, 40_000);
  afterAll(() => s?.end());

  /** `spin-usp ctl` at the resident's door. */
  async function ctl(...args: string[]) {
    const child = spawn(process.execPath, [bundle(), "ctl", "--socket", residentSocket(s.home.folder), ...args], {
      env: { PATH: process.env["PATH"] },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, out, err };
  }
  const received = async (index: number) => (await s.home.device(index).udp("198.51.100.10", { count: 5 })).received;

  test("have names and types with their reasons, of what they said themselves", async () => {
    const [phone, printer] = [s.home.device(1), s.home.device(2)];
    await phone.sendFrames([
      dhcpFrame(phone.mac, 1, [
        [12, "annas-phone"],
        [60, "android-dhcp-14"],
      ]),
    ]);
    await printer.sendFrames([
      mdnsFrame(printer.mac, printer.ipv4, [{ name: "_ipp._tcp.local", type: "PTR", data: "Ink._ipp._tcp.local" }]),
    ]);
    const type = async (mac: string) => (await s.operator.deviceParameters(mac)).get("Type");
    await eventually(
      async () => `${await type(phone.mac)} ${await type(printer.mac)}`,
      (types) => types === "Phone Printer",
      { what: "the types of both" },
    );
    const { out } = await ctl("device", "annas-phone");
    expect(out).toMatch(/^Type +Phone \(gives DHCP the vendor class "android-dhcp-14"\)$/m);
    expect((await ctl("devices")).out).toMatch(new RegExp(`^annas-phone +Phone +${phone.mac} `, "m"));
  }, 20_000);

  test("that are one are blocked as one in the kernel, shown as one, and two again when that is undone", async () => {
    const [phone, other] = [s.home.device(1), s.home.device(3)];
    await s.operator.addRule({ macs: [phone.mac] });
    expect([await received(1), await received(3)]).toEqual([0, 5]);
    expect(await ctl("merge", other.mac, "annas-phone")).toMatchObject({ code: 0, err: "" });
    expect([await received(1), await received(3), await received(2)]).toEqual([0, 0, 5]);
    const table = (await ctl("devices")).out;
    expect(table).toContain(`${phone.mac} +1`);
    expect(table).not.toContain(other.mac);
    expect((await ctl("merge", "annas-phone", other.mac)).code).toBe(1);
    expect(await ctl("merge", other.mac, "--undo")).toMatchObject({ code: 0, err: "" });
    expect([await received(1), await received(3)]).toEqual([0, 5]);
    expect((await ctl("devices")).out).toContain(other.mac);
  }, 30_000);

  test.each([
    [["merge"]],
    [["merge", "annas-phone"]],
    [["merge", "annas-phone", "annas-phone"]],
    [["merge", "a", "b", "c"]],
    [["device"]],
    [["device", "nobody"]],
  ])(
    "%j is no way to say it",
    async (words) => {
      expect(await ctl(...words)).toMatchObject({ code: 2, out: "" });
    },
    10_000,
  );
});
