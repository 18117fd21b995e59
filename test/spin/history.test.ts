/** What a device moved in each minute, hour and day: across restarts, clocks that are set, and slots that change hands. */
import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore, type Store } from "../../src/lib/store.ts";
import type { Report, SpanName } from "../../src/spin/history.ts";
import type { SpinOptions } from "../../src/spin/spin.ts";
import { START, TestHome } from "./home.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A clock whose wall can be set while the time goes on. */
class WallClock extends ManualClock {
  #set = 0;
  override now(): number {
    return super.now() + this.#set;
  }
  set(ms: number): void {
    this.#set += ms;
  }
}

/** A home with one device, whose time passes second by second. */
class Watched extends TestHome {
  readonly wall: WallClock;
  #total = 0;

  constructor(options: Partial<SpinOptions> & { clock?: WallClock } = {}) {
    const clock = options.clock ?? new WallClock(START);
    super({ ...options, clock });
    this.wall = clock;
  }

  static begin(options: Partial<SpinOptions> & { clock?: WallClock } = {}): Watched {
    const home = new Watched(options);
    home.network().neighbour(1, "192.0.2.10");
    return home;
  }

  /** The device sends so many bytes, and gets twice as many. */
  sends(bytes: number): this {
    this.#total += bytes;
    this.neighbour(1, "192.0.2.10");
    return this.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, this.#total, 1, 2 * this.#total] });
  }

  /** As its flow goes on in another life of the agent. */
  goesOn(before: Watched): this {
    this.#total = before.#total;
    return this;
  }

  /** @param step How far apart the ticks are. */
  pass(ms: number, step = SECOND): this {
    for (let left = ms; left > 0; left -= step) {
      this.wall.advance(Math.min(step, left));
      this.spin.tick();
    }
    return this;
  }

  /** Time that nobody watched. */
  jump(ms: number): this {
    this.wall.advance(ms);
    this.spin.tick();
    return this;
  }

  set(ms: number): this {
    this.wall.set(ms);
    this.spin.tick();
    return this;
  }

  report(span: SpanName, device: number | undefined = this.device(1).number): Report {
    return this.spin.history.report(span, device) as Report;
  }

