import {
  Flag,
  arp,
  dhcp,
  dnsQuestion,
  ethernet,
  neighbour,
  routerAdvertisement,
  tcp,
  udp,
} from "../../demo/packets.ts";
import { parseMac, parsePrefix, printMac } from "../../src/lib/address.ts";
import { pcapFile } from "../support/capture-formats.ts";
import type { Observed } from "../support/observe-capture.ts";
import { observeCapture } from "../support/observe-capture.ts";

const START = Date.UTC(2026, 0, 15, 12, 0, 0);
const CAMERA = "02:00:00:00:00:01";
const PHONE = "02:00:00:00:00:02";
const GATEWAY = "02:00:00:00:00:FE";
const ISP = "02:00:00:00:00:EE";

interface Side {
  readonly mac: string;
  readonly address: string;
}
let port = 20_000;

/** A TCP exchange of four packets between two stations, for their own or others' addresses. */
function exchange(opener: Side, server: Side): Uint8Array[] {
  port++;
  const there = (flags: number) =>
    ethernet(
      opener.mac,
      server.mac,
      tcp(opener.address, server.address, { sourcePort: port, destinationPort: 443, flags }),
    );
  const back = (flags: number) =>
    ethernet(
      server.mac,
      opener.mac,
      tcp(server.address, opener.address, { sourcePort: 443, destinationPort: port, flags }),
    );
  return [there(Flag.Syn), back(Flag.Syn | Flag.Ack), there(Flag.Ack), back(Flag.Ack)];
}

const via = (address: string, mac = GATEWAY): Side => ({ mac, address });
const at = (mac: string, address: string): Side => ({ mac, address });
const observe = (frames: readonly Uint8Array[], lan: readonly string[] = [], linkType = 1): Promise<Observed> =>
  observeCapture(
    pcapFile(
      frames.map((bytes, i) => ({ timeMs: START + 10 * i, bytes })),
      { linkType },
    ),
    {
      lanPrefixes: lan.map((text) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>),
    },
  );
/** Hardware addresses told as neighbours, with the addresses that they have. */
const neighbours = ({ of }: Observed) =>
  [...new Set(of("neighbour").map(({ mac, address }) => `${printMac(mac)} ${address ?? ""}`.trim()))].sort();

