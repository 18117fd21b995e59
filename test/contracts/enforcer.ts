/**
 * What every Enforcer must do, told with packets: the kernel's backends send real ones through network namespaces, the
 * judge is asked about each. A suite of its own per backend stands in test/enforce.
 */
import { parseMac, parsePrefix } from "../../src/lib/address.ts";
import type { Enforcer, HomeNetwork, PolicyRule } from "../../src/spin/ruleset.ts";

export type Way = "tcp" | "udp" | "icmp";
export type Outcome = "answered" | "silent" | "refused";

export interface BedDevice {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** A home to try an enforcer in. Addresses of the Internet answer whoever asks. */
export interface EnforcerBed {
  readonly enforcer: Enforcer;
  readonly network: HomeNetwork;
  readonly devices: readonly [BedDevice, BedDevice];
  readonly now: () => number;
  /** One exchange that the device begins. `port` is the peer's. */
  ask(device: BedDevice, way: Way, address: string, port?: number): Promise<Outcome>;
  /** One ICMP echo that a peer of the Internet begins, to the device's IPv6 address. */
  askedBy(device: BedDevice, peer: string): Promise<Outcome>;
  /** Datagrams of `size` payload bytes that nobody answers. */
  send(device: BedDevice, address: string, count: number, size: number): Promise<void>;
  /** An exchange that goes on. */
  stream(device: BedDevice, kind: "tcp" | "udp" | "push", address: string): Promise<BedStream>;
  /** Whether the gateway's resolver answers the device. */
  resolves(device: BedDevice): Promise<boolean>;
  /** The gateway's DHCP server (UDP 67), its web page (TCP 80), and another of its services (TCP 8080). */
  gatewayAnswers(device: BedDevice, service: "dhcp" | "web" | "other"): Promise<boolean>;
  /** Milliseconds go by. */
  wait(ms: number): Promise<void>;
  down(): Promise<void>;
}

export interface BedStream {
  /** Whether packets come. */
  flows(): Promise<boolean>;
  /** Whether they have stopped coming, or do so within a moment: what was under way may still arrive. */
  stopped(): Promise<boolean>;
  stop(): Promise<void>;
}

const WEB = "198.51.100.10";
const WEB6 = "2001:db8:100::10";
const OTHER = "198.51.100.13";
const OTHER6 = "2001:db8:100::13";
const WAYS: readonly Way[] = ["tcp", "udp", "icmp"];

interface RuleText {
  readonly id?: number;
  readonly tier?: 0 | 1 | 2;
  readonly action?: PolicyRule["action"];
  readonly macs?: readonly string[] | "*";
  readonly to?: readonly string[] | "*";
  readonly domains?: readonly string[];
  readonly protocol?: number;
  readonly ports?: PolicyRule["ports"];
  readonly initiator?: PolicyRule["initiator"];
}

/** A rule from texts; a block of everything in tier 1 unless said otherwise. */
export function ruleOf(text: RuleText): PolicyRule {
  const { macs = "*", to = [], domains = [] } = text;
  return {
    id: text.id ?? 1,
    tier: text.tier ?? 1,
    action: text.action ?? "Block",
    macs: macs === "*" ? "*" : macs.map((mac) => parseMac(mac) as number),
    destinations:
      to === "*"
        ? "*"
        : { prefixes: to.map((one) => parsePrefix(one) as NonNullable<ReturnType<typeof parsePrefix>>), domains },
    protocol: text.protocol ?? -1,
    ports: text.ports ?? [],
    initiator: text.initiator ?? "Any",
  };
}

/** Rules without effect on the bed's traffic: what a home has beside those that matter. */
export function fillers(count: number, firstId = 10_000): PolicyRule[] {
  return Array.from({ length: count }, (_, i) => {
    const id = firstId + i;
    const mac = `02:FF:00:00:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`;
    const address = `203.0.${113 + (i >> 8)}.${i & 255}`;
    if (i % 3 === 0) return ruleOf({ id, macs: [mac], to: "*" });
    if (i % 3 === 1) return ruleOf({ id, to: [address] });
    return ruleOf({ id, macs: [mac], to: [address, `2001:db8:f::${i.toString(16)}`] });
  });
}

/** Declares the suite. `up` may take its time; it is called once. */
export function enforcerContract(up: () => Promise<EnforcerBed>): void {
  let bed: EnforcerBed;
  let first: BedDevice;
  let second: BedDevice;

  beforeAll(async () => {
    bed = await up();
    [first, second] = bed.devices;
    await bed.enforcer.start(bed.network);
    await bed.enforcer.addresses({
      added: bed.devices.flatMap((device) => [held(device, device.ipv4), held(device, device.ipv6)]),
      removed: [],
    });
  }, 30_000);
  afterAll(async () => await bed?.down());
  afterEach(async () => void (await apply()));

  const held = ({ mac }: BedDevice, address: string) => ({
    kind: "device" as const,
    mac: parseMac(mac) as number,
    address,
  });
  const named = (device: BedDevice, domain: string, address: string, ms = 60_000) => ({
    kind: "name" as const,
    mac: parseMac(device.mac) as number,
    domain,
    address,
    expires: bed.now() + ms,
  });
  const apply = async (...rules: PolicyRule[]) => {
    const { refused } = await bed.enforcer.apply({ rules });
    expect([...refused]).toEqual([]);
  };
  const all = async (device: BedDevice, address: string, outcome: Outcome) => {
    for (const way of WAYS) expect([way, await bed.ask(device, way, address)]).toEqual([way, outcome]);
  };
  const hitsOf = async (id: number) => (await bed.enforcer.hits()).rules.get(id) ?? { packets: 0, bytes: 0 };

  it("lets everything pass without rules", async () => {
    await apply();
    await all(first, WEB, "answered");
    await all(first, WEB6, "answered");
    expect(await bed.resolves(first)).toBe(true);
  });

  it("blocks a device in both families and every protocol, and no other", async () => {
    await apply(ruleOf({ macs: [first.mac], to: "*" }));
    await all(first, WEB, "silent");
    await all(first, WEB6, "silent");
    await all(second, WEB, "answered");
    await all(second, WEB6, "answered");
    await apply();
    await all(first, WEB, "answered");
  });

  it("stops established connections at once: TCP, UDP ping-pong, and a server that pushes", async () => {
    for (const address of [WEB, WEB6])
      for (const kind of ["tcp", "udp", "push"] as const) {
        const stream = await bed.stream(first, kind, address);
        try {
          expect([kind, address, await stream.flows()]).toEqual([kind, address, true]);
          await apply(ruleOf({ macs: [first.mac], to: "*" }));
          expect([kind, address, await stream.stopped()]).toEqual([kind, address, true]);
        } finally {
          // A server pushes until the device, which must be reached for that, tells it that nobody listens.
          await apply();
          await stream.stop();
        }
      }
  });

  it("leaves a blocked device DHCP and the way to the gateway's page, but not its resolver and other services", async () => {
    await apply(ruleOf({ macs: [first.mac], to: "*" }));
    expect(await bed.resolves(first)).toBe(false);
    expect(await bed.gatewayAnswers(first, "dhcp")).toBe(true);
    expect(await bed.gatewayAnswers(first, "web")).toBe(true);
    expect(await bed.gatewayAnswers(first, "other")).toBe(false);
    expect(await bed.resolves(second)).toBe(true);
    expect(await bed.gatewayAnswers(second, "other")).toBe(true);
  });

  it("can't be made to cut DHCP or the page by a rule on the gateway's own addresses", async () => {
    await apply(
      ruleOf({ to: [...bed.network.gatewayAddresses] }),
      ruleOf({ id: 2, to: ["192.168.0.0/16", "2001:db8:1::/64"] }),
    );
    expect(await bed.gatewayAnswers(second, "dhcp")).toBe(true);
    expect(await bed.gatewayAnswers(second, "web")).toBe(true);
    expect(await bed.gatewayAnswers(second, "other")).toBe(false);
  });

  it("blocks destination addresses for every device", async () => {
    await apply(ruleOf({ to: [WEB, WEB6] }));
    for (const device of bed.devices) {
      await all(device, WEB, "silent");
      await all(device, WEB6, "silent");
      await all(device, OTHER, "answered");
      await all(device, OTHER6, "answered");
    }
  });

  it("blocks prefixes, but for what is allowed inside them", async () => {
    await apply(
      ruleOf({ to: ["198.51.100.0/25", "2001:db8:100::/64"] }),
      ruleOf({ id: 2, action: "Allow", to: [OTHER, OTHER6] }),
    );
    await all(first, WEB, "silent");
    await all(first, WEB6, "silent");
    await all(first, OTHER, "answered");
    await all(first, OTHER6, "answered");
    await all(first, "198.51.100.200", "answered");
  });

  it("blocks a device from a destination, and leaves it the rest, and others everything", async () => {
    await apply(ruleOf({ macs: [first.mac], to: [WEB, "2001:db8:100::/120"] }));
    await all(first, WEB, "silent");
    await all(first, WEB6, "silent");
    await all(first, OTHER, "answered");
    await all(second, WEB, "answered");
    await all(second, WEB6, "answered");
  });

  it("blocks a domain for the device that asked, until the answer's time is over", async () => {
    await apply(ruleOf({ domains: ["web.example"] }));
    await bed.enforcer.addresses({
      added: [named(first, "web.example", WEB, 4000), named(first, "web.example", WEB6)],
      removed: [],
    });
    await all(first, WEB, "silent");
    expect(await bed.ask(first, "udp", WEB6)).toBe("silent");
    await all(second, WEB, "answered");
    await bed.wait(4200);
    await all(first, WEB, "answered");
    await all(first, WEB6, "silent");
    await bed.enforcer.addresses({ added: [], removed: [named(first, "web.example", WEB6)] });
    await all(first, WEB6, "answered");
  });

  it("renews a name's time when the answer comes again, and keeps its hits", async () => {
    await apply(ruleOf({ id: 31, domains: ["example"] }));
    // Not the first: what its streams of earlier tests still resend would count.
    const before = await hitsOf(31);
    await bed.enforcer.addresses({ added: [named(second, "web.example", WEB, 1200)], removed: [] });
    await bed.send(second, WEB, 3, 100);
    await bed.enforcer.addresses({ added: [named(second, "web.example", WEB, 3600_000)], removed: [] });
    await bed.send(second, WEB, 4, 100);
    await bed.wait(1500);
    await bed.send(second, WEB, 5, 100);
    const after = await hitsOf(31);
    expect({ packets: after.packets - before.packets, bytes: after.bytes - before.bytes }).toEqual({
      packets: 12,
      bytes: 12 * 128,
    });
  });

  it("never takes an address inside the home, or the gateway's, for a name", async () => {
    await apply(ruleOf({ domains: ["web.example"] }));
    await bed.enforcer.addresses({
      added: bed.network.gatewayAddresses.map((address) => named(first, "web.example", address)),
      removed: [],
    });
    expect(await bed.resolves(first)).toBe(true);
  });

  it("rejects so that TCP and UDP are told, and Block stays silent", async () => {
    await apply(ruleOf({ action: "Reject", to: [WEB, WEB6] }), ruleOf({ id: 2, to: [OTHER] }));
    expect(await bed.ask(first, "tcp", WEB)).toBe("refused");
    expect(await bed.ask(first, "tcp", WEB6)).toBe("refused");
    expect(await bed.ask(first, "tcp", OTHER)).toBe("silent");
  });

  it("lets the higher tier win, and Allow inside a tier", async () => {
    const block = ruleOf({ id: 1, tier: 1, macs: [first.mac], to: "*" });
    await apply(block, ruleOf({ id: 2, tier: 0, action: "Allow", to: [WEB] }));
    await all(first, WEB, "answered");
    await all(first, OTHER, "silent");
    await apply(block, ruleOf({ id: 2, tier: 1, action: "Allow", to: [WEB] }));
    await all(first, WEB, "answered");
    await apply(block, ruleOf({ id: 2, tier: 2, action: "Allow", to: [WEB] }));
    await all(first, WEB, "silent");
    await apply(
      ruleOf({ id: 1, tier: 0, to: [WEB] }),
      ruleOf({ id: 2, tier: 1, action: "Allow", macs: [first.mac], to: "*" }),
    );
    await all(first, WEB, "silent");
    await all(first, OTHER, "answered");
  });

  it("counts for Count without holding anything back, also what is blocked", async () => {
    const before = { count: await hitsOf(41), block: await hitsOf(42) };
    await apply(ruleOf({ id: 41, action: "Count", macs: [first.mac], to: "*" }), ruleOf({ id: 42, to: [OTHER] }));
    await bed.send(first, WEB, 5, 200);
    await bed.send(first, OTHER, 7, 200);
    await bed.send(second, WEB, 9, 200);
    const count = await hitsOf(41);
    const block = await hitsOf(42);
    expect(count.packets - before.count.packets).toBe(12);
    expect(count.bytes - before.count.bytes).toBe(12 * 228);
    expect(block.packets - before.block.packets).toBe(7);
    expect(await bed.ask(first, "udp", WEB)).toBe("answered");
  });

  it("holds a rule to its protocol and ports", async () => {
    await apply(ruleOf({ macs: [first.mac], to: "*", protocol: 17, ports: [{ from: 7, to: 7 }] }));
    expect(await bed.ask(first, "udp", WEB)).toBe("silent");
    expect(await bed.ask(first, "udp", WEB6)).toBe("silent");
    expect(await bed.ask(first, "udp", WEB, 1007)).toBe("answered");
    expect(await bed.ask(first, "tcp", WEB)).toBe("answered");
    expect(await bed.ask(first, "icmp", WEB)).toBe("answered");
    await apply(ruleOf({ to: [WEB, WEB6], ports: [{ from: 1, to: 1000 }] }));
    expect(await bed.ask(first, "udp", WEB)).toBe("silent");
    expect(await bed.ask(first, "tcp", WEB6)).toBe("silent");
    expect(await bed.ask(first, "udp", WEB, 1007)).toBe("answered");
    expect(await bed.ask(first, "icmp", WEB)).toBe("answered");
    await apply(ruleOf({ macs: [first.mac], to: ["198.51.100.0/24"], protocol: 1 }));
    expect(await bed.ask(first, "icmp", WEB)).toBe("silent");
    expect(await bed.ask(first, "tcp", WEB)).toBe("answered");
    await apply(
      ruleOf({ macs: [first.mac], to: "*", protocol: 17 }),
      ruleOf({ id: 2, action: "Allow", macs: [first.mac], to: "*", protocol: 17, ports: [{ from: 1007, to: 1007 }] }),
    );
    expect(await bed.ask(first, "udp", WEB)).toBe("silent");
    expect(await bed.ask(first, "udp", WEB, 1007)).toBe("answered");
  });

  it("tells who began", async () => {
    await apply(ruleOf({ macs: [first.mac], to: "*", initiator: "Peer" }));
    expect(await bed.ask(first, "icmp", WEB6)).toBe("answered");
    expect(await bed.askedBy(first, WEB6)).toBe("silent");
    expect(await bed.askedBy(second, WEB6)).toBe("answered");
    await apply(ruleOf({ to: ["2001:db8:100::/48"], initiator: "Device" }));
    expect(await bed.ask(first, "icmp", WEB6)).toBe("silent");
    expect(await bed.askedBy(first, WEB6)).toBe("answered");
  });

  it("counts what it blocks exactly, by rule and by device", async () => {
    const before = await bed.enforcer.hits();
    await apply(ruleOf({ id: 51, to: [WEB] }), ruleOf({ id: 52, macs: [first.mac], to: [OTHER6] }));
    await bed.send(first, WEB, 10, 100);
    await bed.send(second, WEB, 20, 50);
    await bed.send(first, OTHER6, 30, 10);
    const after = await bed.enforcer.hits();
    const rise = (counts: "rules" | "devices", key: number) => ({
      packets: (after[counts].get(key)?.packets ?? 0) - (before[counts].get(key)?.packets ?? 0),
      bytes: (after[counts].get(key)?.bytes ?? 0) - (before[counts].get(key)?.bytes ?? 0),
    });
    expect(rise("rules", 51)).toEqual({ packets: 30, bytes: 10 * 128 + 20 * 78 });
    expect(rise("rules", 52)).toEqual({ packets: 30, bytes: 30 * 58 });
    expect(rise("devices", parseMac(first.mac) as number)).toEqual({ packets: 40, bytes: 10 * 128 + 30 * 58 });
    expect(rise("devices", parseMac(second.mac) as number)).toEqual({ packets: 20, bytes: 20 * 78 });
  });

  it("keeps a rule's hits when the rule is taken back and made again", async () => {
    const before = await hitsOf(61);
    for (let round = 0; round < 3; round++) {
      await apply(ruleOf({ id: 61, macs: [first.mac], to: "*" }));
      await bed.send(first, WEB, 4, 100);
      await apply();
      await bed.send(first, WEB, 4, 100);
    }
    expect((await hitsOf(61)).packets - before.packets).toBe(12);
  });

  it("credits the rule that decides when another takes its place", async () => {
    const before = { low: await hitsOf(71), high: await hitsOf(72) };
    await apply(ruleOf({ id: 72, to: [WEB] }));
    await bed.send(first, WEB, 3, 100);
    await apply(ruleOf({ id: 71, to: [WEB] }), ruleOf({ id: 72, to: [WEB] }));
    await bed.send(first, WEB, 5, 100);
    await apply(ruleOf({ id: 72, to: [WEB] }));
    await bed.send(first, WEB, 7, 100);
    expect((await hitsOf(71)).packets - before.low.packets).toBe(5);
    expect((await hitsOf(72)).packets - before.high.packets).toBe(10);
  });

  it("works among a thousand rules", async () => {
    await apply(...fillers(999), ruleOf({ id: 1, macs: [first.mac], to: [WEB, WEB6] }));
    await all(first, WEB, "silent");
    await all(first, WEB6, "silent");
    await all(second, WEB, "answered");
    await all(first, OTHER, "answered");
    await apply(...fillers(999));
    await all(first, WEB, "answered");
  });
}
