/** The defects of SPIN 1.0 that need no kernel, each by its number. docs/spin-defects.md lists all of them. */
import { Flag, arp, ethernet, tcp, udp } from "../../demo/packets.ts";
import { makeHome } from "../../demo/make-home.ts";
import { parseMac } from "../../src/lib/address.ts";
import { pcapFile } from "../support/capture-formats.ts";
import { detect } from "../support/detect.ts";

const DEVICE = "02:00:00:00:00:01";
const GATEWAY = "02:00:00:00:00:FE";
const START = Date.UTC(2026, 0, 1);

const toGateway = (packet: Buffer) => ethernet(DEVICE, GATEWAY, packet);
const told = { timeMs: START, bytes: toGateway(arp(1, DEVICE, "192.168.7.2", GATEWAY, "192.168.7.1")) };
const datagram = (timeMs: number) => ({
  timeMs: START + timeMs,
  bytes: toGateway(udp("192.168.7.2", "198.51.100.9", 5000, 5001, Buffer.alloc(72))),
});

async function sentBy(packets: Parameters<typeof pcapFile>[0]) {
  const { spin } = await detect(pcapFile(packets));
  const device = [...spin.devices()].find(({ mac }) => mac === parseMac(DEVICE));
  return { packets: device?.stats.packetsSent, bytes: device?.stats.bytesSent, spin };
}

describe("B10: a capture file", () => {
  it("of a tenth of a second is counted whole", async () => {
    expect(await sentBy([told, datagram(0), datagram(50), datagram(99)])).toMatchObject({ packets: 3, bytes: 300 });
  });

  it("is counted to its last packet, whatever second that falls in", async () => {
    for (const last of [999, 1000, 1001, 59_999])
      expect(await sentBy([told, datagram(0), datagram(500), datagram(last)])).toMatchObject({ packets: 3 });
  });

  it("is read as fast as the machine can, and its time is the capture's: an hour is an hour", async () => {
    const began = performance.now();
    const everySecond = Array.from({ length: 3600 }, (_, i) => datagram(i * 1000));
    const { spin, packets } = await sentBy([told, ...everySecond]);
    expect(packets).toBe(3600);
    const device = [...spin.devices()].find(({ mac }) => mac === parseMac(DEVICE));
    expect(device?.firstSeen).toBe(START);
    expect((device?.lastSeen ?? 0) - START).toBe(3_599_000);
    expect(performance.now() - began).toBeLessThan(60_000);
  });
});

describe("B11: what analyses", () => {
  it("takes in what the sources tell now: the demo's home raises incidents of three detectors", async () => {
    const { incidents } = await detect(makeHome());
    const types = incidents.map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(["ARPScan", "HostScan", "Flood"]));
  });

  it("finds a scan in packets that were made here", async () => {
    const syn = (i: number) => ({
      timeMs: START + 1000 + i * 100,
      bytes: toGateway(
        tcp("192.168.7.2", `198.51.100.${i}`, {
          sourcePort: 40_000 + i,
          destinationPort: 23,
          flags: Flag.Syn,
        }),
      ),
    });
    const { incidents } = await detect(pcapFile([told, ...Array.from({ length: 40 }, (_, i) => syn(i))]));
    expect(incidents.map(({ type, mac }) => [type, mac])).toContainEqual(["HostScan", parseMac(DEVICE)]);
  });
});
