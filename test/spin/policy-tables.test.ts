import fc from "fast-check";
import { inPrefix, parseAddress, parseMac, parsePrefix, printAddress } from "../../src/lib/address.ts";
import { isUnderDomain } from "../../src/lib/domain.ts";
import { rank } from "../../src/spin/policy.ts";
import { PolicyTables } from "../../src/spin/policy-tables.ts";
import type { Decision, PolicyPacket } from "../../src/spin/policy-tables.ts";
import { prefixFamily } from "../../src/spin/rule-values.ts";
import type { NameAddress, PolicyRule } from "../../src/spin/ruleset.ts";
import { matchesService } from "../../src/spin/service-boxes.ts";

const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"].map((text) => parseMac(text) as number);
const PREFIXES = [
  "0.0.0.0/0",
  "198.51.100.0/24",
  "198.51.100.0/25",
  "198.51.100.64/26",
  "198.51.100.255",
  "198.51.100.77",
  "192.0.2.0/31",
  "192.0.2.1",
  "::/0",
  "2001:db8::/32",
  "2001:db8:1::/48",
  "2001:db8:1::7",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const ADDRESSES = [
  "198.51.100.0",
  "198.51.100.63",
  "198.51.100.77",
  "198.51.100.128",
  "198.51.100.255",
  "192.0.2.0",
  "192.0.2.1",
  "255.255.255.255",
  "0.0.0.0",
  "2001:db8::1",
  "2001:db8:1::7",
  "2001:db8:2::7",
  "::1",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const DOMAINS = ["example.com", "ads.example.com", "example.net"];

const prefix = fc
  .constantFrom(...PREFIXES)
  .map((text) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>);
const rule = fc.record({
  tier: fc.constantFrom(0 as const, 1 as const, 2 as const),
  action: fc.constantFrom("Block" as const, "Reject" as const, "Allow" as const, "Count" as const),
  macs: fc.oneof(fc.constant("*" as const), fc.uniqueArray(fc.constantFrom(...MACS), { minLength: 1, maxLength: 2 })),
  destinations: fc.oneof(
    fc.constant("*" as const),
    fc.record({
      prefixes: fc.uniqueArray(prefix, { maxLength: 3, selector: (p) => `${p.words.join()}/${p.bits}` }),
      domains: fc.uniqueArray(fc.constantFrom(...DOMAINS), { maxLength: 2 }),
    }),
  ),
  protocol: fc.constantFrom(-1, -1, -1, 6, 17, 1),
  ports: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    fc.array(
      fc.constantFrom({ from: 443, to: 443 }, { from: 0, to: 65535 }, { from: 400, to: 500 }, { from: 53, to: 53 }),
      { minLength: 1, maxLength: 2 },
    ),
  ),
  initiator: fc.constantFrom("Any" as const, "Any" as const, "Device" as const, "Peer" as const),
});
const rules = fc
  .array(rule, { maxLength: 8 })
  .map((list) => list.map((fields, i): PolicyRule => ({ id: i + 1, ...fields })));
const name = fc.record({
  kind: fc.constant("name" as const),
  mac: fc.constantFrom(...MACS),
  domain: fc.constantFrom(...DOMAINS),
  address: fc.constantFrom(...ADDRESSES),
  expires: fc.constantFrom(1000, 2000),
});
const packet = fc.record({
  mac: fc.constantFrom(...MACS),
  address: fc.constantFrom(...ADDRESSES),
  protocol: fc.constantFrom(6, 17, 1, 58, 50),
  port: fc.constantFrom(443, 53, 0, 65535, 450),
  initiator: fc.constantFrom("Device" as const, "Peer" as const),
});

const LAYER = { pair: 0, network: 1, box: 2, device: 3, destination: 4, service: 5 };

/** What the contract says, rule by rule, without any table. */
function judged(rules: readonly PolicyRule[], names: readonly NameAddress[], packet: PolicyPacket): Decision {
  const address = printAddress(packet.peer);
  const counted = new Set<number>();
  let best: { rule: PolicyRule; order: number[] } | undefined;
  for (const rule of rules) {
    if (rule.macs !== "*" && !rule.macs.includes(packet.mac)) continue;
    if (!matchesService(rule, packet.protocol, packet.port, packet.initiator)) continue;
    const plain = rule.protocol === -1 && rule.ports.length === 0 && rule.initiator === "Any";
    let depth = -1;
    let named = false;
    if (rule.destinations === "*") depth = packet.family === 4 ? 96 : 0;
    else {
      for (const prefix of rule.destinations.prefixes)
        if (prefixFamily(prefix) === packet.family && inPrefix(prefix, packet.peer)) {
          // A prefix inside another of the same rule adds nothing.
          if (depth < 0 || prefix.bits < depth) depth = prefix.bits;
        }
      const domains = rule.destinations.domains;
      named =
        depth < 0 &&
        names.some(
          (name) =>
            name.mac === packet.mac &&
            name.address === address &&
            domains.some((domain) => isUnderDomain(name.domain, domain)),
        );
      if (named) depth = 128;
    }
    if (depth < 0) continue;
    if (rule.action === "Count") {
      counted.add(rule.id);
      continue;
    }
    const particular = rule.macs !== "*" || named;
    const layer = particular
      ? rule.destinations === "*" && plain
        ? LAYER.device
        : !plain
          ? LAYER.box
          : depth === 128
            ? LAYER.pair
            : LAYER.network
      : plain
        ? LAYER.destination
        : LAYER.service;
    const order = [rank(rule), rule.action === "Reject" ? 1 : 0, layer, -depth, rule.id];
    if (!best || compare(order, best.order) < 0) best = { rule, order };
  }
  const sorted = [...counted].sort((a, b) => a - b);
  if (!best) return { verdict: "Pass", counted: sorted };
  return { verdict: best.rule.action as "Block", rule: best.rule.id, counted: sorted };
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
  return 0;
}

function packetOf(fields: {
  mac: number;
  address: string;
  protocol: number;
  port: number;
  initiator: "Device" | "Peer";
}) {
  const peer = parseAddress(fields.address) as Uint32Array;
  return { ...fields, peer, family: fields.address.includes(":") ? (6 as const) : (4 as const) };
}

function sorted(decision: Decision): Decision {
  return { ...decision, counted: [...decision.counted].sort((a, b) => a - b) };
}

describe("the policy's tables", () => {
  it("decide every packet as the rules say, whatever came before", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ rules, names: fc.array(name, { maxLength: 4 }) }), { minLength: 1, maxLength: 3 }),
        fc.array(packet, { minLength: 1, maxLength: 30 }),
        (steps, packets) => {
          const tables = new PolicyTables();
          const names: NameAddress[] = [];
          for (const step of steps) {
            tables.setPolicy({ rules: step.rules });
            for (const fresh of step.names) {
              tables.addName(fresh);
              names.push(fresh);
            }
            for (const fields of packets) {
              const at = packetOf(fields);
              expect(sorted(tables.decide(at))).toEqual(judged(step.rules, names, at));
            }
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it("forget names when they expire or are taken back, and only those", () => {
    fc.assert(
      fc.property(
        rules,
        fc.array(name, { maxLength: 8 }),
        fc.array(packet, { minLength: 1, maxLength: 20 }),
        (policy, names, packets) => {
          const tables = new PolicyTables();
          tables.setPolicy({ rules: policy });
          for (const fresh of names) tables.addName(fresh);
          tables.decide(packetOf(packets[0] as (typeof packets)[0]));
          tables.expire(1000);
          const left = names.filter((fresh) => fresh.expires > 1000);
          for (const fields of packets) {
            const at = packetOf(fields);
            expect(sorted(tables.decide(at))).toEqual(judged(policy, left, at));
          }
          for (const gone of left) tables.removeName(gone);
          for (const fields of packets) {
            const at = packetOf(fields);
            expect(sorted(tables.decide(at))).toEqual(judged(policy, [], at));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("hold disjoint cells, as the kernel's interval sets demand, and none once the rules are gone", () => {
    fc.assert(
      fc.property(rules, fc.array(name, { maxLength: 4 }), (policy, names) => {
        const tables = new PolicyTables();
        for (const fresh of names) tables.addName(fresh);
        tables.setPolicy({ rules: policy });
        tables.changes();
        const cells = [...tables.cells.values()];
        for (const [i, a] of cells.entries())
          for (const b of cells.slice(i + 1)) {
            if (a.layer !== b.layer || a.level !== b.level || a.mac !== b.mac || a.span?.family !== b.span?.family)
              continue;
            const apart =
              (a.span && b.span && (a.span.to < b.span.from || b.span.to < a.span.from)) ||
              (a.box &&
                b.box &&
                (["protocol", "ports", "initiator"] as const).some(
                  (side) =>
                    (a.box as never)[side]["to"] < (b.box as never)[side]["from"] ||
                    (b.box as never)[side]["to"] < (a.box as never)[side]["from"],
                ));
            expect(apart).toBe(true);
          }
        tables.setPolicy({ rules: [] });
        tables.changes();
        expect(tables.cells.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it("change only the cells of the rule that changed", () => {
    const many = Array.from({ length: 5000 }, (_, i) => parsePrefix(`10.${i >> 8}.${i & 255}.0/25`) as never);
    const list: PolicyRule = {
      id: 1,
      tier: 1,
      action: "Block",
      macs: "*",
      destinations: { prefixes: many, domains: [] },
      protocol: -1,
      ports: [],
      initiator: "Any",
    };
    const one: PolicyRule = {
      ...list,
      id: 2,
      destinations: { prefixes: [parsePrefix("10.0.7.16/28") as never], domains: [] },
    };
    const tables = new PolicyTables();
    tables.setPolicy({ rules: [list] });
    expect(tables.changes().size).toBe(5000);
    tables.setPolicy({ rules: [{ ...list }, one] });
    // One segment is gone; before, inside and behind are new.
    expect(tables.changes().size).toBe(4);
    tables.setPolicy({ rules: [list] });
    expect(tables.changes().size).toBe(4);
    expect(tables.cells.size).toBe(5000);
  });

  it("refuse a rule that would fill the kernel, and say how big it is", () => {
    const macs = Array.from({ length: 200 }, (_, i) => 0x020000000100 + i);
    const prefixes = Array.from({ length: 200 }, (_, i) => parsePrefix(`192.0.2.${i}`) as never);
    const tables = new PolicyTables();
    tables.setPolicy({
      rules: [
        {
          id: 7,
          tier: 1,
          action: "Block",
          macs,
          destinations: { prefixes, domains: [] },
          protocol: -1,
          ports: [],
          initiator: "Any",
        },
      ],
    });
    expect(tables.refused.get(7)).toMatch(/40000 pairs of device and destination/);
    expect(tables.changes().size).toBe(0);
  });
});
