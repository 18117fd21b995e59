import { Lan } from "../../src/capture/lan.ts";
import { NeighboursSource, type NeighboursOptions } from "../../src/capture/neighbours.ts";
import { readNeighbourLine } from "../../src/capture/neighbours-text.ts";
import { NetworkSource } from "../../src/capture/network.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";
import { buildHelper } from "../netlink/helper-fixture.ts";
import { Home, homeMissing } from "../support/home.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";

type Neighbour = Extract<Observation, { kind: "neighbour" }>;
type Network = Extract<Observation, { kind: "network" }>;

const number = (mac: string) => Number.parseInt(mac.replaceAll(":", ""), 16);

describeUnless(homeMissing(), "in a home", () => {
  let home: Home;
  let helper: NetfilterHelper;
  let helperDone: Promise<void>;
  const stopHelper = new AbortController();
  beforeAll(async () => {
    home = await Home.up({ devices: 3 });
    helper = new NetfilterHelper({ command: ["ip", "netns", "exec", home.gateway, buildHelper()], log: silentLog });
    helperDone = helper.run(stopHelper.signal);
    expect(await helper.usable()).toBeUndefined();
  });
  afterAll(async () => {
    stopHelper.abort();
    await helperDone;
    await home.down();
  });

  const make = (options: Partial<NeighboursOptions> = {}) =>
    new NeighboursSource({
      helper,
      lan: new Lan(["br-lan"]),
      clock: systemClock,
      log: silentLog,
      prefix: ["ip", "netns", "exec", home.gateway],
      arpFile: `/proc/${helper.pid}/net/arp`,
      ...options,
    });
  const recorded = async (
    options: Partial<NeighboursOptions>,
    body: (seen: Neighbour[], source: NeighboursSource) => Promise<void>,
  ) => {
    const source = make(options);
    const stop = new AbortController();
    const seen: Neighbour[] = [];
    const running = source.run(stop.signal, (observation) => seen.push(observation as Neighbour));
    try {
      await waitFor("it works", () => source.health.status === "Running" || source.health.status === "Degraded");
      await body(seen, source);
    } finally {
      stop.abort();
      await running;
    }
  };

  for (const only of ["helper", "ip", "procfs"] as const)
    sourceContract(`neighbours by ${only}`, () => ({
      source: make({ only }),
      kinds: ["neighbour"],
      poke: async () => void (await home.device(1).ping("192.168.77.1", { count: 1 })),
    }));

  for (const only of ["helper", "ip"] as const)
    test(`by ${only}: both families of a device are told with its hardware address, the WAN's side is not`, async () => {
      await exec(home.gateway, "ip", ["neigh", "flush", "all"]);
      await recorded({ only }, async (seen) => {
        const device = home.device(1);
        await device.ping("192.168.77.1", { count: 1 });
        await device.ping("2001:db8:1::1", { count: 1 });
        await device.ping("198.51.100.9", { count: 1 });
        const holds = (address: string) =>
          seen.some(
            (neighbour) =>
              neighbour.address === address && neighbour.mac === number(device.mac) && neighbour.state !== "gone",
          );
        await waitFor("IPv4", () => holds(device.ipv4));
        await waitFor("IPv6", () => holds(device.ipv6));
        expect(new Set(seen.map((neighbour) => neighbour.interface))).toEqual(new Set(["br-lan"]));
        expect(seen.some((neighbour) => neighbour.address?.startsWith("203.0.113."))).toBe(false);
      });
    });

  for (const only of ["helper", "ip"] as const)
    test(`by ${only}: an address that goes is told with who had it`, async () => {
      const device = home.device(2);
      await device.ping("192.168.77.1", { count: 1 });
      await recorded({ only }, async (seen) => {
        await waitFor("it is there", () => seen.some((neighbour) => neighbour.address === device.ipv4));
        await exec(home.gateway, "ip", ["neigh", "del", device.ipv4, "dev", "br-lan"]);
        await waitFor("it goes", () =>
          seen.some((neighbour) => neighbour.address === device.ipv4 && neighbour.state === "gone"),
        );
        const gone = seen.find((neighbour) => neighbour.address === device.ipv4 && neighbour.state === "gone");
        expect(gone?.mac).toBe(number(device.mac));
      });
    });

  test("by helper: a device that sends one frame is seen before it has an address", async () => {
    await recorded({}, async (seen) => {
      await home.device(3).forgeMacs(5, 1000, 77);
      await waitFor(
        "frames",
        () =>
          new Set(seen.filter((neighbour) => neighbour.state === "frame").map((neighbour) => neighbour.mac)).size >= 5,
      );
      const frame = seen.find((neighbour) => neighbour.state === "frame");
      expect(frame).toMatchObject({ interface: "br-lan" });
      expect(frame).not.toHaveProperty("address");
      // The bridge's own ports are no devices.
      const { stdout } = await exec(home.gateway, "ip", ["-br", "link"]);
      const own = new Set([...stdout.matchAll(/(?:[0-9a-f]{2}:){5}[0-9a-f]{2}/g)].map(([mac]) => number(mac)));
      expect(seen.filter((neighbour) => own.has(neighbour.mac))).toEqual([]);
    });
  });

  test("by helper: when the LAN becomes known, its neighbours are told at once", async () => {
    const lan = new Lan();
    await home.device(1).ping("192.168.77.1", { count: 1 });
    await recorded({ lan }, async (seen) => {
      expect(seen).toEqual([]);
      lan.set(["br-lan"]);
      await waitFor("neighbours", () => seen.some((neighbour) => neighbour.address === home.device(1).ipv4));
    });
  });

  test("the network is found, and a change of it is told", async () => {
    const lan = new Lan();
    const source = new NetworkSource({ helper, lan, clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const seen: Network[] = [];
    const running = source.run(stop.signal, (observation) => seen.push(observation as Network));
    await waitFor("the network", () => seen.length > 0);
    expect(seen[0]).toMatchObject({ lanInterfaces: ["br-lan"], lanPrefixes: ["192.168.77.0/24", "2001:db8:1::/64"] });
    expect(seen[0]?.gatewayAddresses).toEqual(expect.arrayContaining(["192.168.77.1", "2001:db8:1::1", "203.0.113.2"]));
    expect(seen[0]?.gatewayMacs).toContain(number("02:AA:00:00:FF:01"));
    expect([...lan.interfaces]).toEqual(["br-lan"]);
    await exec(home.gateway, "ip", ["address", "add", "198.51.99.1/24", "dev", "br-lan"]);
    await waitFor("the new prefix", () => seen.at(-1)?.lanPrefixes.includes("198.51.99.0/24") === true);
    await exec(home.gateway, "ip", ["address", "del", "198.51.99.1/24", "dev", "br-lan"]);
    await waitFor("its end", () => seen.at(-1)?.lanPrefixes.includes("198.51.99.0/24") === false);
    await exec(home.gateway, "ip", ["link", "add", "attic", "type", "bridge"]);
    source.added = ["wan", "lo", "nowhere", "attic"];
    await waitFor("the one that is added", () => seen.at(-1)?.lanInterfaces.join() === "attic,br-lan");
    expect(source.health.status).toBe("Degraded");
    for (const why of [/wan is passed over: .*Internet/, /lo is passed over: .*loopback/, /nowhere is .*none of this/])
      expect(source.health.lastError).toMatch(why);
    source.added = [];
    await waitFor("the LAN alone", () => seen.at(-1)?.lanInterfaces.join() === "br-lan");
    expect(source.health.status).toBe("Running");
    await exec(home.gateway, "ip", ["link", "del", "attic"]);
    stop.abort();
    await running;
  });

  sourceContract("network", () => ({
    source: new NetworkSource({ helper, lan: new Lan(), clock: systemClock, log: silentLog }),
    kinds: ["network"],
    poke: () => Promise.resolve(),
  }));

  test("without a helper the same network is found in files", async () => {
    const script = `
      require("./test/support/register.cjs");
      const { readSystem } = require("./src/capture/network-files.ts");
      const { layOut } = require("./src/capture/home-layout.ts");
      readSystem().then(({ links, addresses, routes }) => console.log(JSON.stringify(layOut(links, addresses, routes))));`;
    // sysfs shows the interfaces of the namespace that mounted it, which \`ip netns exec\` does.
    const { stdout } = await exec(home.gateway, process.execPath, ["-e", script]);
    expect(JSON.parse(stdout)).toMatchObject({
      lanInterfaces: ["br-lan"],
      lanPrefixes: ["192.168.77.0/24", "2001:db8:1::/64"],
      gatewayAddresses: expect.arrayContaining(["192.168.77.1", "2001:db8:1::1", "203.0.113.2"]),
    });
  });
});

describe("a line of ip monitor", () => {
  const read = (line: string) => {
    const told: unknown[][] = [];
    readNeighbourLine(line, { tell: (...what) => told.push(what) });
    return told;
  };
  test.each([
    ["192.0.2.7 dev br-lan lladdr 02:00:00:00:00:01 REACHABLE", ["br-lan", "reachable", 0x020000000001, "192.0.2.7"]],
    [
      "2001:db8::7 dev br-lan lladdr 02:00:00:00:00:01 router STALE",
      ["br-lan", "stale", 0x020000000001, "2001:db8::7"],
    ],
    ["192.0.2.7 dev br-lan FAILED", ["br-lan", "gone", undefined, "192.0.2.7"]],
    ["Deleted 192.0.2.7 dev br-lan lladdr 02:00:00:00:00:01 STALE", ["br-lan", "gone", 0x020000000001, "192.0.2.7"]],
  ])("%s", (line, told) => {
    expect(read(line)).toEqual([told]);
  });
  test.each([
    "",
    "192.0.2.7 dev br-lan INCOMPLETE",
    "dev lan9 lladdr 02:00:00:00:00:01 REACHABLE",
    "192.0.2.7",
    "Deleted",
  ])("%j says nothing", (line) => {
    expect(read(line)).toEqual([]);
  });
});
