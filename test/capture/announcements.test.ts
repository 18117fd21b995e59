/** What devices say of themselves, in frames made by hand: the live source and a capture file tell the same. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { decodeDhcpv6 } from "../../src/capture/decode/dhcpv6.ts";
import { decodeLldp } from "../../src/capture/decode/lldp.ts";
import { decodeMdns } from "../../src/capture/decode/mdns.ts";
import { deviceText, mudUrl } from "../../src/capture/decode/device-text.ts";
import { Lan } from "../../src/capture/lan.ts";
import { FrameReader } from "../../src/capture/frame-reader.ts";
import { PcapWriter } from "../../src/capture/pcap-writer.ts";
import { parseAddress, parseMac, parsePrefix, type Prefix } from "../../src/lib/address.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import type { Observation } from "../../src/spin/observation.ts";
import {
  arp,
  dhcp,
  type DnsRecord,
  dhcpFrame,
  dhcpv6,
  dhcpv6Frame,
  ethernet,
  lldpFrame,
  mdns,
  mdnsFrame,
  mudTlv,
  udp,
} from "../support/lan-frames.ts";
import { observeCapture } from "../support/observe-capture.ts";
import { describeUnless } from "../support/needs.ts";

const MAC = "02:AA:00:00:00:11";
const ADDRESS = "192.168.77.17";
const LINK_LOCAL = "fe80::aa:ff:fe00:11";
const GATEWAY = "02:AA:00:00:FF:01";
const URL = "https://maker.example/camera.json";
const device = parseMac(MAC) as number;

type Told = Exclude<Observation, { kind: "flows" }>;

/** What is told of frames that come in by br-lan, one a millisecond. */
function live(frames: readonly Uint8Array[], options: { everyMs?: number; prefixes?: string[] } = {}): Told[] {
  const { everyMs = 1, prefixes = ["192.168.77.0/24"] } = options;
  const lan = new Lan();
  lan.set(["br-lan"], { lanPrefixes: prefixes, gatewayMacs: [parseMac(GATEWAY) as number] });
  const clock = new ManualClock(1_700_000_000_000);
  const told: Told[] = [];
  const reader = new FrameReader({ lan, clock, emit: (observation) => void told.push(observation as Told) });
  for (const frame of frames) {
    const bytes = Buffer.concat([Buffer.alloc(3, 0xee), frame, Buffer.alloc(3, 0xee)]);
    reader.read("br-lan", bytes, 3, 3 + frame.length, frame.length);
    clock.advance(everyMs);
  }
  return told;
}

const identities = (told: readonly Told[]) => told.filter(({ kind }) => kind === "identity");
const without = ({ time: _time, ...rest }: Told) => rest;

