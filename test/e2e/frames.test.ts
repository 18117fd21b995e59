/** What devices tell the LAN reaches the model live: names, MUD URLs, and incidents of ARP. */
import { eventually } from "../support/eventually.ts";
import { arp, dhcpFrame, dhcpv6Frame, lldpFrame, mdnsFrame, mudTlv } from "../support/lan-frames.ts";
import { describeUnless } from "../support/needs.ts";
import { scene, sceneMissing, type Scene } from "../support/scene.ts";

const URL = "https://maker.example/camera.json";

describeUnless(sceneMissing(), "frames of the LAN", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 3 });
    const { operator, home } = s;
    const row = () => operator.get('Device.X_SPIN.Capture.Source.[Name=="frames"].Status');
    await eventually(row, (values) => [...values.values()][0] === "Running", { what: "the source of frames" });
    // Known, each with its address.
    for (const device of home.devices) {
      await device.ping("192.168.77.1", { count: 1 });
      await operator.device(device.mac);
    }
  }, 40_000);
  afterAll(() => s?.end());

  const parameter = async (mac: string, name: string) => (await s.operator.deviceParameters(mac)).get(name) ?? "";
  const becomes = (mac: string, name: string, wanted: string) =>
    eventually(
      () => parameter(mac, name),
      (value) => value === wanted,
      { what: `${name} of ${mac}` },
    );
  const incident = (type: string, mac: string) =>
    eventually(
      () => s.operator.get(`Device.X_SPIN.Incident.[Type=="${type}"&&PhysAddress=="${mac}"].Count`),
      (found) => found.size > 0,
      { what: `${type} of ${mac}` },
    );

  test("a device is known by what it says when it asks for an address, by mDNS and on its port by LLDP", async () => {
    const [camera, bridge, lamp] = [s.home.device(1), s.home.device(2), s.home.device(3)];
    await camera.sendFrames([
      dhcpFrame(camera.mac, 1, [
        [12, "porch-camera"],
        [55, Uint8Array.of(1, 3, 6, 12, 15, 28, 42, 161)],
        [60, "udhcp 1.36.1"],
        [161, URL],
      ]),
    ]);
    await becomes(camera.mac, "HostName", "porch-camera");
    await becomes(camera.mac, "MUDURL", URL);
    await bridge.sendFrames([lldpFrame(bridge.mac, [[5, "hall-bridge"], mudTlv(URL)])]);
    await becomes(bridge.mac, "HostName", "hall-bridge");
    await becomes(bridge.mac, "MUDURL", URL);
    await lamp.sendFrames([
      mdnsFrame(lamp.mac, lamp.ipv4, [
        { name: "_hap._tcp.local", type: "PTR", data: "Lamp._hap._tcp.local" },
        { name: "Lamp._hap._tcp.local", type: "TXT", data: ["md=LAMP 1", "ci=5"] },
        { name: "desk-lamp.local", type: "A", data: lamp.ipv4 },
      ]),
      dhcpv6Frame(lamp.mac, "fe80::aa:ff:fe00:3", 1, [[112, `${URL}?v6`]]),
    ]);
    await becomes(lamp.mac, "HostName", "desk-lamp");
    await becomes(lamp.mac, "MUDURL", `${URL}?v6`);
  }, 30_000);

  test("a scan of the LAN by ARP opens an incident", async () => {
    const scanner = s.home.device(2);
    const questions = Array.from({ length: 40 }, (_, i) =>
      arp({ mac: scanner.mac, sender: scanner.ipv4, target: `192.168.77.${100 + i}` }),
    );
    await scanner.sendFrames(questions, { perSecond: 100 });
    await incident("ARPScan", scanner.mac);
  }, 30_000);

  test("two devices that claim one address open an incident of the one that does not hold it", async () => {
    const [owner, thief] = [s.home.device(1), s.home.device(3)];
    const claim = (mac: string) => arp({ mac, sender: owner.ipv4, target: owner.ipv4 });
    for (let i = 0; i < 5; i++) {
      await thief.sendFrames([claim(thief.mac)]);
      await owner.sendFrames([claim(owner.mac)]);
    }
    await incident("AddressSpoofing", thief.mac);
    expect((await s.operator.get(`Device.X_SPIN.Incident.[PhysAddress=="${owner.mac}"].Type`)).size).toBe(0);
  }, 30_000);
});