describe("which side is the home", () => {
  test("of a capture before NAT: the station that carries many networks is the gateway", async () => {
    const seen = await observe([
      ...exchange(at(CAMERA, "192.168.1.7"), via("198.51.100.9")),
      ...exchange(at(PHONE, "192.168.1.8"), via("203.0.113.4")),
      ...exchange(at(PHONE, "2001:db8:1::8"), via("2001:db8:99::1")),
      ...exchange(at(PHONE, "fd00:1::8"), at(CAMERA, "fd00:1::7")),
    ]);
    expect(seen.network()).toMatchObject({ gateways: [GATEWAY], gatewayAddresses: [] });
    expect([...seen.network().lan].sort()).toEqual(["192.168.1.0/24", "2001:db8:1::/64", "fd00:1::/64"]);
    expect(neighbours(seen)).toEqual([
      `${CAMERA} 192.168.1.7`,
      `${CAMERA} fd00:1::7`,
      `${PHONE} 192.168.1.8`,
      `${PHONE} 2001:db8:1::8`,
      `${PHONE} fd00:1::8`,
    ]);
  });

  test("of a home with public addresses, and peers with private ones", async () => {
    const seen = await observe([
      ...exchange(at(CAMERA, "192.0.2.7"), via("10.9.8.7")),
      ...exchange(at(PHONE, "192.0.2.8"), via("172.16.3.4")),
    ]);
    expect(seen.network()).toMatchObject({ lan: ["192.0.2.0/24"], gateways: [GATEWAY] });
  });

  test("of a capture after NAT: the home's router is its one device", async () => {
    const seen = await observe([
      ...exchange(at(GATEWAY, "203.0.113.2"), via("198.51.100.9", ISP)),
      ...exchange(at(GATEWAY, "203.0.113.2"), via("192.0.2.4", ISP)),
      ...exchange(via("192.0.2.99", ISP), at(GATEWAY, "203.0.113.2")),
    ]);
    expect(seen.network()).toMatchObject({ lan: ["203.0.113.0/24"], gateways: [ISP] });
    expect(neighbours(seen)).toEqual([`${GATEWAY} 203.0.113.2`]);
  });

  test("of one device with one peer: the private side", async () => {
    const seen = await observe(exchange(at(CAMERA, "192.168.1.7"), via("198.51.100.9")));
    expect(seen.network()).toMatchObject({ lan: ["192.168.1.0/24"], gateways: [GATEWAY] });
  });

  test("of one device with one peer, both public: the side that opens connections", async () => {
    const seen = await observe(exchange(at(CAMERA, "192.0.2.7"), via("198.51.100.9")));
    expect(seen.network()).toMatchObject({ lan: ["192.0.2.0/24"], gateways: [GATEWAY] });
  });

  test("where peers lie in the same /24 as the home: only the addresses that were seen", async () => {
    const seen = await observe([
      ...exchange(at(CAMERA, "203.0.113.2"), via("203.0.113.77")),
      ...exchange(at(CAMERA, "203.0.113.2"), via("203.0.113.78")),
      ...exchange(at(CAMERA, "203.0.113.2"), via("198.51.100.9")),
    ]);
    expect(seen.network()).toMatchObject({ lan: ["203.0.113.2"], gateways: [GATEWAY] });
  });

  test("of a LAN without its gateway: everybody is at home", async () => {
    const seen = await observe([
      ...exchange(at(PHONE, "192.168.1.8"), at(CAMERA, "192.168.1.7")),
      ethernet(CAMERA, "01:00:5E:00:00:FB", udp("192.168.1.7", "224.0.0.251", 5353, 5353, Buffer.alloc(40))),
    ]);
    expect(seen.network()).toMatchObject({ lan: ["192.168.1.0/24"], gateways: [] });
    expect(neighbours(seen)).toEqual([`${CAMERA} 192.168.1.7`, `${PHONE} 192.168.1.8`]);
  });

  test("the gateway's own addresses are known by ARP, by its resolver, by DHCP and by router advertisements", async () => {
    const seen = await observe([
      ethernet(GATEWAY, CAMERA, arp(2, GATEWAY, "192.168.1.1", CAMERA, "192.168.1.7")),
      ethernet(GATEWAY, "33:33:00:00:00:01", routerAdvertisement("fe80::1", GATEWAY, "2001:db8:1::")),
      ethernet(CAMERA, GATEWAY, udp("192.168.1.7", "192.168.1.1", 5000, 53, dnsQuestion(1, "a.example", "A"))),
      ethernet(CAMERA, "33:33:FF:00:00:01", neighbour(135, "2001:db8:1::7", "ff02::1:ff00:1", "2001:db8:1::1", CAMERA)),
      ...exchange(at(CAMERA, "192.168.1.7"), via("198.51.100.9")),
    ]);
    expect(seen.network().gateways).toEqual([GATEWAY]);
    expect(seen.network().gatewayAddresses).toEqual(expect.arrayContaining(["192.168.1.1", "fe80::1"]));
    expect(neighbours(seen)).toEqual([`${CAMERA} 192.168.1.7`, `${CAMERA} 2001:db8:1::7`]);
  });

  test("the width of the LAN is what DHCP says", async () => {
    const ack = dhcp({ type: 5, mac: CAMERA, transaction: 1, given: "10.1.2.3", server: "10.1.0.1", leaseSeconds: 60 });
    ack.fill(
      Buffer.of(1, 4, 255, 255, 0, 0),
      ack.indexOf(Buffer.of(1, 4, 255, 255, 255, 0)),
      ack.indexOf(Buffer.of(1, 4, 255, 255, 255, 0)) + 6,
    );
    const seen = await observe([
      ethernet(GATEWAY, CAMERA, udp("10.1.0.1", "10.1.2.3", 67, 68, ack)),
      ...exchange(at(CAMERA, "10.1.2.3"), via("198.51.100.9")),
      ...exchange(at(PHONE, "10.1.77.3"), via("10.200.0.9")),
    ]);
    expect(seen.network()).toMatchObject({ lan: ["10.1.0.0/16"], gateways: [GATEWAY] });
  });

  test("a device that makes up its source addresses does not become the gateway, nor they the home's", async () => {
    const flood = Array.from({ length: 200 }, (_, i) =>
      ethernet(CAMERA, GATEWAY, udp(`${20 + (i % 50)}.${i}.1.9`, "198.51.100.9", 1000 + i, 80, Buffer.alloc(10))),
    );
    const seen = await observe([
      ...exchange(at(CAMERA, "192.168.1.7"), via("198.51.100.9")),
      ...exchange(at(PHONE, "192.168.1.8"), via("203.0.113.4")),
      ...flood,
    ]);
    expect(seen.network()).toMatchObject({ lan: ["192.168.1.0/24"], gateways: [GATEWAY] });
    expect(neighbours(seen)).toContain(CAMERA);
  });

  test("is what --lan says, whatever the traffic looks like", async () => {
    const frames = [
      ...exchange(at(GATEWAY, "198.51.100.9"), at(CAMERA, "192.0.2.7")),
      ...exchange(at(GATEWAY, "198.51.100.10"), at(PHONE, "192.0.2.8")),
    ];
    const seen = await observe(frames, ["192.0.2.0/28", "2001:db8:1::/64"]);
    expect(seen.network()).toMatchObject({ lan: ["192.0.2.0/28", "2001:db8:1::/64"], gateways: [GATEWAY] });
    const turned = await observe(frames, ["198.51.100.0/24"]);
    expect(turned.network().gateways.sort()).toEqual([CAMERA, PHONE]);
    expect(neighbours(turned)).toEqual([`${GATEWAY} 198.51.100.10`, `${GATEWAY} 198.51.100.9`]);
  });
});

