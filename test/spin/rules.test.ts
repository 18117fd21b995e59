import { parsePrefix } from "../../src/lib/address.ts";
import type { ResolvedList } from "../../src/spin/lists/book.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { isNameAddress, overruled, resolvePolicy } from "../../src/spin/policy.ts";
import { parseDestinationList, parseMacList, parsePortList, parseProtocol } from "../../src/spin/rule-values.ts";
import { NEVER, RuleBook, functionalKey, newRule } from "../../src/spin/rules.ts";
import type { Rule } from "../../src/spin/rules.ts";

const NOW = Date.UTC(2026, 5, 1);

function rule(
  fields: Partial<Omit<Rule, "macs" | "destinations" | "ports">> & { id: number },
  lists: { macs?: string; destinations?: string; ports?: string } = {},
): Rule {
  const value = <T>(parsed: { value: T; text: string } | { error: string }): T => {
    if ("error" in parsed) throw new Error(parsed.error);
    return parsed.value;
  };
  return newRule({
    enable: true,
    creator: "self::controller",
    ...fields,
    macs: value(parseMacList(lists.macs ?? "*")),
    destinations: value(parseDestinationList(lists.destinations ?? "198.51.100.7")),
    ports: value(parsePortList(lists.ports ?? "")),
  });
}

function book(...rules: Rule[]): { book: RuleBook; clock: ManualClock } {
  const clock = new ManualClock(NOW);
  const made = new RuleBook({ clock, authority: "Resident" });
  for (const one of rules) made.put(one);
  return { book: made, clock };
}

const inForce = (made: RuleBook) => made.applied(made.version, { refused: new Map() });

describe("the members of a rule's lists", () => {
  it.each([
    ["02:aa:00:00:00:01, 02-AA-00-00-00-02", "02:AA:00:00:00:01,02:AA:00:00:00:02"],
    ["*", "*"],
    ["", ""],
    ["02:00:00:00:00:01,02:00:00:00:00:01", "02:00:00:00:00:01"],
  ])("reads MAC addresses %p as %p", (text, canonical) => {
    expect(parseMacList(text)).toMatchObject({ text: canonical });
  });

  it.each([
    ["*,02:00:00:00:00:01", /stands alone/],
    ["02:00:00:00:00", /is not a MAC address/],
    ["01:00:5e:00:00:01", /group address/],
    ["00:00:00:00:00:00", /no device/],
  ])("refuses %p in words", (text, words) => {
    expect(parseMacList(text)).toMatchObject({ error: expect.stringMatching(words) as string });
  });

  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["192.0.2.7/24", "192.0.2.0/24"],
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["2001:db8::1/32", "2001:db8::/32"],
    ["WWW.Example.COM.", "www.example.com"],
    ["*.example.com", "example.com"],
    ["_dmarc.example.com", "_dmarc.example.com"],
    ["Device.X_SPIN.List.3.", "Device.X_SPIN.List.3"],
    ["192.0.2.7,example.com,192.0.2.7", "192.0.2.7,example.com"],
    ["*", "*"],
  ])("reads destinations %p as %p", (text, canonical) => {
    expect(parseDestinationList(text)).toMatchObject({ text: canonical });
  });

  it.each([
    "192.0.2.256",
    "192.0.2.0/33",
    "10.1.1",
    "-x.example",
    "a..example",
    "2001:db8::/129",
    "*,example.com",
    "a b",
  ])("refuses the destination %p", (text) => {
    expect(parseDestinationList(text)).toHaveProperty("error");
  });

  it.each([
    ["443", "443"],
    ["443, 8000-8010 ,0443", "443,8000-8010"],
    ["0-65535", "0-65535"],
    ["7-7", "7"],
    ["", ""],
  ])("reads ports %p as %p", (text, canonical) => {
    expect(parsePortList(text)).toMatchObject({ text: canonical });
  });

  it.each(["65536", "9-8", "http", "1-2-3", "-1", "1,"])("refuses the ports %p", (text) => {
    expect(parsePortList(text)).toHaveProperty("error");
  });

  it("takes a protocol number or -1", () => {
    expect(parseProtocol(-1)).toMatchObject({ value: -1 });
    expect(parseProtocol(255)).toMatchObject({ value: 255 });
    expect(parseProtocol(256)).toHaveProperty("error");
    expect(parseProtocol(1.5)).toHaveProperty("error");
  });
});