  /** The last samples, oldest first: bytes sent, with a question mark where they are suspect. */
  last(span: SpanName, count: number, device?: number): string {
    const { bytesSent, suspect } = this.report(span, device);
    return bytesSent
      .map((bytes, k) => `${bytes}${suspect[k] === 1 ? "?" : ""}`)
      .slice(-count)
      .join(" ");
  }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe("a minute, an hour, a day", () => {
  test("end where the UTC clock says, and what was moved stands in the one it was moved in", () => {
    const home = Watched.begin()
      .pass(10 * SECOND)
      .sends(100)
      .pass(50 * SECOND)
      .sends(7)
      .pass(MINUTE)
      .pass(MINUTE);
    expect(home.last("Minute", 4)).toBe("0? 100 7 0");
    expect(home.report("Minute").bytesReceived.slice(-3)).toEqual([200, 14, 0]);
    expect(home.spin.history.end("Minute")).toBe(START + 3 * MINUTE);
    expect(home.last("Hour", 1)).toBe("0?");
    home.pass(HOUR - 3 * MINUTE);
    expect(home.last("Hour", 2)).toBe("0? 107");
    home.sends(1000).pass(DAY - HOUR, MINUTE);
    expect(home.last("Day", 2)).toBe("0? 1107");
    expect(home.spin.history.end("Day")).toBe(START + DAY);
    expect(home.last("Hour", 24).split(" ").slice(0, 3)).toEqual(["107", "1000", "0"]);
  });

  test("are 60, 48 and 35 from the first on, and what lies before is zero and suspect", () => {
    const home = Watched.begin();
    for (const [span, samples] of [
      ["Minute", 60],
      ["Hour", 48],
      ["Day", 35],
    ] as const) {
      const report = home.report(span);
      for (const list of [report.bytesSent, report.bytesReceived, report.blockedPackets])
        expect(list).toEqual(Array(samples).fill(0));
      expect(report.suspect).toEqual(Array(samples).fill(1));
    }
  });

  test("the home has the sum of its devices, and of those forgotten", async () => {
    const home = Watched.begin()
      .pass(20 * SECOND)
      .neighbour(2, "192.0.2.20")
      .sends(100);
    home.flows({ id: 2, from: "192.0.2.20", to: "198.51.100.8", sourcePort: 4, counters: [1, 30, 0, 0] });
    await home.spin.forget(home.device(2).number);
    home.pass(40 * SECOND);
    expect(home.last("Minute", 1)).toBe("100");
    expect(home.spin.history.report("Minute")?.bytesSent.at(-1)).toBe(130);
  });

  test("after 36 days of traffic each ring holds its last intervals, all of them sound", () => {
    const home = Watched.begin();
    for (let hour = 0; hour < 36 * 24; hour++) home.sends(1 + hour).pass(HOUR, MINUTE);
    const { bytesSent, suspect } = home.report("Day");
    expect(bytesSent.at(-1)).toBe(sum(Array.from({ length: 24 }, (_, k) => 1 + 35 * 24 + k)));
    expect(bytesSent[0]).toBe(sum(Array.from({ length: 24 }, (_, k) => 1 + 24 + k)));
    expect(suspect).toEqual(Array(35).fill(0));
    expect(home.report("Hour").bytesSent).toEqual(Array.from({ length: 48 }, (_, k) => 34 * 24 + 1 + k));
    expect(home.report("Minute").bytesSent).toEqual([36 * 24, ...Array<number>(59).fill(0)]);
  });

  test("a device that comes later is not known before: its earlier samples are suspect, the home's are not", () => {
    const home = Watched.begin().pass(5 * MINUTE);
    home.neighbour(2, "192.0.2.20").pass(2 * MINUTE);
    expect(home.last("Minute", 3, home.device(2).number)).toBe("0? 0 0");
    expect(home.spin.history.report("Minute")?.suspect.slice(-7)).toEqual(Array(7).fill(0));
  });
});

describe("what was not watched", () => {
  test("is suspect while capture is off or its source of flows is broken, and the rest is not", () => {
    const health = { status: "Running" as "Running" | "Error", backend: "", lastError: "" };
    const counts = { observations: 0, lost: 0, resyncs: 0, decodeErrors: 0 };
    const source = { name: "conntrack", run: () => Promise.resolve(), health: Object.assign(health, counts) };
    const home = Watched.begin({ sources: [source] }).pass(MINUTE);
    home.spin.setEnabled(false);
    home.pass(2 * MINUTE);
    home.spin.setEnabled(true);
    home.pass(2 * MINUTE);
    expect(home.last("Minute", 5)).toBe("0 0? 0? 0? 0");
    health.status = "Error";
    home.pass(MINUTE);
    health.status = "Running";
    home.pass(2 * MINUTE);
    expect(home.last("Minute", 3)).toBe("0? 0? 0");
    home.pass(HOUR);
    expect(home.last("Hour", 1)).toBe("0");
  });

  test("is suspect where the process stood still, and what was counted then is not told for one minute", () => {
    const home = Watched.begin()
      .pass(MINUTE)
      .jump(5 * MINUTE)
      .sends(50)
      .pass(2 * MINUTE);
    expect(home.last("Minute", 8)).toBe("0 0? 0? 0? 0? 0? 50? 0");
  });
});

describe("a restart", () => {
  test("in the middle of a minute goes on in the same minute; a short one is no gap", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store })
      .pass(MINUTE)
      .sends(100)
      .pass(30 * SECOND)
      .sends(10);
    await first.spin.save();
    first.wall.advance(3 * SECOND);
    const second = new Watched({ store, clock: first.wall }).goesOn(first);
    second.network();
    second
      .sends(5)
      .pass(27 * SECOND)
      .pass(MINUTE);
    expect(second.last("Minute", 3)).toBe("0 115 0");
    expect(second.spin.history.report("Minute")?.bytesSent.slice(-2)).toEqual([115, 0]);
    second.pass(HOUR - 3 * MINUTE);
    expect(second.last("Hour", 1)).toBe("115");
  });

  test("after hours: the minutes between are zero and suspect, the day goes on", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store })
      .sends(100)
      .pass(10 * MINUTE);
    await first.spin.save();
    first.wall.advance(3 * HOUR);
    const second = new Watched({ store, clock: first.wall });
    second.spin.tick();
    expect(second.last("Hour", 4)).toBe("0? 100? 0? 0?");
    expect(second.last("Minute", 60)).toBe(`0?${" 0?".repeat(59)}`);
    second.pass(DAY - 3 * HOUR - 10 * MINUTE, MINUTE);
    expect(second.last("Day", 1)).toBe("100?");
  });

  test("of a gateway that starts in the past waits for the time, and forgets nothing", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store })
      .sends(100)
      .pass(10 * MINUTE);
    await first.spin.save();
    first.wall.set(-300 * DAY);
    first.wall.advance(MINUTE);
    const second = new Watched({ store, clock: first.wall }).pass(30 * SECOND);
    expect(second.last("Minute", 10).split(" ")[0]).toBe("100");
    second.set(300 * DAY).pass(30 * SECOND);
    expect(second.last("Minute", 12)).toBe(`100${" 0".repeat(9)} 0? 0?`);
  });

  test("from a state that has no history, or one that is damaged, begins anew and counts nothing twice", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store })
      .sends(100)
      .pass(2 * MINUTE);
    await first.spin.save();
    const history = store.load("history") as Record<string, unknown>;
    const damaged = [
      undefined,
      7,
      {},
      { ...history, at: "now" },
      { ...history, spans: "" },
      { ...history, spans: 5 },
      { ...history, devices: [[1, "!!!"], 5, [1, "/////////////////////w=="], [99, ""]] },
    ];
    for (const each of damaged) {
      const copy = memoryStore();
      await copy.save("home", store.load("home"));
      if (each !== undefined) await copy.save("history", each);
      const again = new Watched({ store: copy, clock: first.wall }).pass(2 * MINUTE);
      expect(again.report("Minute").bytesSent.slice(-2)).toEqual([0, 0]);
      first.wall.set(-2 * MINUTE);
    }
  });

  test("after kill -9: what was moved since the hour's save is in its hour and its day, and in no minute", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store });
    await first.spin.save();
    const home = store.load.bind(store, "home");
    first.pass(5 * MINUTE).sends(100);
    const history = store.load("history");
    await first.spin.save();
    // The counters were saved once more, the history was not.
    const left = memoryStore();
    await left.save("home", home());
    await left.save("history", history);
    first.wall.advance(MINUTE);
    const second = new Watched({ store: left, clock: first.wall }).pass(MINUTE);
    expect(sum(second.report("Minute").bytesSent)).toBe(0);
    expect(second.last("Minute", 7)).toBe("0? 0? 0? 0? 0? 0? 0?");
    second.pass(HOUR - 7 * MINUTE);
    expect(second.last("Hour", 1)).toBe("100?");
    second.pass(DAY - HOUR, MINUTE);
    expect(second.last("Day", 1)).toBe("100");
  });

  test("finds what is written once an hour and when the agent stops, and at no other time", async () => {
    const store = memoryStore();
    let writes = 0;
    const counting: Store = {
      ...store,
      save: (name, value) => {
        if (name === "history") writes++;
        return store.save(name, value);
      },
    };
    const home = Watched.begin({ store: counting });
    const stopping = new AbortController();
    const running = home.spin.run(stopping.signal);
    await new Promise((resolve) => setImmediate(resolve));
    home.sends(100).pass(3 * HOUR + MINUTE, 10 * SECOND);
    expect(writes).toBe(3);
    stopping.abort();
    await running;
    expect(writes).toBe(4);
    expect(new Watched({ store, clock: home.wall }).last("Hour", 3)).toBe("100 0 0");
  });

  test("keeps every figure: what is loaded is what was saved", async () => {
    const store = memoryStore();
    const first = Watched.begin({ store });
    for (let minute = 0; minute < 200; minute++) first.sends((minute * 7919) % 5 === 0 ? 3e9 + minute : 0).pass(MINUTE);
    await first.spin.save();
    const second = new Watched({ store, clock: first.wall });
    for (const span of ["Minute", "Hour", "Day"] as const)
      for (const device of [1, undefined])
        for (const key of ["bytesSent", "bytesReceived", "blockedPackets", "suspect"] as const)
          expect(second.spin.history.report(span, device)?.[key]).toEqual(
            first.spin.history.report(span, device)?.[key],
          );
  });
});

