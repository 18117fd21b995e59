/** The bridge's ruleset beside the inet one, what of a policy goes there, and a kernel that has no bridge family. */
import { readFileSync } from "node:fs";
import { bridgedPolicy } from "../../src/enforce/bridged-policy.ts";
import { mapsOf } from "../../src/enforce/elements.ts";
import { BRIDGE_VERSION, NftablesEnforcer } from "../../src/enforce/nftables.ts";
import type { Transport } from "../../src/enforce/transport.ts";
import { WithBridge } from "../../src/enforce/with-bridge.ts";
import { printPrefix } from "../../src/lib/address.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { ruleOf } from "../contracts/enforcer.ts";
import { NETWORK, RULESET_FILE } from "../support/enforcer-bed.ts";

const MAC = "02:00:00:00:00:01";

describe("the bridge's ruleset", () => {
  const inet = readFileSync(RULESET_FILE, "utf8");
  const bridge = readFileSync(RULESET_FILE.replace(".nft", "-bridge.nft"), "utf8");
  const chain = (text: string, name: string) => new RegExp(`chain ${name} \\{\\n([^}]*)\\}`).exec(text)?.[1] ?? "none";
  const LAYERS = ["pair", "network", "box", "device", "destination", "service"];

  it("has the version and the sets that the agent expects", () => {
    expect(/set version \{\s+type mark\s+elements = \{ (\d+) \}/.exec(bridge)?.[1]).toBe(String(BRIDGE_VERSION));
    expect([...bridge.matchAll(/^ {2}(?:set|map) (\w+) \{/gm)].map((match) => match[1]).sort()).toEqual(
      [...mapsOf("bridge")].sort(),
    );
    const declared = (text: string, name: string) => new RegExp(`set ${name} \\{([^}]*)\\}`).exec(text)?.[1];
    for (const name of mapsOf("bridge").filter((map) => map !== "version"))
      expect([name, declared(bridge, name)]).toEqual([name, declared(inet, name)]);
  });

  it("says at each level and layer what the inet one says, by hardware address both ways, without conntrack", () => {
    for (const base of ["up4", "up6", "down4", "down6"]) {
      const ip = base.endsWith("4") ? "ip" : "ip6";
      const way = base.slice(0, -1);
      const expected = (name: string) =>
        chain(inet, name)
          .split("\n")
          .filter((line) => !/ct (direction reply|state)/.test(line))
          .join("\n")
          .replace("ct direction original ", "")
          .replace(/goto (blocked|rejected)/g, `goto blocked_${way}`);
      for (let level = 0; level <= 9; level++)
        for (const layer of LAYERS) {
          const name = `${base}_${level}_${layer}`;
          let wanted = expected(name);
          if (way === "down") {
            wanted = wanted.replaceAll(`${ip} daddr`, "ether daddr").replace(/@(\w+)_down(\d)/g, "@$1_up$2");
            wanted = wanted.replace(/@device_up\d/, "@device_up");
            // Who began is unknown: the even code, which a range over both holds.
            if (layer === "box" || layer === "service")
              wanted = wanted.replace(/mark & 0 \| \d+/, `mark & 0 | ${2 * level}`);
          }
          expect([name, chain(bridge, name)]).toEqual([name, wanted]);
        }
      expect(chain(bridge, base)).toBe(levels(chain(inet, base)).replaceAll("@used_down", "@used_up"));
    }
  });

  /** The inet table's jumps to levels; what else it has there is none of the bridge's. */
  function levels(text: string): string {
    return text
      .split("\n")
      .filter((line) => line.trim() === "" || /jump (up|down)\d_\d$/.test(line))
      .join("\n");
  }
});

describe("what of a policy concerns the bridge", () => {
  const of = (rule: ReturnType<typeof ruleOf>, countedElsewhere = false) =>
    bridgedPolicy({ rules: [rule] }, { network: NETWORK, countedElsewhere }).rules.map(({ destinations }) =>
      destinations === "*" ? "*" : destinations.prefixes.map(printPrefix).join(),
    );

  it.each<[string, ReturnType<typeof ruleOf>, string[]]>([
    ["a device whole", ruleOf({ macs: [MAC], to: "*" }), ["*"]],
    ["a device and an address of the home", ruleOf({ macs: [MAC], to: ["192.168.77.9"] }), ["192.168.77.9"]],
    [
      "a device and a multicast group",
      ruleOf({ macs: [MAC], to: ["239.255.255.250", "ff02::fb"] }),
      ["239.255.255.250,ff02::fb"],
    ],
    ["a device and the Internet", ruleOf({ macs: [MAC], to: ["198.51.100.0/24", "2001:db8:100::/48"] }), []],
    ["a device and names", ruleOf({ macs: [MAC], domains: ["example"] }), []],
    ["who began", ruleOf({ macs: [MAC], to: "*", initiator: "Peer" }), []],
    ["every device and an address of the home", ruleOf({ to: ["192.168.77.9", "198.51.100.1"] }), ["192.168.77.9"]],
    ["every device and what holds the home", ruleOf({ to: ["192.168.0.0/16"] }), ["192.168.77.0/24"]],
    ["every device and others' private addresses", ruleOf({ to: ["172.17.0.0/16"] }), []],
    ["every device, IPv6 whole", ruleOf({ to: ["::/0"] }), ["2001:db8:1::/64,fe80::/10"]],
  ])("of a rule on %s", (_what, rule, wanted) => {
    expect(of(rule)).toEqual(wanted);
  });

  it("is no Count where bridged frames pass the inet table as well", () => {
    const rule = ruleOf({ action: "Count", macs: [MAC], to: "*" });
    expect([of(rule), of(rule, true)]).toEqual([["*"], []]);
  });
});

describe("a kernel without the bridge family", () => {
  const transport = (family: "inet" | "bridge", refusal?: string): Transport & { readonly loads: () => number } => {
    let loads = 0;
    const refuse = () => Promise.reject(new Error(refusal));
    return {
      family,
      backend: "test",
      loads: () => loads,
      deletionLimit: Infinity,
      toldRemovals: 0,
      mapsPerRead: Infinity,
      load: () => (loads++, refusal === undefined ? Promise.resolve() : refuse()),
      change: () => (refusal === undefined ? Promise.resolve(new Map()) : refuse()),
      read: () => (refusal === undefined ? Promise.resolve(undefined) : refuse()),
      cut: () => Promise.resolve(),
      watch: () => Promise.resolve(),
    };
  };

  it("has all rules but those of bridges, and it is told once", async () => {
    const said: string[] = [];
    const log = { ...silentLog, warn: (line: string) => void said.push(line) };
    const [inet, bridge] = [transport("inet"), transport("bridge", "Operation not supported")];
    const make = (one: Transport) => new NftablesEnforcer({ transport: one, clock: systemClock, log: silentLog });
    const enforcer = new WithBridge({
      inet: make(inet),
      bridge: make(bridge),
      stands: async () => (await bridge.read(["version"], 0)) !== undefined,
      isFilteredElsewhere: () => false,
      log,
    });
    await enforcer.start(NETWORK);
    for (const id of [1, 2]) {
      const { refused } = await enforcer.apply({ rules: [ruleOf({ id, macs: [MAC], to: "*" })] });
      expect([...refused]).toEqual([]);
    }
    expect(said.filter((line) => line.includes("Operation not supported"))).toHaveLength(1);
    expect(inet.loads()).toBeGreaterThan(0);
    expect(await enforcer.hits()).toMatchObject({ rules: new Map() });
    await enforcer.close();
  });
});