describe("a rule's status", () => {
  const status = (one: Rule) => {
    const { book: made } = book(one);
    inForce(made);
    return made.state(one.id);
  };

  it("is Disabled until somebody enables it", () => {
    expect(status(rule({ id: 1, enable: false })).status).toBe("Disabled");
  });

  it("is Pending until the kernel has it, then Enabled", () => {
    const { book: made } = book(rule({ id: 1 }));
    expect(made.state(1).status).toBe("Pending");
    const { version } = made;
    made.put(rule({ id: 2 }));
    made.applied(version, { refused: new Map() });
    expect([made.state(1).status, made.state(2).status]).toEqual(["Enabled", "Pending"]);
    inForce(made);
    expect(made.state(2).status).toBe("Enabled");
  });

  it("stays as it is when only the reason's text changes", () => {
    const { book: made } = book(rule({ id: 1 }));
    inForce(made);
    const { version } = made;
    made.put(rule({ id: 1, reason: "asked by phone" }));
    expect(made.state(1).status).toBe("Enabled");
    expect(made.version).toBe(version);
  });

  it("is Error with the kernel's words for what was refused, until the rule changes", () => {
    const { book: made } = book(rule({ id: 1 }));
    made.applied(made.version, { refused: new Map([[1, "nft exited with 1: No space left on device"]]) });
    expect(made.state(1)).toMatchObject({
      status: "Error",
      reason: expect.stringContaining("No space left") as string,
    });
    made.put(rule({ id: 1 }, { destinations: "198.51.100.8" }));
    expect(made.state(1).status).toBe("Pending");
  });

  it("says what rules on domains can't promise where the enforcer says so, and only of those", () => {
    const { book: made } = book(
      rule({ id: 1 }, { destinations: "tracker.example" }),
      rule({ id: 2 }, { destinations: "192.0.2.1" }),
    );
    const note = "Best effort: answers can't be withheld.";
    made.applied(made.version, { refused: new Map(), domainNote: note });
    expect([made.state(1), made.state(2)]).toMatchObject([
      { status: "Enabled", reason: note },
      { status: "Enabled", reason: "" },
    ]);
    made.count({ rules: new Map(), devices: new Map() });
    expect(made.state(1).reason).toBe("");
  });

  it("is Expired from its ExpiryDate on, and the policy is without it", () => {
    const { book: made, clock } = book(
      rule({ id: 1, expiry: NOW + 1000 }),
      rule({ id: 2 }, { destinations: "192.0.2.1" }),
    );
    inForce(made);
    expect(made.nextExpiry).toBe(NOW + 1000);
    expect(made.expire()).toBe(false);
    clock.advance(1000);
    expect(made.expire()).toBe(true);
    expect(made.state(1).status).toBe("Expired");
    expect(made.policy().rules.map(({ id }) => id)).toEqual([2]);
    expect(made.nextExpiry).toBe(Infinity);
    expect(made.expire()).toBe(false);
    made.put(rule({ id: 1, expiry: NEVER }));
    expect(made.nextExpiry).toBe(Infinity);
  });

  it.each<[string, Rule, RegExp]>([
    ["an empty MACAddressList", rule({ id: 1 }, { macs: "" }), /no device is meant/],
    ["an empty DestinationList", rule({ id: 1 }, { destinations: "" }), /no destination is meant/],
    ["everything from everybody", rule({ id: 1 }, { destinations: "*" }), /may only Count or Ignore/],
    ["all of IPv4 from everybody", rule({ id: 1, action: "Allow" }, { destinations: "0.0.0.0/0" }), /may only Count/],
    ["all of IPv6 from everybody", rule({ id: 1 }, { destinations: "::/0" }), /may only Count/],
    ["ports of ICMP", rule({ id: 1, protocol: 1 }, { ports: "7" }), /protocol 1 has no ports/],
    [
      "a list that is not there",
      rule({ id: 1 }, { destinations: "Device.X_SPIN.List.9." }),
      /refers to a list that does not exist/,
    ],
  ])("is Error_Misconfigured for %s, which is no policy", (_, one, words) => {
    expect(status(one)).toMatchObject({
      status: "Error_Misconfigured",
      reason: expect.stringMatching(words) as string,
    });
    expect(book(one).book.policy().rules).toEqual([]);
  });

  it("lets everything from everybody be counted and ignored", () => {
    expect(status(rule({ id: 1, action: "Count" }, { destinations: "*" })).status).toBe("Enabled");
    expect(status(rule({ id: 1, action: "Ignore" }, { destinations: "*" })).status).toBe("Enabled");
    const { book: made } = book(rule({ id: 1, action: "Ignore" }));
    expect(made.policy().rules).toEqual([]);
  });
});

