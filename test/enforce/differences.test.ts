/** The books of the kernel backend against a kernel of maps that is as strict as the real one: refusals, losses, counters. */
import fc from "fast-check";
import type { CountedElement, Element } from "../../src/enforce/elements.ts";
import { NftablesEnforcer } from "../../src/enforce/nftables.ts";
import type { Transport } from "../../src/enforce/transport.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { DeviceAddress, NameAddress, PolicyRule } from "../../src/spin/ruleset.ts";
import { ruleOf } from "../contracts/enforcer.ts";

const NETWORK = { lanInterfaces: ["br-lan"], lanPrefixes: [], gatewayAddresses: ["192.168.77.1"], management: [] };
const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
const macOf = (text: string) => Number.parseInt(text.replaceAll(":", ""), 16);

class StrictKernel implements Transport {
  readonly family = "inet";
  readonly backend = "strict";
  readonly deletionLimit: number;
  readonly mapsPerRead = Infinity;
  readonly elements = new Map<string, CountedElement>();
  table = false;
  /** What an element must not be for the kernel to take it. */
  refuses: (element: Element) => boolean = () => false;
  loads = 0;

  constructor(
    deletionLimit = Infinity,
    readonly toldRemovals = 0,
  ) {
    this.deletionLimit = deletionLimit;
  }

  load(elements: readonly Element[]): Promise<void> {
    this.loads++;
    this.table = true;
    this.elements.clear();
    return this.change([], elements).then(() => undefined);
  }

  change(
    removed: readonly Element[],
    added: readonly Element[],
    _now = 0,
    emptied: ReadonlySet<string> = new Set(),
  ): Promise<ReadonlyMap<string, CountedElement>> {
    if (!this.table) return Promise.reject(new Error("No such file or directory"));
    const next = new Map(this.elements);
    const told = removed.length <= this.toldRemovals ? removed : [];
    const counts = new Map(told.map(({ id }) => [id, this.elements.get(id) as CountedElement]));
    for (const id of next.keys()) if (emptied.has(id.slice(0, id.indexOf(" ")))) next.delete(id);
    for (const element of removed) {
      if (emptied.has(element.map)) continue;
      if (!next.delete(element.id)) return Promise.reject(new Error(`no element ${element.id}`));
    }
    for (const element of added) {
      if (this.refuses(element)) return Promise.reject(new Error(`No space left on device for ${element.id}`));
      const old = next.get(element.id);
      if (!old && [...next.values()].some((other) => overlap(other, element)))
        return Promise.reject(new Error(`${element.id} overlaps`));
      next.set(element.id, { ...element, packets: old?.packets ?? 0, bytes: old?.bytes ?? 0 });
    }
    this.elements.clear();
    for (const [id, element] of next) this.elements.set(id, element);
    return Promise.resolve(counts);
  }

  read(maps: readonly string[]): Promise<Map<string, CountedElement[]> | undefined> {
    if (!this.table) return Promise.resolve(undefined);
    return Promise.resolve(
      new Map(maps.map((map) => [map, [...this.elements.values()].filter((one) => one.map === map)])),
    );
  }

  cut(): Promise<void> {
    return Promise.resolve();
  }

