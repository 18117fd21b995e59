import type { Health, Observation, Source } from "../../src/spin/observation.ts";
import { settle, subscribe } from "../usp/support.ts";
import { Gateway, hears, mac, PHONE, read, ROOT, told, trySet, until, value } from "./support.ts";

/** A source whose health a test sets, and that tells what a test says while it runs. */
class ToldSource implements Source {
  readonly name: string;
  health: Health;
  runs = 0;
  emit: ((observation: Observation) => void) | undefined;

  constructor(name: string) {
    this.name = name;
    this.health = {
      backend: "test",
      status: "Running",
      observations: 0,
      lost: 0,
      resyncs: 0,
      decodeErrors: 0,
      lastError: "",
    };
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    this.runs++;
    this.emit = emit;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    this.emit = undefined;
  }

  becomes(health: Partial<Health>): void {
    this.health = { ...this.health, ...health };
  }
}

let gateway: Gateway;
let flows: ToldSource;
let names: ToldSource;
let stopping: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  flows = new ToldSource("conntrack");
  names = new ToldSource("dns");
  gateway = await Gateway.start({ sources: [flows, names] });
  stopping = new AbortController();
  running = gateway.spin.run(stopping.signal);
  await until(() => flows.emit !== undefined);
});
afterEach(async () => {
  stopping.abort();
  await running;
  await gateway.stop();
});

const operator = () => gateway.as("Operator");

describe("Capture.Enable", () => {
  test("off ends the sources and on starts them again, and Status follows", async () => {
    await subscribe(operator(), "ValueChange", ROOT);
    expect((await trySet(operator(), `${ROOT}Capture.`, { Enable: "false" })).code).toBe(0);
    await until(() => flows.emit === undefined && names.emit === undefined, "the sources' end");
    expect(await read(operator(), `${ROOT}Capture.`)).toMatchObject({ Enable: "false", Status: "Disabled" });
    expect(await read(operator(), ROOT)).toMatchObject({ Status: "Degraded", StatusReason: "Capture.Enable is false" });
    await hears(operator(), `${ROOT}Capture.Status=Disabled`);
    await hears(operator(), `${ROOT}Status=Degraded`);
    await trySet(operator(), `${ROOT}Capture.`, { Enable: "true" });
    await until(() => flows.emit !== undefined, "the sources' start");
    expect(flows.runs).toBe(2);
    expect(await read(operator(), `${ROOT}Capture.`)).toMatchObject({ Status: "Running" });
    await hears(operator(), `${ROOT}Capture.Status=Running`);
  });

  test("and SPIN's own Enable must both be on", async () => {
    await subscribe(operator(), "ValueChange", ROOT);
    await trySet(operator(), ROOT, { Enable: "false" });
    expect(await value(operator(), `${ROOT}Status`)).toBe("Disabled");
    await hears(operator(), `${ROOT}Status=Disabled`);
    await trySet(operator(), `${ROOT}Capture.`, { Enable: "false" });
    await trySet(operator(), ROOT, { Enable: "true" });
    await settle();
    expect(flows.emit).toBeUndefined();
    expect(await value(operator(), `${ROOT}Status`)).toBe("Degraded");
    await hears(operator(), `${ROOT}Status=Degraded`);
    const since = operator().notifies.length;
    // Nothing starts or ends here, and yet it is another state.
    await trySet(operator(), ROOT, { Enable: "false" });
    await hears(operator(), `${ROOT}Status=Disabled`, since);
  });

  test("off leaves rules in force", async () => {
    gateway.withDevices();
    await operator().ask({
      $case: "operate",
      value: { command: `${gateway.device(PHONE)}Block()`, commandKey: "", sendResp: true, inputArgs: new Map() },
    });
    await trySet(operator(), ROOT, { Enable: "false" });
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
  });

  test("outlives a restart", async () => {
    await trySet(operator(), `${ROOT}Capture.`, { Enable: "false" });
    stopping.abort();
    await running;
    gateway = await gateway.restart({ sources: [flows, names] });
    expect(gateway.spin.enabled).toBe(false);
    expect(await value(operator(), `${ROOT}Capture.Status`)).toBe("Disabled");
  });
});