describe("a clock that is set", () => {
  test("a day forward: the gap is zero and suspect, nothing is lost and nothing counts twice", () => {
    const home = Watched.begin()
      .pass(HOUR)
      .sends(100)
      .pass(10 * MINUTE)
      .set(DAY)
      .sends(7)
      .pass(2 * MINUTE);
    expect(home.spin.history.end("Minute")).toBe(START + DAY + HOUR + 12 * MINUTE);
    expect(home.last("Minute", 3)).toBe("0? 7? 0");
    expect(home.last("Hour", 25).split(" ").slice(0, 3)).toEqual(["0", "100?", "0?"]);
    expect(home.last("Day", 1)).toBe("100?");
    home.pass(DAY, MINUTE);
    expect(home.last("Day", 2)).toBe("100? 7?");
  });

  test("a day back: history goes on at once, no end lies in the future, no value falls below zero", () => {
    const home = Watched.begin()
      .pass(2 * DAY, MINUTE)
      .sends(100)
      .pass(10 * MINUTE)
      .sends(5)
      .set(-DAY);
    home.sends(2).pass(2 * MINUTE);
    expect(home.spin.history.end("Minute")).toBe(START + DAY + 12 * MINUTE);
    expect(home.last("Minute", 2)).toBe("7? 0");
    for (const span of ["Minute", "Hour", "Day"] as const)
      expect(Math.min(...home.report(span).bytesSent)).toBeGreaterThanOrEqual(0);
    home.pass(DAY - 12 * MINUTE, MINUTE);
    expect(home.last("Day", 2)).toBe("0 107?");
  });

  test("a few seconds back over the end of a minute: the minute goes on with what it had", () => {
    const home = Watched.begin()
      .pass(MINUTE)
      .sends(100)
      .pass(MINUTE + SECOND)
      .sends(5)
      .set(-2 * SECOND);
    expect(home.last("Minute", 1)).toBe("0");
    home.pass(2 * SECOND).pass(MINUTE);
    expect(home.last("Minute", 3)).toBe("0 105 0");
  });

  test("36 days forward: nothing is left of what was, and all of it is suspect", () => {
    const home = Watched.begin()
      .sends(100)
      .pass(10 * MINUTE)
      .set(36 * DAY);
    for (const span of ["Minute", "Hour", "Day"] as const) {
      const { bytesSent, suspect } = home.report(span);
      expect([sum(bytesSent), sum(suspect)]).toEqual([0, suspect.length]);
    }
    home.sends(9).pass(MINUTE);
    expect(home.last("Minute", 1)).toBe("9?");
  });
});