describe("identity from frames", () => {
  const camera: DnsRecord[] = [
    { name: "_hap._tcp.local", type: "PTR", data: "Kitchen Camera._hap._tcp.local" },
    { name: "Kitchen Camera._hap._tcp.local", type: "SRV", data: "Kitchen-Camera.local 8080" },
    { name: "Kitchen Camera._hap._tcp.local", type: "TXT", data: ["c#=2", "md=CAM 3", "id=02:AA"] },
    { name: "Kitchen-Camera.local", type: "A", data: ADDRESS },
    { name: "Kitchen-Camera.local", type: "AAAA", data: LINK_LOCAL },
  ];
  test.each<[string, Buffer, object]>([
    [
      "DHCPv4",
      dhcpFrame(MAC, 1, [
        [12, "camera"],
        [55, Uint8Array.of(1, 3, 6, 15, 161)],
        [60, "udhcp 1.36.1"],
        [161, `${URL} more`],
      ]),
      {
        source: "dhcp",
        hostName: "camera",
        parameterList: [1, 3, 6, 15, 161],
        vendorClass: "udhcp 1.36.1",
        mudUrl: URL,
      },
    ],
    [
      "DHCPv6",
      dhcpv6Frame(MAC, LINK_LOCAL, 1, [
        [1, Uint8Array.of(0, 3, 0, 1, 2, 0xaa, 0, 0, 0, 0x99)],
        [
          16,
          Buffer.concat([Buffer.of(0, 0, 0x86, 0xa2, 0, 5), Buffer.from("CAM 3"), Buffer.of(0, 2), Buffer.from("v1")]),
        ],
        [39, Buffer.concat([Buffer.of(1, 6), Buffer.from("camera"), Buffer.of(4), Buffer.from("home"), Buffer.of(0)])],
        [112, URL],
      ]),
      { source: "dhcpv6", hostName: "camera", vendorClass: "CAM 3 v1", mudUrl: URL },
    ],
    [
      "LLDP",
      lldpFrame(MAC, [[5, "camera.home"], [6, "Maker CAM 3, firmware 9"], mudTlv(URL)]),
      { source: "lldp", hostName: "camera.home", model: "Maker CAM 3, firmware 9", mudUrl: URL },
    ],
    [
      "mDNS",
      mdnsFrame(MAC, ADDRESS, camera),
      { source: "mdns", hostName: "kitchen-camera", services: ["_hap._tcp"], model: "CAM 3" },
    ],
    [
      "mDNS over IPv6",
      mdnsFrame(MAC, LINK_LOCAL, camera),
      { source: "mdns", hostName: "kitchen-camera", services: ["_hap._tcp"], model: "CAM 3" },
    ],
  ])("of %s, live and from a capture", async (_what, frame, expected) => {
    const wanted = [{ kind: "identity", mac: device, ...expected }];
    expect(identities(live([frame])).map(without)).toEqual(wanted);
    const writer = new PcapWriter();
    writer.write(1_700_000_000_000, arp({ mac: MAC, sender: ADDRESS, target: "192.168.77.1" }));
    writer.write(1_700_000_000_001, frame);
    const seen = await observeCapture(Buffer.concat(writer.take()), {
      lanPrefixes: [parsePrefix("192.168.77.0/24") as Prefix],
    });
    expect(seen.of("identity").map(without)).toEqual(wanted);
  });

  test("is told once an hour, however often the device says it", () => {
    const frame = dhcpFrame(MAC, 1, [[12, "camera"]]);
    const every = 6 * 60_000;
    expect(
      identities(
        live(
          Array.from({ length: 21 }, () => frame),
          { everyMs: every },
        ),
      ),
    ).toHaveLength(3);
    const other = dhcpFrame(MAC, 3, [[12, "camera-2"]]);
    expect(identities(live([frame, other, frame, other]))).toHaveLength(2);
  });

  test("is not the gateway's, nor a server's answer", () => {
    expect(
      live([
        dhcpFrame(GATEWAY, 1, [[12, "gateway"]]),
        lldpFrame(GATEWAY, [[5, "gateway"]]),
        mdnsFrame(GATEWAY, "192.168.77.1", [{ name: "gateway.local", type: "A", data: "192.168.77.1" }]),
        udp({
          mac: MAC,
          source: "192.168.77.250",
          destination: "255.255.255.255",
          sourcePort: 67,
          destinationPort: 67,
          payload: dhcp(MAC, 2, [[12, "offered"]], "192.168.77.9"),
        }),
      ]),
    ).toEqual([]);
  });

  test("survives frames cut anywhere, and bytes changed anywhere", () => {
    const frames = [
      dhcpFrame(MAC, 1, [
        [12, "camera"],
        [55, Uint8Array.of(1, 3)],
        [161, URL],
      ]),
      dhcpv6Frame(MAC, LINK_LOCAL, 1, [
        [16, Buffer.from("\0\0\0\0\0\x03abc")],
        [112, URL],
      ]),
      lldpFrame(MAC, [[5, "camera"], mudTlv(URL)]),
      mdnsFrame(MAC, ADDRESS, camera),
      arp({ mac: MAC, sender: ADDRESS, target: "192.168.77.1" }),
    ];
    const hostile: Uint8Array[] = [];
    for (const frame of frames)
      for (let at = 0; at < frame.length; at++) {
        hostile.push(frame.subarray(0, at));
        for (const value of [0, 0x3f, 0xc0, 0xff]) hostile.push(Uint8Array.from(frame).fill(value, at, at + 1));
      }
    for (const told of live(hostile))
      for (const value of Object.values(told))
        if (typeof value === "string") expect(value).toMatch(/^[\x20-\x7e]{1,255}$/);
  });
});

