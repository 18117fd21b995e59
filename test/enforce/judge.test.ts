import { parseAddress, parseMac, parsePrefix } from "../../src/lib/address.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { Judge, peerWords } from "../../src/enforce/judge.ts";
import type { JudgedPacket } from "../../src/enforce/judge.ts";
import { enforcerContract, ruleOf } from "../contracts/enforcer.ts";
import type { BedDevice, EnforcerBed, Outcome } from "../contracts/enforcer.ts";

const PROTOCOL = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 } as const;
const GATEWAY = "192.168.77.1";
const network = {
  lanInterfaces: ["br-lan"],
  lanPrefixes: ["192.168.77.0/24", "2001:db8:1::/64"].map(
    (text) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>,
  ),
  gatewayAddresses: [GATEWAY, "2001:db8:1::1"],
  management: [],
};
const devices: [BedDevice, BedDevice] = [
  { mac: "02:00:00:00:00:01", ipv4: "192.168.77.11", ipv6: "2001:db8:1::11" },
  { mac: "02:00:00:00:00:02", ipv4: "192.168.77.12", ipv6: "2001:db8:1::12" },
];

/** A home of which only the packets are left. */
function bedOfJudge(): EnforcerBed & { readonly enforcer: Judge; readonly clock: ManualClock } {
  const clock = new ManualClock(1_700_000_000_000);
  const judge = new Judge({ clock });
  const one = (
    device: BedDevice,
    address: string,
    protocol: number,
    port: number,
    initiator: "Device" | "Peer",
  ): JudgedPacket => ({
    mac: parseMac(device.mac) as number,
    family: address.includes(":") ? 6 : 4,
    peer: peerWords(address),
    protocol,
    port,
    initiator,
    ...(protocol === 1 || protocol === 58 ? { icmpType: 128 } : {}),
  });
  const exchange = (packet: JudgedPacket): Outcome => {
    // There and back: both packets meet the same rules.
    for (let way = 0; way < 2; way++) {
      const decision = judge.judge(packet);
      judge.count(decision, packet.mac, 1, 100);
      if (decision.verdict === "Reject") return "refused";
      if (decision.verdict === "Block") return "silent";
    }
    return "answered";
  };
  const protocolOf = (way: "tcp" | "udp" | "icmp", address: string) =>
    PROTOCOL[way === "icmp" && address.includes(":") ? "icmpv6" : way];
  return {
    enforcer: judge,
    clock,
    network,
    devices,
    now: () => clock.now(),
    ask: (device, way, address, port = way === "udp" ? 7 : 8) =>
      Promise.resolve(exchange(one(device, address, protocolOf(way, address), way === "icmp" ? 0 : port, "Device"))),
    askedBy: (device, peer) => Promise.resolve(exchange(one(device, peer, PROTOCOL.icmpv6, 0, "Peer"))),
    send: (device, address, count, size) => {
      const packet = one(device, address, PROTOCOL.udp, 11, "Device");
      const header = address.includes(":") ? 48 : 28;
      judge.count(judge.judge(packet), packet.mac, count, count * (size + header));
      return Promise.resolve();
    },
    stream: (device, kind, address) => {
      const packet = one(device, address, kind === "tcp" ? 6 : 17, 9, "Device");
      return Promise.resolve({
        flows: () => Promise.resolve(exchange(packet) === "answered"),
        stopped: () => Promise.resolve(exchange(packet) !== "answered"),
        stop: () => Promise.resolve(),
      });
    },
    resolves: (device) => Promise.resolve(exchange(one(device, GATEWAY, PROTOCOL.udp, 53, "Device")) === "answered"),
    gatewayAnswers: (device, service) => {
      const [protocol, port] = { dhcp: [17, 67], web: [6, 80], other: [6, 8080] }[service] as [number, number];
      return Promise.resolve(exchange(one(device, GATEWAY, protocol, port, "Device")) === "answered");
    },
    wait: (ms) => Promise.resolve(clock.advance(ms)),
    down: () => judge.close(),
  };
}

describe("the judge of a replay", () => {
  enforcerContract(() => Promise.resolve(bedOfJudge()));

  it("makes answers old when a rule, a name or time changes them, and not when a name is only renewed", async () => {
    const { enforcer: judge, clock } = bedOfJudge();
    await judge.start(network);
    await judge.apply({ rules: [ruleOf({ domains: ["web.example"] })] });
    const name = {
      kind: "name" as const,
      mac: 1,
      domain: "web.example",
      address: "198.51.100.10",
      expires: clock.now() + 1000,
    };
    const before = judge.generation;
    await judge.addresses({ added: [name], removed: [] });
    const known = judge.generation;
    expect(known).toBeGreaterThan(before);
    await judge.addresses({ added: [name], removed: [] });
    await judge.addresses({ added: [{ kind: "device", mac: 1, address: "192.168.77.9" }], removed: [] });
    expect(judge.generation).toBe(known);
    clock.advance(1000);
    expect(judge.generation).toBeGreaterThan(known);
  });

  it("leaves neighbour discovery to a blocked device", async () => {
    const { enforcer: judge } = bedOfJudge();
    await judge.start(network);
    await judge.apply({ rules: [ruleOf({ macs: ["02:00:00:00:00:01"], to: "*" })] });
    const solicit = { mac: 0x020000000001, family: 6 as const, protocol: 58, port: 0, initiator: "Device" as const };
    const to = (address: string, icmpType: number) =>
      judge.judge({ ...solicit, peer: parseAddress(address) as Uint32Array, icmpType });
    expect(to("ff02::1:ff00:1", 135).verdict).toBe("Pass");
    expect(to("2001:db8:1::1", 136).verdict).toBe("Pass");
    expect(to("2001:db8:1::1", 128).verdict).toBe("Block");
    expect(to("2001:db8:100::10", 135).verdict).toBe("Block");
  });
});