describe("a row that goes", () => {
  test("takes its history along: who comes into its place begins with nothing", async () => {
    const store = memoryStore();
    const home = Watched.begin({ store, limits: { devices: 1 } })
      .sends(100)
      .pass(2 * MINUTE)
      .sends(50);
    const gone = home.device(1).number;
    await home.spin.forget(gone);
    expect(home.spin.history.report("Minute", gone)).toBeUndefined();
    home.neighbour(2, "192.0.2.20").pass(MINUTE);
    const { number } = home.device(2);
    expect(sum(home.report("Minute", number).bytesSent)).toBe(0);
    expect(home.last("Minute", 3, number)).toBe("0? 0? 0");
    expect(home.spin.history.report("Minute")?.bytesSent.slice(-3)).toEqual([100, 0, 50]);
    await home.spin.save();
    const history = store.load("history") as { devices: [number, string][] };
    expect(history.devices.map(([each]) => each)).toEqual([number]);
  });
});

test("of 200 devices that are silent, little is written", async () => {
  const store = memoryStore();
  const home = Watched.begin({ store });
  for (let index = 2; index <= 200; index++) home.neighbour(index, `192.0.2.${index + 20}`);
  home.pass(HOUR);
  await home.spin.save();
  expect(JSON.stringify(store.load("history")).length).toBeLessThan(12_000);
});
