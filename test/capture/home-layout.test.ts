import { layOut, passedOver } from "../../src/capture/home-layout.ts";
import { parseRoutes4, parseRoutes6 } from "../../src/capture/network-files.ts";
import type { InterfaceAddress, Link, Route } from "../../src/netlink/route-messages.ts";

const link = (index: number, name: string, rest: Partial<Link> = {}): Link => ({
  index,
  name,
  mac: 0x020000000000 + index,
  up: true,
  special: false,
  ...rest,
});
const address = (index: number, text: string): InterfaceAddress => {
  const [host, bits] = text.split("/") as [string, string];
  return { index, address: host, bits: Number(bits) };
};
const defaultRoute = (index: number): Route => ({
  family: 4,
  destination: "0.0.0.0",
  bits: 0,
  index,
  hasGateway: true,
});
const LO = link(1, "lo", { special: true });

describe("the home's layout", () => {
  test("of a router is its bridge, not the way out, nor the bridge's ports", () => {
    const layout = layOut(
      [
        LO,
        link(2, "eth0"),
        link(3, "lan1", { master: 4 }),
        link(4, "br-lan", { type: "bridge" }),
        link(5, "wg0", { special: true }),
      ],
      [
        address(1, "127.0.0.1/8"),
        address(2, "203.0.113.2/24"),
        address(4, "192.0.2.1/24"),
        address(4, "2001:db8:1::1/64"),
        address(4, "fe80::1/64"),
        address(5, "198.51.100.1/24"),
      ],
      [defaultRoute(2)],
    );
    expect(layout).toEqual({
      lanInterfaces: ["br-lan"],
      lanPrefixes: ["192.0.2.0/24", "2001:db8:1::/64"],
      gatewayAddresses: ["192.0.2.1", "198.51.100.1", "2001:db8:1::1", "203.0.113.2", "fe80::1"],
      gatewayMacs: [1, 2, 3, 4, 5].map((index) => 0x020000000000 + index),
    });
  });

  test("without a bridge is every other interface with an address", () => {
    const layout = layOut(
      [LO, link(2, "eth0"), link(3, "eth1"), link(4, "eth2"), link(5, "eth3", { up: false })],
      [
        address(2, "203.0.113.2/24"),
        address(3, "192.0.2.1/24"),
        address(4, "fe80::1/64"),
        address(5, "198.51.100.1/24"),
      ],
      [defaultRoute(2)],
    );
    expect(layout.lanInterfaces).toEqual(["eth1"]);
  });

  test("does not take a container's bridge for a home", () => {
    const layout = layOut(
      [link(2, "eth0"), link(3, "docker0", { type: "bridge" }), link(4, "eth1")],
      [address(3, "172.17.0.1/16"), address(4, "192.0.2.1/24")],
      [defaultRoute(2)],
    );
    expect(layout.lanInterfaces).toEqual(["eth1"]);
  });

  test("holds prefixes that are routed to the LAN without an address in them", () => {
    const layout = layOut(
      [link(4, "br-lan", { type: "bridge" })],
      [address(4, "192.0.2.1/24")],
      [
        { family: 6, destination: "2001:db8:5::", bits: 64, index: 4, hasGateway: false },
        { family: 6, destination: "fe80::", bits: 64, index: 4, hasGateway: false },
        { family: 4, destination: "198.51.100.0", bits: 24, index: 4, hasGateway: true },
      ],
    );
    expect(layout.lanPrefixes).toEqual(["192.0.2.0/24", "2001:db8:5::/64"]);
  });

  test("is what somebody configured, even where it is the way out", () => {
    const layout = layOut(
      [link(2, "eth0"), link(4, "br-lan", { type: "bridge" })],
      [address(2, "192.0.2.2/24"), address(4, "198.51.100.1/24")],
      [defaultRoute(2)],
      ["eth0"],
    );
    expect(layout).toMatchObject({ lanInterfaces: ["eth0"], lanPrefixes: ["192.0.2.0/24"] });
  });

  describe("named by a controller", () => {
    const links = [LO, link(2, "eth0"), link(3, "wg0"), link(4, "br-lan", { type: "bridge" }), link(5, "br-guest")];
    const addresses = [address(4, "192.0.2.1/24"), address(5, "198.51.100.1/24")];
    const routes = [defaultRoute(2), { ...defaultRoute(3), destination: "128.0.0.0", bits: 1 }];
    const lanOf = (configured: string[], added: string[]) =>
      layOut(links, addresses, routes, configured, added).lanInterfaces;

    test.each([[[]], [["br-lan"]]])("is more than what is found or configured (%j), never less", (configured) => {
      expect(lanOf(configured, ["br-guest"])).toEqual(["br-guest", "br-lan"]);
      for (const name of ["lo", "eth0", "wg0", "nowhere"]) expect(lanOf(configured, [name])).toEqual(["br-lan"]);
    });

    test("and can't be the LAN's is said", () => {
      const said = passedOver({ links, addresses, routes }, ["br-lan"], ["lo", "eth0", "wg0", "nowhere", "br-guest"]);
      expect(said).toEqual([
        expect.stringContaining("interface lo is passed over: it is the loopback"),
        expect.stringContaining("interface eth0 is passed over: it is the way to the Internet"),
        expect.stringContaining("interface wg0 is passed over: it is the way to the Internet"),
        expect.stringContaining("interface nowhere is passed over: there is none of this name"),
      ]);
    });

    test("is found where the configured one is not there", () => {
      expect(lanOf(["br0"], [])).toEqual(["br-lan"]);
      expect(passedOver({ links, addresses, routes }, ["br0"], [])).toHaveLength(1);
    });
  });

  test("of a machine that is no router is empty", () => {
    expect(layOut([LO, link(2, "eth0")], [address(2, "192.0.2.2/24")], [defaultRoute(2)]).lanInterfaces).toEqual([]);
  });
});

describe("routes in procfs", () => {
  const byName = new Map([
    ["wan", 2],
    ["br-lan", 4],
  ]);

  test("of IPv4", () => {
    const table = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wan\t00000000\t017100CB\t0003\t0\t0\t0\t00000000\t0\t0\t0
br-lan\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;
    expect(parseRoutes4(table, byName)).toEqual([
      { family: 4, destination: "0.0.0.0", bits: 0, index: 2, hasGateway: true },
      { family: 4, destination: "192.0.2.0", bits: 24, index: 4, hasGateway: false },
    ]);
  });

  test("of IPv6, without those to the machine itself", () => {
    const zero = "0".repeat(32);
    const table = `20010db8000100000000000000000000 40 ${zero} 00 ${zero} 00000100 00000001 00000000 00000001   br-lan
${zero} 00 ${zero} 00 20010db800ff00000000000000000001 00000400 00000001 00000000 00000003      wan
20010db8000100000000000000000001 80 ${zero} 00 ${zero} 00000000 00000002 00000000 80200001   br-lan
${zero} 00 ${zero} 00 ${zero} ffffffff 00000001 00000000 00200200       lo
`;
    expect(parseRoutes6(table, byName)).toEqual([
      { family: 6, destination: "2001:db8:1::", bits: 64, index: 4, hasGateway: false },
      { family: 6, destination: "::", bits: 0, index: 2, hasGateway: true },
    ]);
  });
});