describe("without hardware addresses", () => {
  const raw = (opener: string, server: string) =>
    exchange(at(CAMERA, opener), via(server)).map((frame) => frame.subarray(14));

  test("the private side is the home, and each address gets a stand-in", async () => {
    const seen = await observe([...raw("192.168.1.7", "198.51.100.9"), ...raw("192.168.1.8", "203.0.113.4")], [], 101);
    expect(seen.network()).toMatchObject({ lan: ["192.168.1.0/24"], gateways: [] });
    expect(neighbours(seen)).toEqual(["02:00:C0:A8:01:07 192.168.1.7", "02:00:C0:A8:01:08 192.168.1.8"]);
  });

  test("else the side that opens connections to many", async () => {
    const seen = await observe(
      [
        ...raw("203.0.113.2", "198.51.100.9"),
        ...raw("203.0.113.2", "192.0.2.9"),
        ...raw("2001:db8:1::7", "2001:db8:98::1"),
        ...raw("2001:db8:1::8", "2001:db8:99::1"),
      ],
      [],
      101,
    );
    expect(seen.network().lan).toEqual(["203.0.113.2", "2001:db8:1::/64"]);
  });
});

describe("what shows only later", () => {
  /** More than the head that is sampled, of one ordinary exchange. */
  const head = Array.from({ length: 800 }, (_, i) =>
    ethernet(CAMERA, GATEWAY, udp("192.168.1.7", `198.51.${i % 20}.9`, 5000, 443, Buffer.alloc(1400))),
  );

  test("a new prefix counts once the gateway delivers to it, or neighbour discovery claims it", async () => {
    const seen = await observe([
      ...head,
      ...exchange(at(PHONE, "2001:db8:1::8"), via("2001:db8:99::1")),
      ethernet(CAMERA, "33:33:FF:00:00:01", neighbour(135, "2001:db8:2::7", "ff02::1:ff00:1", "2001:db8:2::1", CAMERA)),
      ...exchange(at(CAMERA, "2001:db8:2::7"), via("2001:db8:99::1")),
    ]);
    expect(seen.network().lan).toEqual(["192.168.1.0/24", "2001:db8:1::/64", "2001:db8:2::/64"]);
    expect(neighbours(seen)).toEqual(expect.arrayContaining([`${PHONE} 2001:db8:1::8`, `${CAMERA} 2001:db8:2::7`]));
  });

  test("a second gateway is one to which devices send for foreign addresses", async () => {
    const seen = await observe([...head, ...exchange(at(PHONE, "192.168.1.8"), via("203.0.113.9", ISP))]);
    expect(seen.network().gateways).toEqual([GATEWAY, ISP]);
    expect(neighbours(seen)).not.toContainEqual(expect.stringContaining(ISP));
  });

  test("made-up sources stay nobody's", async () => {
    const seen = await observe([
      ...head,
      ...Array.from({ length: 50 }, (_, i) =>
        ethernet(PHONE, GATEWAY, udp(`23.0.${i}.9`, "198.51.100.9", 1000 + i, 80, Buffer.alloc(10))),
      ),
    ]);
    expect(seen.network().lan).toEqual(["192.168.1.0/24"]);
    expect(neighbours(seen)).toEqual([`${CAMERA} 192.168.1.7`, PHONE]);
  });
});

test("an address that moves to another device is told at once", async () => {
  const seen = await observe([
    ...exchange(at(CAMERA, "192.168.1.7"), via("198.51.100.9")),
    ethernet(PHONE, "FF:FF:FF:FF:FF:FF", arp(1, PHONE, "192.168.1.7", "00:00:00:00:00:00", "192.168.1.1")),
  ]);
  expect(seen.of("neighbour").map(({ mac, address }) => [mac, address])).toEqual([
    [parseMac(CAMERA), "192.168.1.7"],
    [parseMac(PHONE), "192.168.1.7"],
  ]);
});
