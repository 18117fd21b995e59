import {
  CAMERA,
  CAMERA_FLOODS_MS,
  CAMERA_TURNS_MS,
  HOME_DEVICES,
  HOME_LASTS_MS,
  makeHome,
  makeHomeGzip,
} from "../../demo/make-home.ts";
import { parseMac } from "../../src/lib/address.ts";
import { observeCapture } from "../support/observe-capture.ts";

const START = Date.UTC(2026, 0, 15, 18, 0, 0);

describe("the demo's home", () => {
  test("is small, and the same for the same seed", () => {
    const first = makeHomeGzip();
    expect(first.length).toBeLessThan(300_000);
    expect(makeHome().equals(makeHome())).toBe(true);
    expect(makeHome({ seed: 2 }).equals(makeHome())).toBe(false);
  });

  test("has eight devices of both families, each with a lease and a name, and a gateway that is none of them", async () => {
    const { of, network, source } = await observeCapture(makeHome({ startMs: START }));
    expect(source.counts).toMatchObject({ duplicates: 0, malformed: 0 });
    expect(network()).toMatchObject({ gateways: ["02:00:00:00:00:FE"] });
    expect([...network().lan].sort()).toEqual(["192.168.1.0/24", "2001:db8:1::/64"]);
    expect(of("lease").map(({ mac, hostName, address }) => [mac, hostName, address])).toEqual(
      HOME_DEVICES.map(({ mac, name, ipv4 }) => [parseMac(mac), name, ipv4]),
    );
    for (const { mac, ipv4, ipv6 } of HOME_DEVICES) {
      const addresses = of("neighbour")
        .filter((each) => each.mac === parseMac(mac))
        .map(({ address }) => address);
      expect(addresses).toEqual(expect.arrayContaining([ipv4, ipv6]));
    }
    expect(of("answer").some(({ names }) => names.length === 3)).toBe(true);
  });

  test("has one camera that turns: it scans many, floods one, and nobody else does", async () => {
    const { flows, of } = await observeCapture(makeHome({ startMs: START }));
    const turns = of("query").find(({ name }) => name.includes("botherd"));
    expect(turns).toMatchObject({ mac: parseMac(CAMERA.mac), time: START + CAMERA_TURNS_MS });
    const peers = (device: { ipv4: string }) =>
      new Set(flows.filter((f) => f.source === device.ipv4).map((f) => f.destination)).size;
    for (const device of HOME_DEVICES) expect(peers(device) > 100).toBe(device === CAMERA);
    const flood = flows.filter((f) => f.source === CAMERA.ipv4 && f.packets > 1000);
    expect(flood).toHaveLength(1);
    expect(flood[0]?.began).toBeGreaterThan(START + CAMERA_FLOODS_MS);
    expect(flood[0]?.ended).toBeLessThan(START + HOME_LASTS_MS + 1000);
  });
});
