/** Detectors in their place: what the home tells them of clocks, owners and answers. */
import { SimulatedClock } from "../../support/simulated/home.ts";
import { START, TestHome } from "../home.ts";

const of = (home: TestHome, type: string) => home.spin.detection.incidents.all().filter((each) => each.type === type);

describe("an address that another device claims", () => {
  const bed = () => new TestHome().network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20");

  it("is spoofing when it is claimed again and again while its owner goes on", () => {
    const home = bed();
    for (let claim = 0; claim < 4; claim++)
      home.after(10_000).neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.10", "frame");
    expect(of(home, "AddressSpoofing")).toMatchObject([
      { mac: home.device(2).mac, severity: "Medium", peers: [`192.0.2.10 of ${home.device(1).physAddress}`] },
    ]);
  });

  it("is none when its owner is silent from then on: somebody may answer for one who sleeps", () => {
    const home = bed();
    for (let claim = 0; claim < 5; claim++) home.after(5000).neighbour(2, "192.0.2.10", "frame");
    expect(of(home, "AddressSpoofing")).toEqual([]);
  });

  it("is spoofing when it is the gateway's, which is always awake", () => {
    const home = bed();
    home.neighbour(2, "192.0.2.1", "stale");
    for (let claim = 0; claim < 3; claim++) {
      expect(of(home, "AddressSpoofing")).toEqual([]);
      home.after(10_000).neighbour(2, "192.0.2.1", "frame");
    }
    expect(of(home, "AddressSpoofing")).toMatchObject([
      { mac: home.device(2).mac, severity: "Medium", peers: ["192.0.2.1 of the gateway"] },
    ]);
  });
});

describe("a device that asks who has addresses", () => {
  const ask = (home: TestHome, from: number) => {
    for (let host = 0; host < 40; host++)
      home.tell({
        kind: "who-has",
        time: home.clock.now(),
        mac: home.device(50).mac,
        target: `192.0.2.${from + host}`,
      });
  };

  it("scans when nobody has them, and greets when they are the home's own", () => {
    const home = new TestHome().network().neighbour(50, "192.0.2.250");
    for (let index = 1; index <= 40; index++) home.neighbour(index, `192.0.2.${index + 9}`);
    ask(home, 10);
    expect(of(home, "ARPScan")).toEqual([]);
    ask(home, 60);
    expect(of(home, "ARPScan")).toHaveLength(1);
  });
});

describe("connections whose counters are read every half a minute", () => {
  it("have failed only once they were read", () => {
    const home = new TestHome().network().neighbour(1, "192.0.2.10").dumped();
    const flow = (event: "New" | "Counters", host: number, counters: readonly [number, number, number, number]) =>
      ({ event, id: host, from: "192.0.2.10", to: `198.51.100.${host}`, port: 22, counters }) as const;
    const hosts = Array.from({ length: 20 }, (_, host) => host + 1);
    home.flows(...hosts.map((host) => flow("New", host, [0, 0, 0, 0])));
    for (let second = 0; second < 29; second++) home.after(1000).spin.tick();
    expect(of(home, "HostScan")).toEqual([]);
    home.flows(...hosts.map((host) => flow("Counters", host, [9, 2000, 8, 3000]))).dumped();
    for (let second = 0; second < 10; second++) home.after(1000).spin.tick();
    expect(of(home, "HostScan")).toEqual([]);
  });
});

describe("a clock that is set", () => {
  it("makes no scan of what failed hours before it was set back", () => {
    const clock = new SimulatedClock(START);
    const home = new TestHome({ clock: clock as never }).network().neighbour(1, "192.0.2.10");
    let id = 1;
    const fail = (host: number) => {
      home.neighbour(1, "192.0.2.10");
      home.flows({
        event: "New",
        id: ++id,
        from: "192.0.2.10",
        to: `198.51.100.${host}`,
        port: 22,
        counters: [1, 60, 0, 0],
      });
      pass(1);
    };
    const pass = (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        clock.advance(1000);
        home.spin.tick();
      }
    };
    for (let host = 1; host <= 9; host++) {
      fail(host);
      pass(15 * 60);
    }
    clock.setWall(clock.now() - 2 * 3_600_000);
    home.spin.tick();
    for (let host = 10; host <= 14; host++) fail(host);
    pass(10);
    expect(of(home, "HostScan")).toEqual([]);
    for (let host = 20; host <= 26; host++) fail(host);
    pass(10);
    expect(of(home, "HostScan")).toHaveLength(1);
  });
});