describe("the settings of the capture", () => {
  test("reach the sources when they are set, and after a restart", async () => {
    expect(gateway.interfaces.at(-1)).toEqual([]);
    expect(gateway.intervals.at(-1)).toBe(5);
    await trySet(operator(), `${ROOT}Capture.`, { Interfaces: "br-lan, br-guest", CounterInterval: "2" });
    expect(gateway.interfaces.at(-1)).toEqual(["br-lan", "br-guest"]);
    expect(gateway.intervals.at(-1)).toBe(2);
    expect(await read(operator(), `${ROOT}Capture.`)).toMatchObject({
      Interfaces: "br-lan,br-guest",
      CounterInterval: "2",
    });
    stopping.abort();
    await running;
    gateway = await gateway.restart();
    expect(gateway.interfaces).toEqual([["br-lan", "br-guest"]]);
    expect(gateway.intervals).toEqual([2]);
  });

  test.each([
    [{ CounterInterval: "0" }, 7012],
    [{ CounterInterval: "61" }, 7012],
    [{ CounterInterval: "often" }, 7011],
    [{ Interfaces: "br lan" }, 7012],
    [{ Interfaces: "a-name-too-long-for-linux" }, 7012],
    [{ Interfaces: "eth0;reboot" }, 7012],
    [{ Interfaces: Array.from({ length: 17 }, (_, i) => `eth${i}`).join(",") }, 7012],
    [{ Status: "Running" }, 7013],
  ])("take no %j", async (params, code) => {
    const before = gateway.interfaces.length + gateway.intervals.length;
    expect((await trySet(operator(), `${ROOT}Capture.`, params as unknown as Record<string, string>)).code).toBe(code);
    expect(gateway.interfaces.length + gateway.intervals.length).toBe(before);
  });
});

describe("a source", () => {
  test("is a row with what it says of itself", async () => {
    names.becomes({ backend: "helper", observations: 12, lost: 3, lastError: "x".repeat(2000), status: "Degraded" });
    expect(await value(operator(), `${ROOT}Capture.SourceNumberOfEntries`)).toBe("2");
    expect(await read(operator(), `${ROOT}Capture.Source.2.`)).toEqual({
      Name: "dns",
      Status: "Degraded",
      Backend: "helper",
      Observations: "12",
      Lost: "3",
      LastError: "x".repeat(1024),
    });
    expect(await value(operator(), `${ROOT}Capture.Source.[Name=="conntrack"].Status`)).toBe("Running");
  });

  test("that fails degrades the whole, and its recovery is told as its failure was", async () => {
    await subscribe(operator(), "ValueChange", ROOT);
    names.becomes({ status: "Error", lastError: "no such group" });
    gateway.spin.tick();
    await hears(operator(), `${ROOT}Capture.Source.2.Status=Error`);
    await hears(operator(), `${ROOT}Capture.Source.2.LastError=no such group`);
    await hears(operator(), `${ROOT}Capture.Status=Degraded`);
    expect(await value(operator(), `${ROOT}StatusReason`)).toContain("dns (test): no such group");
    const since = operator().notifies.length;
    names.becomes({ status: "Running" });
    gateway.spin.tick();
    await hears(operator(), `${ROOT}Capture.Source.2.Status=Running`, since);
    await hears(operator(), `${ROOT}Capture.Status=Running`, since);
    await settle();
    expect(told(operator(), since).join()).not.toContain("LastError");
  });

  test("that only changes its backend is told", async () => {
    await subscribe(operator(), "ValueChange", `${ROOT}Capture.Source.`);
    names.becomes({ backend: "procfs" });
    gateway.spin.tick();
    await hears(operator(), `${ROOT}Capture.Source.2.Backend=procfs`);
    names.becomes({ observations: 99, lost: 9 });
    gateway.spin.tick();
    await settle();
    expect(told(operator())).toEqual([`${ROOT}Capture.Source.2.Backend=procfs`]);
  });

  test.each([
    [["Running", "Running"], "Running"],
    [["Running", "Starting"], "Starting"],
    [["Running", "Degraded"], "Degraded"],
    [["Error", "Running"], "Degraded"],
    [["Error", "Error"], "Error"],
    [["Disabled", "Running"], "Running"],
    [["Disabled", "Error"], "Error"],
    [["Disabled", "Disabled"], "Disabled"],
  ] as const)("%j make the capture %s", async ([one, other], status) => {
    flows.becomes({ status: one });
    names.becomes({ status: other });
    expect(await value(operator(), `${ROOT}Capture.Status`)).toBe(status);
  });
});

test("what was lost is counted and makes the counters estimates, which is told", async () => {
  await subscribe(operator(), "ValueChange", `${ROOT}CounterAccuracy`);
  flows.emit?.({ kind: "loss", time: 0, lost: 4 });
  await hears(operator(), `${ROOT}CounterAccuracy=Estimated`);
  expect(await value(operator(), `${ROOT}Capture.EventsLost`)).toBe("4");
});

test("what a source tells makes devices", async () => {
  flows.emit?.({
    kind: "neighbour",
    time: 0,
    mac: mac(1),
    address: "192.0.2.11",
    interface: "br-lan",
    state: "reachable",
  });
  expect(await value(operator(), `${gateway.device(PHONE)}IPv4Address`)).toBe("192.0.2.11");
});

test("Version is what runs", async () => {
  expect(await value(operator(), `${ROOT}Version`)).toBe("1.2.3");
});
