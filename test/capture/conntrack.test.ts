import { readFileSync } from "node:fs";
import { ConntrackSource, type ConntrackOptions } from "../../src/capture/conntrack.ts";
import { prepareConntrack } from "../../src/capture/prepare-conntrack.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";
import { buildHelper } from "../netlink/helper-fixture.ts";
import { Home, homeMissing } from "../support/home.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { FlowRecorder } from "./flow-recorder.ts";

const V4 = "198.51.100.20";
const V6 = "2001:db8:100::20";
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
const WAN4 = "203.0.113.2";

describeUnless(homeMissing() ?? missing("conntrack"), "conntrack", () => {
  let home: Home;
  let helper: NetfilterHelper;
  let helperDone: Promise<void>;
  const stopHelper = new AbortController();
  beforeAll(async () => {
    home = await Home.up({ devices: 2 });
    helper = new NetfilterHelper({
      command: ["ip", "netns", "exec", home.gateway, buildHelper()],
      log: silentLog,
      backOff: { first: 20, last: 100 },
    });
    helperDone = helper.run(stopHelper.signal);
    expect(await helper.usable()).toBeUndefined();
  });
  afterAll(async () => {
    stopHelper.abort();
    await helperDone;
    await home.down();
  });

  const inGateway = () => ["ip", "netns", "exec", home.gateway];
  /** /proc/net of a process in the gateway's namespace. */
  const procFile = () => `/proc/${helper.pid}/net/nf_conntrack`;
  const make = (options: Partial<ConntrackOptions> = {}): ConntrackSource =>
    new ConntrackSource({
      helper,
      counterIntervalMs: 200,
      clock: systemClock,
      log: silentLog,
      prefix: inGateway(),
      procFile: procFile(),
      ...options,
    });
  /** Runs a source for the length of `body`. */
  const recorded = async (
    options: Partial<ConntrackOptions>,
    body: (seen: FlowRecorder, source: ConntrackSource) => Promise<void>,
  ): Promise<void> => {
    const source = make(options);
    const stop = new AbortController();
    const seen = new FlowRecorder();
    const running = source.run(stop.signal, seen.emit);
    try {
      await waitFor("the first dump", () => seen.dumps > 0);
      await body(seen, source);
    } finally {
      stop.abort();
      await running;
    }
  };
  const flush = () => exec(home.gateway, "conntrack", ["-F"]);

  test("is prepared: accounting, events and time stamps are on", async () => {
    const { values, problems } = await prepareConntrack(helper);
    expect(problems).toEqual([]);
    expect(values.get("nf_conntrack_acct")).toBe("1");
    expect(Number(values.get("nf_conntrack_max"))).toBeGreaterThan(0);
    const { stdout } = await exec(home.gateway, "sysctl", ["-n", "net.netfilter.nf_conntrack_timestamp"]);
    expect(stdout.trim()).toBe("1");
  });

  for (const only of ["helper", "conntrack-tools", "procfs"] as const)
    sourceContract(`conntrack by ${only}`, () => ({
      source: make({ only }),
      kinds: ["flows"],
      poke: async () => void (await home.device(1).udp(V4, { count: 3 })),
    }));

  for (const only of ["helper", "conntrack-tools", "procfs"] as const)
    test(`by ${only}: counters of TCP, UDP and ICMP in both families are those of the device`, async () => {
      await flush();
      const device = home.device(1);
      await recorded({ only }, async (seen, source) => {
        for (const address of [V4, V6]) {
          await device.udp(address, { count: 5, size: 100 });
          await device.ping(address, { count: 4, size: 56 });
          await device.tcp(address, { down: 20_000 });
        }
        const begun = seen.dumps;
        await waitFor("two more dumps", () => seen.dumps >= begun + 2);
        const [udp4] = seen.with({ protocol: UDP, destination: V4 });
        expect(udp4).toMatchObject({
          source: device.ipv4,
          destinationPort: 7,
          replySource: V4,
          replyDestination: WAN4,
          answered: true,
          translated: true,
          packets: 5,
          bytes: 5 * 128,
          replyPackets: 5,
          replyBytes: 5 * 128,
        });
        const [udp6] = seen.with({ protocol: UDP, destination: V6 });
        expect(udp6).toMatchObject({
          replyDestination: device.ipv6,
          translated: false,
          bytes: 5 * 148,
          replyBytes: 5 * 148,
        });
        const [ping4] = seen.with({ protocol: ICMP, destination: V4 });
        expect(ping4).toMatchObject({ sourcePort: 8 << 8, packets: 4, bytes: 4 * 84, replyPackets: 4 });
        expect(ping4?.destinationPort).toBeGreaterThan(0);
        const [ping6] = seen.with({ protocol: ICMPV6, destination: V6 });
        expect(ping6).toMatchObject({ sourcePort: 128 << 8, packets: 4, bytes: 4 * 104 });
        for (const [address, own] of [
          [V4, device.ipv4],
          [V6, device.ipv6],
        ] as const) {
          const tcp = seen.with({ protocol: TCP, destination: address });
          expect(tcp).toHaveLength(1);
          expect(tcp[0]).toMatchObject({ source: own, destinationPort: 8, answered: true });
          const counted = (await device.counted()).find((row) => row.address === address && row.protocol === "tcp");
          if (only === "helper") expect(counted).toBeDefined();
        }
        expect(source.health).toMatchObject({
          backend: only,
          status: only === "helper" ? "Running" : "Degraded",
          lost: 0,
          decodeErrors: 0,
        });
      });
    });

  test("by helper: each connection begins once, also those that are refused at once", async () => {
    await flush();
    await recorded({}, async (seen) => {
      const count = 400;
      const refusals = 4000;
      await home.device(1).flows("198.18.0.1", { count, rate: 2000 });
      await home.device(1).flows("2001:db8:100::1000", { count, rate: 2000 });
      // Nobody listens there: SYN, RST, and the entry is gone within a millisecond.
      const { refused } = await home.device(2).scan("198.51.100.40", 20_000, 20_000 + refusals - 1);
      expect(refused).toBe(refusals);
      await waitFor(
        "all have begun",
        () => [...seen.flows.values()].filter((flow) => flow.begins > 0).length >= 2 * count + refusals,
      );
      const ours = [...seen.flows.values()].filter((flow) => flow.protocol === UDP && flow.destinationPort === 7);
      expect(ours.map((flow) => flow.begins)).toEqual(Array<number>(2 * count).fill(1));
      expect(new Set(ours.map((flow) => flow.destination)).size).toBe(2 * count);
      const scanned = seen.with({ protocol: TCP, destination: "198.51.100.40" });
      expect(new Set(scanned.map((flow) => flow.destinationPort)).size).toBe(refusals);
      await waitFor("the refused have ended", () => scanned.every((flow) => flow.ends === 1));
      expect(seen.beginsAfterEnd).toBe(0);
    });
  });

  test("by helper: no end is lost when the whole table is flushed, with the smallest buffer", async () => {
    await flush();
    await recorded({ receiveBufferBytes: 64 * 1024, counterIntervalMs: 60_000 }, async (seen) => {
      const count = 8000;
      await home.device(1).flows("198.18.0.1", { count, rate: 8000 });
      await flush();
      const ours = () => [...seen.flows.values()].filter((flow) => flow.protocol === UDP && flow.destinationPort === 7);
      // What began unseen in an overrun is told of by its end.
      await waitFor("all have ended", () => ours().filter((flow) => flow.ends > 0).length >= count);
      expect(ours().every((flow) => flow.ends === 1)).toBe(true);
      expect(ours().every((flow) => flow.packets === 1)).toBe(true);
    });
  });

  test("by helper: what an overrun lost is found again, and nothing that ended comes back", async () => {
    await flush();
    await recorded({ receiveBufferBytes: 16 * 1024 }, async (seen, source) => {
      const pid = helper.pid as number;
      const count = 12_000;
      const sending = home.device(1).flows("198.18.0.1", { count, rate: 12_000 });
      await new Promise((done) => setTimeout(done, 200));
      // `pid` is that of the helper itself: ip and setpriv execute it in place.
      expect(readFileSync(`/proc/${pid}/comm`, "latin1").trim()).toBe("helper");
      process.kill(pid, "SIGSTOP");
      await new Promise((done) => setTimeout(done, 700));
      process.kill(pid, "SIGCONT");
      const { failed } = await sending;
      expect(failed).toBe(0);
      await waitFor("the loss is told", () => source.health.lost > 0);
      expect(seen.others.some((other) => other.kind === "loss")).toBe(true);
      await waitFor("a resync", () => source.health.resyncs > 0);
      const { stdout } = await exec(home.gateway, "conntrack", ["-L", "-p", "udp"]);
      const alive = stdout.split("\n").filter((line) => line.includes("dport=7 ")).length;
      expect(alive).toBe(count);
      const known = () =>
        [...seen.flows.values()].filter((flow) => flow.protocol === UDP && flow.destinationPort === 7);
      await waitFor("all flows are known", () => known().length === count);
      expect(seen.afterEnd).toBe(0);
    });
  });

  test("by helper: counters never come after the end, while flows end during dumps", async () => {
    await flush();
    await recorded({ counterIntervalMs: 1 }, async (seen) => {
      const sending = home.device(1).flows("198.18.0.1", { count: 6000, rate: 3000 });
      for (let i = 0; i < 20; i++) {
        await exec(home.gateway, "conntrack", ["-D", "-p", "udp"], { mayFail: true });
        await new Promise((done) => setTimeout(done, 60));
      }
      await sending;
      expect(seen.with({ ends: 1 }).length).toBeGreaterThan(1000);
      expect(seen.dumps).toBeGreaterThan(5);
      expect(seen.afterEnd).toBe(0);
    });
  });

  test("by helper: a helper that is killed is started again and the flows are dumped anew", async () => {
    await recorded({ counterIntervalMs: 60_000 }, async (seen, source) => {
      const dumps = seen.dumps;
      process.kill(helper.pid as number, "SIGKILL");
      await waitFor("it runs again", () => helper.running && seen.dumps > dumps && source.health.status === "Running");
      expect(source.health.lost).toBeGreaterThan(0);
      await home.device(1).udp("198.51.100.77", { count: 1 });
      await waitFor("new flows are seen", () => seen.with({ destination: "198.51.100.77", begins: 1 }).length === 1);
    });
  });

  test("by helper: the counter interval can be changed while it runs", async () => {
    await recorded({ counterIntervalMs: 600_000 }, async (seen, source) => {
      const dumps = seen.dumps;
      source.counterIntervalMs = 50;
      await waitFor("dumps come", () => seen.dumps > dumps + 3);
    });
  });

  test("without a helper, the next best way is taken and its cost is told", async () => {
    await recorded({ helper: undefined }, async (_seen, source) => {
      expect(source.health).toMatchObject({ backend: "conntrack-tools", status: "Degraded" });
      expect(source.health.lastError).toMatch(/there is no helper/);
    });
    await recorded({ helper: undefined, prefix: ["/nonexistent"] }, async (_seen, source) => {
      expect(source.health).toMatchObject({ backend: "procfs", status: "Degraded" });
      expect(source.health.lastError).toMatch(/not seen/);
    });
  });

  test("with no way at all, the source says Error and why", async () => {
    const source = make({ helper: undefined, prefix: ["/nonexistent"], procFile: "/nonexistent/nf_conntrack" });
    const stop = new AbortController();
    const running = source.run(stop.signal, () => undefined);
    await waitFor("it fails", () => source.health.status === "Error");
    expect(source.health.lastError).toMatch(/no helper.*ENOENT.*nf_conntrack: ENOENT/);
    stop.abort();
    await running;
  });

  test("entries are deleted by what they are, and others stay", async () => {
    await flush();
    await home.device(1).udp(V4, { count: 2 });
    await home.device(1).udp(V6, { count: 2 });
    await home.device(1).ping(V6, { count: 1 });
    await home.device(2).udp(V4, { count: 2 });
    const own = home.device(2).ipv4;
    const list = async () =>
      (await exec(home.gateway, "conntrack", ["-L", "-f", "ipv4"])).stdout +
      (await exec(home.gateway, "conntrack", ["-L", "-f", "ipv6"])).stdout;
    const deleted = await helper.deleteConntrackMatching((addresses) => {
      const isDevice2 = addresses[3] === own.split(".").reduce((word, part) => word * 256 + Number(part), 0);
      return !isDevice2;
    });
    expect(deleted).toBeGreaterThanOrEqual(3);
    const left = (await list()).split("\n").filter((line) => line.includes("src="));
    expect(left.every((line) => line.includes(`src=${own}`))).toBe(true);
    expect(left.length).toBeGreaterThanOrEqual(1);
  });
});