describe("who wins", () => {
  const MAC = "02:00:00:00:00:01";
  const statuses = (authority: "Resident" | "Operator", ...rules: Rule[]) => {
    const made = new RuleBook({ clock: new ManualClock(NOW), authority });
    for (const one of rules) made.put(one);
    inForce(made);
    return rules.map(({ id }) => [made.state(id).status, made.state(id).overruledBy]);
  };

  it("is the resident or the operator by firmware, and the system last", () => {
    const block = rule({ id: 1, origin: "Controller", action: "Block" }, { macs: MAC, destinations: "*" });
    const allow = rule({ id: 2, origin: "User", action: "Allow" }, { macs: MAC, destinations: "*" });
    const system = rule({ id: 3, origin: "System", action: "Reject" }, { macs: MAC, destinations: "*" });
    expect(statuses("Resident", block, allow, system)).toEqual([
      ["Overruled", [2]],
      ["Enabled", []],
      ["Overruled", [2]],
    ]);
    expect(statuses("Operator", block, allow, system)).toEqual([
      ["Enabled", []],
      ["Overruled", [1]],
      ["Enabled", []],
    ]);
    const tiers = (authority: "Resident" | "Operator") =>
      resolvePolicy([block, allow, system], authority, NOW).rules.map(({ tier }) => tier);
    expect(tiers("Resident")).toEqual([1, 0, 2]);
    expect(tiers("Operator")).toEqual([0, 1, 2]);
  });

  it("is Allow inside a tier", () => {
    expect(
      statuses(
        "Resident",
        rule({ id: 1 }, { destinations: "198.51.100.7,2001:db8::7" }),
        rule({ id: 2, action: "Allow" }, { destinations: "198.51.100.0/24,2001:db8::/32" }),
      ),
    ).toEqual([
      ["Overruled", [2]],
      ["Enabled", []],
    ]);
  });

  it.each<[string, Rule]>([
    [
      "another device",
      rule({ id: 2, origin: "User", action: "Allow" }, { macs: "02:00:00:00:00:02", destinations: "*" }),
    ],
    ["a part of the destinations", rule({ id: 2, origin: "User", action: "Allow" }, { destinations: "198.51.100.7" })],
    ["one protocol", rule({ id: 2, origin: "User", action: "Allow", protocol: 6 }, { macs: MAC, destinations: "*" })],
    ["one side", rule({ id: 2, origin: "User", action: "Allow", initiator: "Peer" }, { macs: MAC, destinations: "*" })],
    ["the same verdict", rule({ id: 2, origin: "User", action: "Reject" }, { macs: MAC, destinations: "*" })],
    ["a dry run", rule({ id: 2, origin: "User", action: "Count" }, { macs: MAC, destinations: "*" })],
  ])("leaves a rule Enabled when what outranks it is of %s", (_, other) => {
    const own = rule({ id: 1 }, { macs: MAC, destinations: "198.51.100.7,198.51.100.8" });
    expect(statuses("Resident", own, other)[0]).toEqual(["Enabled", []]);
  });

  it("names all that decide together, and not what is itself outranked", () => {
    expect(
      statuses(
        "Resident",
        rule({ id: 1, origin: "System" }, { destinations: "198.51.100.7,ads.example.com", ports: "443" }),
        rule({ id: 2, origin: "User", action: "Allow" }, { destinations: "198.51.100.0/24" }),
        rule({ id: 3, origin: "Controller", action: "Allow" }, { destinations: "example.com", ports: "1-1000" }),
      )[0],
    ).toEqual(["Overruled", [2, 3]]);
    // The Controller's Allow is overruled by the User's block, so the System's block gets what it asked for.
    expect(
      statuses(
        "Resident",
        rule({ id: 1, origin: "System" }),
        rule({ id: 2, origin: "Controller", action: "Allow" }),
        rule({ id: 3, origin: "User" }),
      ),
    ).toEqual([
      ["Enabled", []],
      ["Overruled", [3]],
      ["Enabled", []],
    ]);
  });

  it("keeps ::/0 out of IPv4", () => {
    const rules = resolvePolicy(
      [
        rule({ id: 1 }, { macs: MAC, destinations: "198.51.100.7" }),
        rule({ id: 2, action: "Allow" }, { macs: MAC, destinations: "::/0" }),
      ],
      "Resident",
      NOW,
    );
    expect(overruled(rules).size).toBe(0);
  });
});

