import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock, systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryStore, openStore } from "../../src/lib/store.ts";
import type { Health, Observation, Source } from "../../src/spin/observation.ts";
import { Spin } from "../../src/spin/spin.ts";
import { columnsOf, mac, START, TestHome } from "./home.ts";

/** A source that says what it is given, and then ends or waits for the signal. */
class Said implements Source {
  readonly name: string;
  readonly #said: readonly Observation[];
  readonly #ends: boolean;
  runs = 0;
  health: Health = {
    backend: "test",
    status: "Running",
    observations: 0,
    lost: 0,
    resyncs: 0,
    decodeErrors: 0,
    lastError: "",
  };

  constructor(name: string, said: readonly Observation[], ends = false) {
    this.name = name;
    this.#said = said;
    this.#ends = ends;
  }
  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    this.runs++;
    for (const observation of this.#said) emit(observation);
    if (!this.#ends && !signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }
}

const said = (): Observation[] => [
  {
    kind: "network",
    time: START,
    lanInterfaces: ["br-lan"],
    lanPrefixes: ["192.0.2.0/24"],
    gatewayAddresses: ["192.0.2.1"],
    gatewayMacs: [],
  },
  { kind: "neighbour", time: START, mac: mac(1), address: "192.0.2.10", interface: "br-lan", state: "reachable" },
  {
    kind: "flows",
    columns: columnsOf([{ event: "End", from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 2, 200] }], START),
  },
];
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("run", () => {
  it("hears its sources until the signal, and saves at the stop", async () => {
    const store = memoryStore();
    const source = new Said("conntrack", said());
    const spin = new Spin({ clock: systemClock, log: silentLog, store, sources: [source] });
    const control = new AbortController();
    const running = spin.run(control.signal);
    await turn();
    expect(spin.summary.bytesSent).toBe(100);
    control.abort();
    await running;
    expect(new Spin({ clock: systemClock, log: silentLog, store }).summary.bytesSent).toBe(100);
  });

  it("gives the next number after a clean stop, and one never given after a crash", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const start = () => new Spin({ clock, log: silentLog, store, sources: [new Said("conntrack", said())] });
    const sees = (spin: Spin, index: number) => {
      spin.observe({ kind: "neighbour", time: START, mac: mac(index), interface: "br-lan", state: "reachable" });
      return spin.deviceByMac(mac(index))?.number;
    };
    const first = start();
    const control = new AbortController();
    const running = first.run(control.signal);
    await turn();
    expect(sees(first, 2)).toBe(2);
    control.abort();
    await running;
    const second = start();
    const dying = new AbortController();
    const lives = second.run(dying.signal);
    await turn();
    const seen = sees(second, 3);
    expect(seen).toBe(3);
    // Had it died here, before it saved that row:
    const third = start();
    third.observe(said()[0] as Observation);
    expect(sees(third, 4)).toBeGreaterThan(3);
    expect(third.device(3)).toBeUndefined();
    dying.abort();
    await lives;
  });

  it("keeps the number of a device that was there for a second when it crashes", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = new Spin({ clock, log: silentLog, store, sources: [new Said("conntrack", said())] });
    const control = new AbortController();
    const running = first.run(control.signal);
    await turn();
    clock.advance(1000);
    first.tick();
    // Had it died here:
    const copy = memoryStore();
    await copy.save("home", store.load("home"));
    const second = new Spin({ clock, log: silentLog, store: copy });
    expect(second.deviceByMac(mac(1))?.number).toBe(1);
    control.abort();
    await running;
  });

  it("does not write for each row of a flood of forged addresses", async () => {
    const memory = memoryStore();
    let saves = 0;
    const store = { ...memory, save: (name: string, value: unknown) => (saves++, memory.save(name, value)) };
    const clock = new ManualClock(START);
    const spin = new Spin({ clock, log: silentLog, store, sources: [new Said("conntrack", said())] });
    const control = new AbortController();
    const running = spin.run(control.signal);
    await turn();
    for (let second = 1; second <= 240; second++) {
      clock.advance(1000);
      spin.observe({ kind: "neighbour", time: START, mac: mac(second), interface: "br-lan", state: "reachable" });
    }
    expect(saves).toBeGreaterThan(5);
    expect(saves).toBeLessThan(20);
    control.abort();
    await running;
  });

