/** The source of frames over a real helper: `near` is the LAN, what is sent at `far` comes in there. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { FramesSource } from "../../src/capture/lan-frames.ts";
import { Lan } from "../../src/capture/lan.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";
import { Bench, buildHelper, helperMissing } from "../netlink/helper-fixture.ts";
import { arp, lldpFrame } from "../support/lan-frames.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { sendFrames } from "../support/traffic.ts";

const MAC = "02:AA:00:00:00:11";
const LAYOUT = { lanPrefixes: ["192.168.77.0/24"], gatewayMacs: [] };

describe("the source of frames without a helper", () => {
  test("says so, and ends", async () => {
    const source = new FramesSource({ lan: new Lan(["br-lan"]), clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const running = source.run(stop.signal, () => undefined);
    await waitFor("its state", () => source.health.status === "Error");
    expect(source.health.lastError).toBe("there is no helper");
    stop.abort();
    await running;
    expect(source.health.status).toBe("Disabled");
  });
});

describeUnless(helperMissing(), "the source of frames", () => {
  let bench: Bench;
  let stop: AbortController;
  const cable = async (near: string, far: string) => {
    await exec(bench.namespace, "ip", ["link", "add", near, "type", "veth", "peer", "name", far]);
    for (const name of [near, far]) await exec(bench.namespace, "ip", ["link", "set", name, "up"]);
  };
  const asks = (last: number) => arp({ mac: MAC, sender: "192.168.77.17", target: `192.168.77.${last}` });
  const start = (lan: Lan, options: { helper?: NetfilterHelper; classFolder?: string } = {}) => {
    const { helper = bench.helper, classFolder = join(bench.folder, "class") } = options;
    const source = new FramesSource({ helper, lan, classFolder, clock: systemClock, log: silentLog });
    const told: Observation[] = [];
    stop = new AbortController();
    const running = source.run(stop.signal, (observation) => void told.push(observation));
    const targets = () => told.flatMap((one) => (one.kind === "who-has" ? [Number(one.target.split(".")[3])] : []));
    return { source, told, targets, end: async () => (stop.abort(), await running) };
  };

  beforeAll(async () => {
    bench = await Bench.up();
    await cable("near", "far");
  });
  afterEach(() => stop?.abort());
  afterAll(async () => await bench.down());

  sourceContract("frames", () => {
    const lan = new Lan();
    lan.set(["near"], LAYOUT);
    return {
      source: new FramesSource({ helper: bench.helper, lan, clock: systemClock, log: silentLog }),
      kinds: ["who-has"],
      poke: () => sendFrames(bench.namespace, "far", [asks(30)], { times: 3 }),
    };
  });

  test("follows the LAN's interfaces as they come, go and come back", async () => {
    const lan = new Lan();
    const { source, targets, end } = start(lan);
    expect(source.health.status).toBe("Starting");
    lan.set(["near", "late"], LAYOUT);
    await waitFor("one that is not there", () => source.health.lastError.includes("late: "));
    expect(source.health.status).toBe("Degraded");
    await sendFrames(bench.namespace, "far", [asks(1)]);
    await waitFor("frames of the other", () => targets().includes(1));
    await cable("late", "late2");
    await waitFor("both", () => source.health.status === "Running");
    await sendFrames(bench.namespace, "late2", [asks(2)]);
    await waitFor("frames of the new one", () => targets().includes(2));
    await exec(bench.namespace, "ip", ["link", "del", "late"]);
    await waitFor("its going", () => source.health.lastError.includes("gone"));
    lan.set(["near"], LAYOUT);
    await waitFor("what is left", () => source.health.status === "Running");
    lan.set([], LAYOUT);
    await waitFor("nothing left", () => source.health.lastError.includes("no LAN interface"));
    await sendFrames(bench.namespace, "far", [asks(3)]);
    await end();
    expect(targets()).not.toContain(3);
    expect(source.health.status).toBe("Disabled");
  }, 30_000);

  test("hears LLDP of a bridge's ports", async () => {
    const classFolder = join(bench.folder, "ports");
    mkdirSync(join(classFolder, "near.10/lower_near-bridge"), { recursive: true });
    mkdirSync(join(classFolder, "near-bridge/brif/near"), { recursive: true });
    const { source, told, end } = start(new Lan(["near.10"]), { classFolder });
    await waitFor("the port, though the bridge is not there", () => source.health.lastError.includes("near.10: "));
    await waitFor("its frame", () => {
      void sendFrames(bench.namespace, "far", [lldpFrame(MAC, [[5, "hall"]]), asks(9)]);
      return told.length > 0;
    });
    expect(told).toEqual([expect.objectContaining({ kind: "identity", source: "lldp", hostName: "hall" })]);
    await end();
    rmSync(classFolder, { recursive: true });
  }, 30_000);

  test("without CAP_NET_RAW is in error, with the remedy", async () => {
    const helper = new NetfilterHelper({
      command: ["ip", "netns", "exec", bench.namespace, "setpriv", "--bounding-set", "-net_raw", buildHelper()],
      log: silentLog,
    });
    const life = new AbortController();
    const helperRuns = helper.run(life.signal);
    const lan = new Lan();
    lan.set(["near"], LAYOUT);
    const { source, end } = start(lan, { helper });
    await waitFor("its state", () => source.health.status === "Error");
    expect(source.health.lastError).toMatch(/near: .*lacks CAP_NET_RAW: setcap cap_net_admin,cap_net_raw\+ep/);
    await end();
    life.abort();
    await helperRuns;
  });
});