describe("ARP from frames", () => {
  const question = arp({ mac: MAC, sender: ADDRESS, target: "192.168.77.30" });
  const claim = { kind: "neighbour", mac: device, address: ADDRESS, interface: "br-lan", state: "frame" };
  test("a question tells whom it asks for, and who asks", () => {
    expect(live([question]).map(without)).toEqual([claim, { kind: "who-has", mac: device, target: "192.168.77.30" }]);
  });
  test("a gratuitous one and an answer are claims and ask for nobody", () => {
    const gratuitous = arp({ mac: MAC, sender: ADDRESS, target: ADDRESS });
    const answer = arp({ mac: MAC, operation: 2, sender: ADDRESS, target: "192.168.77.1", to: GATEWAY });
    for (const frame of [gratuitous, answer]) expect(live([frame]).map(without)).toEqual([claim]);
  });
  test("a probe asks and claims nothing", () => {
    expect(live([arp({ mac: MAC, sender: "0.0.0.0", target: ADDRESS })]).map(without)).toEqual([
      { kind: "who-has", mac: device, target: ADDRESS },
    ]);
  });
  test("nothing is told of the gateway, of groups, of addresses that are not the home's, and of other hardware", () => {
    expect(
      live([
        arp({ mac: GATEWAY, sender: "192.168.77.1", target: ADDRESS }),
        arp({ mac: MAC, senderMac: GATEWAY, sender: "192.168.77.1", target: ADDRESS }),
        arp({ mac: "03:00:00:00:00:01", sender: ADDRESS, target: ADDRESS }),
        arp({ mac: MAC, operation: 2, sender: "10.9.9.9", target: ADDRESS }),
        ethernet(MAC, GATEWAY, 0x0806, Buffer.alloc(46, 1)),
      ]),
    ).toEqual([]);
  });
  test("a claim is told again when another makes it, after five seconds, and while two contend each second", () => {
    const other = arp({ mac: "02:AA:00:00:00:12", sender: ADDRESS, target: ADDRESS });
    const own = arp({ mac: MAC, sender: ADDRESS, target: ADDRESS });
    expect(live([own, own, other, other, own]).map((told) => "mac" in told && told.mac)).toEqual([
      device,
      device + 1,
      device,
    ]);
    expect(live([own, own, own, own], { everyMs: 3000 })).toHaveLength(2);
    expect(live([own, other, other, other], { everyMs: 1500 })).toHaveLength(4);
  });
});

describe("mDNS", () => {
  const source = parseAddress(ADDRESS) as Uint32Array;
  const decode = (records: readonly DnsRecord[], from = source) => decodeMdns(mdns(records), from);
  test("finds services however they are told, and a name where there is no address", () => {
    expect(
      decode([
        { name: "_services._dns-sd._udp.local", type: "PTR", data: "_ipp._tcp.local" },
        { name: "_printer._sub._http._tcp.local", type: "PTR", data: "x._http._tcp.local" },
        { name: "x._http._tcp.local", type: "SRV", data: "printer.local 80" },
        { name: "x._http._tcp.local", type: "TXT", data: ["ty=Maker Laser 2", "txtvers=1"] },
      ]),
    ).toEqual({ hostName: "printer", services: ["_ipp._tcp", "_http._tcp"], model: "Maker Laser 2" });
  });
  test("does not believe who speaks for others", () => {
    const records: DnsRecord[] = [
      { name: "x._http._tcp.local", type: "SRV", data: "other.local 80" },
      { name: "other.local", type: "A", data: "192.168.77.99" },
    ];
    expect(decode(records)).toBeUndefined();
    // Of the other family's addresses nothing can be said.
    expect(decode(records, parseAddress(LINK_LOCAL) as Uint32Array)?.hostName).toBe("other");
    const own: DnsRecord = { name: "own.local", type: "A", data: ADDRESS };
    expect(decode([...records, own])?.hostName).toBe("own");
  });
  test("takes no question, no farewell and no name elsewhere than .local", () => {
    const question = mdns([{ name: "own.local", type: "A", data: ADDRESS }]);
    question.writeUInt16BE(0, 2);
    expect(decodeMdns(question, source)).toBeUndefined();
    expect(decode([{ name: "own.local", type: "A", data: ADDRESS, ttl: 0 }])).toBeUndefined();
    expect(decode([{ name: "own.example", type: "A", data: ADDRESS }])).toBeUndefined();
  });
  test("is bounded in services and in records", () => {
    const many = Array.from({ length: 300 }, (_, i): DnsRecord => ({
      name: `_s${i}._tcp.local`,
      type: "PTR",
      data: "a",
    }));
    expect(decode(many)?.services).toHaveLength(32);
    const header = Buffer.alloc(12);
    header.writeUInt16BE(0x8400, 2);
    header.writeUInt16BE(0xffff, 4);
    header.writeUInt16BE(0xffff, 6);
    expect(decodeMdns(Buffer.concat([header, Buffer.alloc(1400)]), source)).toBeUndefined();
  });
});