describe("the rule book", () => {
  it("knows rules that say the same, whatever the order of their members", () => {
    const one = rule({ id: 4 }, { macs: "02:00:00:00:00:01,02:00:00:00:00:02", destinations: "192.0.2.1,example.com" });
    const twin = rule(
      { id: 9 },
      { macs: "02:00:00:00:00:02,02:00:00:00:00:01", destinations: "example.com,192.0.2.1" },
    );
    const key = functionalKey(one);
    expect(functionalKey(twin)).toBe(key);
    expect(functionalKey({ ...twin, enable: false, reason: "another", expiry: NOW })).toBe(key);
    expect(functionalKey({ ...twin, creator: "self::other" })).not.toBe(key);
    expect(functionalKey({ ...twin, action: "Reject" })).not.toBe(key);
    expect(functionalKey({ ...twin, initiator: "Peer" })).not.toBe(key);
  });

  it("adds hits up over an enforcer's restart, and over its own", () => {
    const { book: made, clock } = book(rule({ id: 1 }));
    const count = (packets: number, bytes: number) =>
      made.count({ rules: new Map([[1, { packets, bytes }]]), devices: new Map() });
    expect(made.hits(1)).toEqual({ packets: 0, bytes: 0, lastHit: 0 });
    expect(count(5, 500)).toEqual([1]);
    clock.advance(1000);
    expect(count(5, 500)).toEqual([]);
    expect(made.hits(1)).toEqual({ packets: 5, bytes: 500, lastHit: NOW });
    expect(count(7, 700)).toEqual([1]);
    // A new enforcer begins at nought.
    expect(count(3, 300)).toEqual([1]);
    expect(made.hits(1)).toEqual({ packets: 10, bytes: 1000, lastHit: NOW + 1000 });
    const { book: next } = book();
    next.put(rule({ id: 1 }), made.hits(1));
    next.count({
      rules: new Map([
        [1, { packets: 2, bytes: 200 }],
        [8, { packets: 9, bytes: 900 }],
      ]),
      devices: new Map(),
    });
    expect(next.hits(1)).toMatchObject({ packets: 12, bytes: 1200 });
  });

  it("tells of each change that the policy may depend on, at once", () => {
    const { book: made } = book();
    let told = 0;
    const stop = made.onChange(() => told++);
    made.put(rule({ id: 1 }));
    made.put(rule({ id: 1, enable: false }));
    made.remove(1);
    expect(made.remove(1)).toBe(false);
    expect(told).toBe(3);
    stop();
    made.put(rule({ id: 2 }));
    expect(told).toBe(3);
  });

  it("resolves references to lists when they are there", () => {
    const lists = new Map<string, ResolvedList>();
    const list = (over: Partial<ResolvedList> = {}): ResolvedList => ({
      number: 1,
      state: "ready",
      reason: "",
      hasAddresses: true,
      token: "list:1:7",
      ...over,
    });
    const made = new RuleBook({
      clock: new ManualClock(NOW),
      authority: "Resident",
      lists: (reference) => lists.get(reference),
    });
    const put = (one: ResolvedList | undefined) => {
      if (one) lists.set("Device.X_SPIN.List.1", one);
      else lists.clear();
      made.referencesChanged();
      made.applied(made.version, { refused: new Map() });
      return made.policy().rules[0]?.destinations;
    };
    made.put(rule({ id: 1 }, { destinations: "192.0.2.1,Device.X_SPIN.List.1." }));
    expect(put(list())).toMatchObject({ domains: ["list:1:7"], prefixes: [{}], lists: [1] });
    expect(made.state(1).status).toBe("Enabled");
    // What is known already holds while the list is awaited.
    expect(put(list({ state: "waiting", reason: "it is not loaded yet" }))).toMatchObject({
      domains: [],
      prefixes: [{}],
      lists: [],
    });
    expect(made.state(1)).toMatchObject({
      status: "Pending",
      reason: expect.stringContaining("List.1: it is not loaded"),
    });
    put(list({ state: "refused", reason: "it is too big" }));
    expect(made.state(1)).toMatchObject({ status: "Error", reason: expect.stringContaining("it is too big") });
    expect(put(list({ state: "off" }))).toBeUndefined();
    expect(made.state(1)).toMatchObject({ status: "Error_Misconfigured", reason: expect.stringContaining("disabled") });
    expect(put(undefined)).toBeUndefined();
    expect(made.state(1)).toMatchObject({
      status: "Error_Misconfigured",
      reason: expect.stringContaining("does not exist"),
    });
    put(list());
    // What a list has come to hold is not in force before the policy that follows.
    made.listChanged(2);
    expect(made.state(1).status).toBe("Enabled");
    made.listChanged(1);
    expect(made.state(1).status).toBe("Pending");
    made.put({ ...rule({ id: 1 }, { destinations: "Device.X_SPIN.List.1." }), initiator: "Peer" });
    expect(made.state(1)).toMatchObject({
      status: "Error_Misconfigured",
      reason: expect.stringContaining("Initiator"),
    });
  });
});

describe("what may stand for a name", () => {
  const network = {
    lanInterfaces: ["br-lan"],
    lanPrefixes: [parsePrefix("2001:db8:1::/64") as NonNullable<ReturnType<typeof parsePrefix>>],
    gatewayAddresses: ["203.0.113.2", "2001:db8:ff::2"],
    management: [{ address: "198.51.100.250", port: 8883 }],
  };

  it.each(["198.51.100.7", "2001:db8:100::7", "100.64.0.1"])("is %s", (address) => {
    expect(isNameAddress(address, network)).toBe(true);
  });

  it.each([
    "192.168.1.1",
    "10.0.0.1",
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "::1",
    "fe80::1",
    "fd00::1",
    "224.0.0.251",
    "ff02::fb",
    "2001:db8:1::1",
    "203.0.113.2",
    "2001:db8:ff:0::2",
    "198.51.100.250",
    "no address",
  ])("is never %s", (address) => {
    expect(isNameAddress(address, network)).toBe(false);
  });
});