  it("ends by itself when all its sources have, as a replay's do", async () => {
    const spin = new Spin({ clock: new ManualClock(START), log: silentLog, sources: [new Said("pcap", said(), true)] });
    await spin.run(new AbortController().signal);
    expect(spin.summary.bytesReceived).toBe(200);
  });

  it("lets a source that fails fail alone", async () => {
    const failing: Source = {
      name: "dns",
      health: new Said("", []).health,
      run: () => Promise.reject(new TypeError("our bug")),
    };
    const spin = new Spin({ clock: systemClock, log: silentLog, sources: [failing, new Said("pcap", said(), true)] });
    await spin.run(new AbortController().signal);
    expect(spin.summary.bytesSent).toBe(100);
  });

  it("stops its sources while disabled, and counts nothing twice afterwards", async () => {
    const source = new Said("conntrack", said());
    const spin = new Spin({ clock: new ManualClock(START), log: silentLog, sources: [source] });
    const control = new AbortController();
    const running = spin.run(control.signal);
    await turn();
    spin.setEnabled(false);
    await turn();
    expect([source.runs, spin.status]).toEqual([1, "Disabled"]);
    spin.setEnabled(true);
    await turn();
    expect([source.runs, spin.status, spin.summary.bytesSent]).toEqual([2, "Running", 100]);
    control.abort();
    await running;
  });

  it("shows in words which of its parts is in trouble", () => {
    const source = new Said("conntrack", []);
    const test = new TestHome({ sources: [source] });
    const told: string[] = [];
    test.spin.subscribe((notice) => notice.kind === "status-changed" && told.push(test.spin.status));
    test.spin.tick();
    source.health = { ...source.health, backend: "procfs", status: "Degraded", lastError: "no helper" };
    test.spin.tick();
    expect([test.spin.status, test.spin.statusReason]).toEqual(["Degraded", "conntrack (procfs): no helper"]);
    source.health = { ...source.health, status: "Error" };
    test.spin.tick();
    test.spin.tick();
    expect(told).toEqual(["Running", "Degraded", "Error"]);
  });
});

describe("the state file", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "spin-usp-home-"))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("with anything else in it gives an empty or a smaller home, never an exception", async () => {
    const clock = new ManualClock(START);
    const test = new TestHome({ store: openStore(directory, silentLog), clock }).network();
    test.lease(1, "192.0.2.10", "camera").flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 2, 200] });
    await test.spin.save();
    const good = openStore(directory, silentLog).load("home") as Record<string, unknown>;
    const bad: unknown[] = [
      null,
      7,
      [],
      "x",
      { devices: 3 },
      { devices: [null, 1, { mac: "x" }, { mac: "02:00:00:00:00:01", number: -1 }] },
    ];
    for (const key of Object.keys(good))
      for (const value of [null, "//8=", -1, [[]], { a: 1 }]) bad.push({ ...good, [key]: value });
    for (const document of bad) {
      writeFileSync(join(directory, "home.json"), JSON.stringify(document));
      const again = new TestHome({ store: openStore(directory, silentLog), clock })
        .network()
        .neighbour(2, "192.0.2.20");
      expect(again.device(2).number).toBeGreaterThan(0);
    }
  });

  it("is written when a device has appeared, soon, and otherwise only each few minutes", async () => {
    const store = memoryStore();
    let saves = 0;
    const counting = { ...store, save: (name: string, value: unknown) => (saves++, store.save(name, value)) };
    const clock = new ManualClock(START);
    const spin = new Spin({ clock, log: silentLog, store: counting, sources: [new Said("conntrack", said())] });
    const control = new AbortController();
    const running = spin.run(control.signal);
    await turn();
    const before = saves;
    for (let second = 0; second < 20; second++) {
      clock.advance(1000);
      spin.tick();
    }
    expect(saves - before).toBe(1);
    for (let second = 0; second < 600; second++) {
      clock.advance(1000);
      spin.tick();
    }
    expect(saves - before).toBe(3);
    control.abort();
    await running;
  });
});