describe("what else devices say", () => {
  test.each(["https://a.example/x", `https://[2001:db8::1]/x`])("%s is a MUD URL", (text) => {
    expect(mudUrl(Buffer.from(`${text}\0`))).toBe(text);
  });
  test.each([
    "http://a.example/x",
    "https://",
    "https:// x",
    "https://a.example/ä",
    `https://a.example/${"x".repeat(250)}`,
    "",
  ])("%j is none", (text) => expect(mudUrl(Buffer.from(text))).toBe(""));
  test("text is printable ASCII, bounded, or nothing", () => {
    expect(deviceText(Buffer.from(" Caf\u00e9 One \0"), 20)).toBe("Caf One");
    expect(deviceText(Buffer.from("x".repeat(99)), 20)).toHaveLength(20);
    for (const bytes of [Buffer.of(0xff, 0x41), Buffer.from("a\nb"), Buffer.alloc(0)])
      expect(deviceText(bytes, 20)).toBe("");
  });
  test("DHCPv6 of servers and relays says nothing of a client", () => {
    for (const type of [2, 7, 10, 13, 99]) expect(decodeDhcpv6(dhcpv6(type, [[112, URL]]))).toBeUndefined();
    expect(decodeDhcpv6(dhcpv6(1, [[112, URL]]).subarray(0, 12))).toBeUndefined();
  });
  test("DHCPv6 that a relay forwards is that of the client whose address the relay names", () => {
    const forwarded = (peer: string, inner: Uint8Array) => {
      const header = Buffer.alloc(34);
      header[0] = 12;
      for (const [i, word] of [...(parseAddress(peer) as Uint32Array)].entries())
        header.writeUInt32BE(word, 18 + 4 * i);
      const option = Buffer.of(0, 9, 0, inner.length);
      return Buffer.concat([header, option, inner]);
    };
    const message = dhcpv6(1, [[112, URL]]);
    expect(decodeDhcpv6(forwarded(LINK_LOCAL, message))).toMatchObject({ relayedMac: device, mudUrl: URL });
    expect(decodeDhcpv6(forwarded("fe80::1", message))).toBeUndefined();
    expect(decodeDhcpv6(forwarded(LINK_LOCAL, forwarded(LINK_LOCAL, message)))).toBeUndefined();
  });
  test("LLDP begins with chassis, port and time to live", () => {
    const frame = lldpFrame(MAC, [[5, "x"]]).subarray(14);
    expect(decodeLldp(frame)?.systemName).toBe("x");
    expect(decodeLldp(frame.subarray(9))).toBeUndefined();
    expect(decodeLldp(Buffer.alloc(0))).toBeUndefined();
  });
});

/** Captures that somebody names; none of them is part of the project. */
const folder = process.env["SPIN_CAPTURES"];
describeUnless(
  folder === undefined ? "needs SPIN_CAPTURES, a folder of captures" : undefined,
  "identity in captures",
  () => {
    test.each([
      ["benign__td_dhcp-mud.pcap", "dhcp", { mudUrl: expect.stringMatching(/^https:/) as string }],
      ["benign__td_dhcpv6-mud.pcap", "dhcpv6", { mudUrl: expect.stringMatching(/^https:/) as string }],
      ["benign__td_lldp_mudurl.pcap", "lldp", { mudUrl: expect.stringMatching(/^https:/) as string }],
      ["benign__zeek_mdns.pcap", "mdns", {}],
    ])("%s", async (file, source, said) => {
      const path = join(folder ?? "", file);
      if (!existsSync(path)) return console.warn(`${path} is not there`);
      const told = (await observeCapture(path)).of("identity");
      expect(told).toContainEqual(expect.objectContaining({ source, ...said }));
    });
  },
);
