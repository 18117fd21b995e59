/**
 * What every Source keeps, whatever it reads: run inside a `describe`. `start` gives a source with something to see and
 * makes it see; `poke` makes something happen that must show as an observation of one of `kinds`.
 */
import type { Health, Observation, Source } from "../../src/spin/observation.ts";

export interface SourceCase {
  readonly source: Source;
  readonly kinds: readonly Observation["kind"][];
  poke(): Promise<void>;
}

const STATES: readonly Health["status"][] = ["Disabled", "Starting", "Running", "Degraded", "Error"];

export function sourceContract(name: string, start: () => Promise<SourceCase> | SourceCase): void {
  describe(`the source ${name}`, () => {
    test("has a key, says what it sees and how it is, and ends with the signal", async () => {
      const { source, kinds, poke } = await start();
      expect(source.name).toMatch(/^[a-z-]+$/);
      const stop = new AbortController();
      const seen: string[] = [];
      const running = source.run(stop.signal, (observation) => {
        check(observation);
        seen.push(observation.kind);
      });
      await waitFor(`${name} works`, () => source.health.status === "Running" || source.health.status === "Degraded");
      expect(source.health.backend).not.toBe("");
      expect(source.health.status === "Degraded").toBe(source.health.lastError !== "");
      const before = source.health.observations;
      await poke();
      await waitFor(`${name} shows it`, () => kinds.some((kind) => seen.includes(kind)));
      expect(source.health.observations).toBeGreaterThanOrEqual(before);
      expect(source.health.decodeErrors).toBe(0);
      expect(STATES).toContain(source.health.status);
      stop.abort();
      await running;
      const count = seen.length;
      await new Promise((done) => setTimeout(done, 50));
      expect(seen.length).toBe(count);
    });

    test("ends at once when the signal came before", async () => {
      const { source } = await start();
      let seen = 0;
      await source.run(AbortSignal.abort(), () => seen++);
      expect(seen).toBe(0);
    });
  });
}

export async function waitFor(what: string, test: () => boolean): Promise<void> {
  for (const end = Date.now() + 15_000; !test(); await new Promise((done) => setTimeout(done, 10)))
    if (Date.now() > end) throw new Error(`${what}: not within 15 s`);
}

/** The shape that the port promises. */
function check(observation: Observation): void {
  if (observation.kind === "flows") {
    const { columns } = observation;
    expect(columns.length).toBeGreaterThan(0);
    expect(columns.addresses.length).toBeGreaterThanOrEqual(columns.length * 16);
    for (let row = 0; row < columns.length; row++) {
      expect([1, 2, 3]).toContain(columns.event[row]);
      expect(columns.time[row]).toBeGreaterThan(0);
      expect(columns.id[row]).toBeGreaterThanOrEqual(0);
    }
    return;
  }
  expect(observation.time).toBeGreaterThan(0);
  if ("mac" in observation && observation.mac !== undefined) {
    expect(observation.mac).toBeGreaterThan(0);
    expect(observation.mac).toBeLessThan(2 ** 48);
  }
  for (const value of Object.values(observation))
    if (typeof value === "string") expect(value).toMatch(/^[\x20-\x7e]+$/);
}