  watch(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** A packet meets every element whose id matches. */
  hit(pattern: RegExp, packets: number): number {
    const met = [...this.elements.values()].filter(({ id }) => pattern.test(id));
    for (const one of met)
      this.elements.set(one.id, { ...one, packets: one.packets + packets, bytes: one.bytes + 100 * packets });
    return met.length;
  }

  /** Ids of rules' elements and the switches that lead to them. */
  get ids(): string[] {
    return [...this.elements.keys()].sort();
  }
}

function overlap(a: Element, b: Element): boolean {
  const numbers = (values: Element["from"]) =>
    values.map((value) => (typeof value === "string" ? value : BigInt(value)));
  const [aFrom, aTo, bFrom, bTo] = [a.from, a.to, b.from, b.to].map(numbers) as [
    bigint[],
    bigint[],
    bigint[],
    bigint[],
  ];
  return (
    a.map === b.map &&
    aFrom.every((from, i) => from <= (bTo[i] as bigint) && (bFrom[i] as bigint) <= (aTo[i] as bigint))
  );
}

async function begun(kernel: StrictKernel, clock = new ManualClock(1_000_000)) {
  const enforcer = new NftablesEnforcer({ transport: kernel, clock, log: silentLog, refreshInPlace: true });
  await enforcer.start(NETWORK);
  return { enforcer, clock };
}

const rule = fc.record({
  tier: fc.constantFrom(0 as const, 1 as const),
  action: fc.constantFrom("Block" as const, "Reject" as const, "Allow" as const, "Count" as const),
  macs: fc.oneof(fc.constant("*" as const), fc.uniqueArray(fc.constantFrom(...MACS), { minLength: 1, maxLength: 2 })),
  to: fc.oneof(
    fc.constant("*" as const),
    fc.uniqueArray(
      fc.constantFrom("198.51.100.0/24", "198.51.100.7", "198.51.100.64/26", "2001:db8::/32", "2001:db8::7"),
      { maxLength: 3 },
    ),
  ),
  domains: fc.uniqueArray(fc.constantFrom("example.com", "ads.example.com"), { maxLength: 1 }),
  protocol: fc.constantFrom(-1, -1, 6, 17),
  ports: fc.constantFrom([], [{ from: 443, to: 450 }]),
  initiator: fc.constantFrom("Any" as const, "Peer" as const),
});
const policy = fc
  .array(rule, { maxLength: 6 })
  .map((list) => list.map((text, i): PolicyRule => ruleOf({ ...text, id: i + 1 })));
const device = fc.record({
  kind: fc.constant("device" as const),
  mac: fc.constantFrom(...MACS.map(macOf)),
  address: fc.constantFrom("192.168.77.11", "192.168.77.12", "2001:db8:1::11"),
});
const name = fc.record({
  kind: fc.constant("name" as const),
  mac: fc.constantFrom(...MACS.map(macOf)),
  domain: fc.constantFrom("example.com", "ads.example.com"),
  address: fc.constantFrom("198.51.100.7", "203.0.113.9", "2001:db8::7"),
  expires: fc.constant(9_000_000),
});
const step = fc.oneof(
  fc.record({ kind: fc.constant("policy" as const), rules: policy }),
  fc.record({ kind: fc.constant("added" as const), addresses: fc.array(fc.oneof(device, name), { maxLength: 4 }) }),
  fc.record({ kind: fc.constant("removed" as const), addresses: fc.array(fc.oneof(device, name), { maxLength: 2 }) }),
  fc.record({ kind: fc.constant("harm" as const), nth: fc.nat(40) }),
);

/** How many elements of a map may be deleted one by one, and how many removals are told with their counts. */
const TRANSPORTS: readonly (readonly [number, number])[] = [
  [Infinity, 0],
  [1, 0],
  [Infinity, 1000],
  [Infinity, 2],
];

describe("the differences that reach the kernel", () => {
  it.each(TRANSPORTS)(
    "come to the same as making it all anew, whatever came before (deletion limit %p, told removals %p)",
    async (limit, told) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), policy, async (steps, last) => {
          const kernel = new StrictKernel(limit, told);
          const { enforcer } = await begun(kernel);
          const owners = new Map<string, DeviceAddress>();
          const names = new Map<string, NameAddress>();
          for (const one of steps) {
            if (one.kind === "policy") await enforcer.apply({ rules: one.rules });
            else if (one.kind === "harm") {
              // Somebody takes out an element, or everything.
              const id = kernel.ids[one.nth];
              if (one.nth === 40) kernel.table = false;
              if (one.nth === 40) kernel.elements.clear();
              else if (id !== undefined && /^(pair|network|box|device_|destination|service)/.test(id))
                kernel.elements.delete(id);
              await enforcer.hits();
            } else {
              await enforcer.addresses({ added: [], removed: [], [one.kind]: one.addresses });
              for (const address of one.addresses) {
                const key = address.kind === "device" ? address.address : JSON.stringify(address);
                const map = (address.kind === "device" ? owners : names) as Map<string, DeviceAddress | NameAddress>;
                if (one.kind === "added") map.set(key, address);
                else if (map.get(key)?.mac === address.mac) map.delete(key);
              }
            }
          }
          await enforcer.apply({ rules: last });
          const anew = new StrictKernel();
          const { enforcer: fresh } = await begun(anew);
          await fresh.addresses({ added: [...owners.values(), ...names.values()], removed: [] });
          await fresh.apply({ rules: last });
          expect(kernel.ids).toEqual(anew.ids);
          await enforcer.close();
          await fresh.close();
        }),
        { numRuns: 150 },
      );
    },
  );

  it.each(TRANSPORTS)(
    "lose no hit when elements go, come again and change their rule (deletion limit %p, told removals %p)",
    async (limit, told) => {
      const kernel = new StrictKernel(limit, told);
      const { enforcer } = await begun(kernel);
      const block = (id: number, to: readonly string[]) => ruleOf({ id, to });
      await enforcer.apply({
        rules: [block(1, ["198.51.100.0/24"]), block(2, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])],
      });
      kernel.hit(/^destination4_4 198/, 10);
      kernel.hit(/^destination4_4 192/, 5);
      // Cuts the first in two, takes two of the second's three away.
      await enforcer.apply({
        rules: [block(1, ["198.51.100.0/24"]), block(2, ["192.0.2.3"]), block(3, ["198.51.100.7"])],
      });
      expect(kernel.hit(/^destination4_4 198/, 1)).toBe(3);
      kernel.hit(/^destination4_4 192/, 1);
      await enforcer.apply({ rules: [] });
      const { rules } = await enforcer.hits();
      expect(Object.fromEntries([...rules].map(([id, { packets }]) => [id, packets]))).toEqual({ 1: 12, 2: 16, 3: 1 });
      await enforcer.close();
    },
  );

  it("are counted at each reading, of a big map the more seldom the bigger it is, unless all is asked for", async () => {
    const kernel = new StrictKernel(Infinity, 1000);
    const { enforcer, clock } = await begun(kernel);
    const prefixes = Array.from({ length: 700 }, (_, i) => `100.64.${i >> 6}.${(i & 63) * 4}`);
    await enforcer.apply({ rules: [ruleOf({ id: 1, to: prefixes }), ruleOf({ id: 2, to: ["2001:db8::7"] })] });
    const counted = async (all?: boolean) => {
      const { rules } = await enforcer.hits(all);
      return [1, 2].map((id) => rules.get(id)?.packets ?? 0);
    };
    const hit = () => [/^destination4_\d 100\.64\.3\.4$/, /^destination6_\d 2001/].map((one) => kernel.hit(one, 1));
    expect(hit()).toEqual([1, 1]);
    expect(await counted()).toEqual([1, 1]);
    hit();
    clock.advance(100);
    expect(await counted()).toEqual([1, 2]);
    expect(await counted(true)).toEqual([2, 2]);
    hit();
    clock.advance(1000);
    expect(await counted()).toEqual([3, 3]);
    // What goes is counted to its end, whenever its map was read.
    hit();
    await enforcer.apply({ rules: [ruleOf({ id: 1, to: prefixes.slice(300) })] });
    expect(await counted()).toEqual([4, 4]);
    await enforcer.close();
  });

  it("leave out only the rule whose element the kernel refuses, and say why, until the rule changes", async () => {
    const kernel = new StrictKernel();
    const { enforcer } = await begun(kernel);
    kernel.refuses = ({ id }) => id.includes("192.0.2.66");
    const rules = Array.from({ length: 100 }, (_, i) => ruleOf({ id: i + 1, to: [`192.0.2.${i}`] }));
    const { refused } = await enforcer.apply({ rules });
    expect([...refused]).toEqual([[67, expect.stringContaining("No space left on device") as string]]);
    expect(kernel.ids.filter((id) => id.startsWith("destination4"))).toHaveLength(99);
    // Still refused, and still said, when something else changes.
    expect([...(await enforcer.apply({ rules: rules.slice(1) })).refused.keys()]).toEqual([67]);
    kernel.refuses = () => false;
    const changed = rules.map((one) => (one.id === 67 ? ruleOf({ id: 67, to: ["192.0.2.67", "192.0.2.66"] }) : one));
    expect([...(await enforcer.apply({ rules: changed })).refused]).toEqual([]);
    expect(kernel.ids.filter((id) => id.startsWith("destination4"))).toHaveLength(100);
    await enforcer.close();
  });

  it("keep what a predecessor left until the policy is known, and a name it knew until its time is over", async () => {
    const kernel = new StrictKernel();
    const clock = new ManualClock(1_000_000);
    const { enforcer: before } = await begun(kernel, clock);
    const mac = macOf(MACS[0] as string);
    const rules = [ruleOf({ id: 1, macs: [MACS[0] as string], to: "*" }), ruleOf({ id: 2, domains: ["example.com"] })];
    await before.addresses({
      added: [
        { kind: "device", mac, address: "192.168.77.11" },
        { kind: "name", mac, domain: "example.com", address: "203.0.113.9", expires: 1_060_000 },
      ],
      removed: [],
    });
    await before.apply({ rules });
    const left = kernel.ids;
    await before.close();
    const { enforcer: after } = await begun(kernel, clock);
    expect(kernel.ids).toEqual(left);
    expect(kernel.loads).toBe(1);
    await after.apply({ rules });
    expect(kernel.ids).toEqual(left);
    await after.apply({ rules: rules.slice(0, 1) });
    expect(kernel.ids.filter((id) => id.startsWith("pair"))).toEqual([]);
    await after.close();
  });
});
