import * as fc from "fast-check";
import { nextDue, ownPhase } from "../../../src/usp/bulk-data/schedule.ts";

const MINUTE = 60_000;

describe("the next report", () => {
  it("is due whole intervals from TimeReference (TR-369 annex A.1: every 15 minutes, one of them at 01:42)", () => {
    const phase = Date.UTC(2020, 0, 1, 1, 42);
    const now = Date.UTC(2026, 5, 1, 12, 30);
    expect(nextDue(now, 15 * MINUTE, phase)).toBe(Date.UTC(2026, 5, 1, 12, 42));
  });

  it("may be counted from a TimeReference to come", () => {
    expect(nextDue(1_000, 10_000, 1_000_003_000)).toBe(3_000);
  });

  it("is after now and not later than an interval, and on the beat", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e12 }),
        fc.integer({ min: 1000, max: 86_400_000 }),
        fc.integer({ min: -4e12, max: 4e12 }),
        (now, interval, phase) => {
          const due = nextDue(now, interval, phase);
          expect(due).toBeGreaterThan(now);
          expect(due - now).toBeLessThanOrEqual(interval);
          expect(Math.abs((due - phase) % interval)).toBe(0);
        },
      ),
    );
  });
});

describe("without a TimeReference", () => {
  it("an agent keeps its own moment over restarts", () => {
    const phase = () => ownPhase("os::00005E-HOME0001", "Device.BulkData.Profile.1.", 900_000);
    expect(phase()).toBe(phase());
  });

  it("the moments of a fleet are spread over the interval", () => {
    const seconds = new Array<number>(15).fill(0);
    for (let i = 0; i < 3000; i++) {
      const phase = ownPhase(`os::00005E-HOME${i}`, "Device.BulkData.Profile.1.", 900_000);
      seconds[Math.floor(phase / MINUTE)]!++;
    }
    // 200 a minute on average; a fair spread stays within five standard deviations (14).
    for (const count of seconds) expect(Math.abs(count - 200)).toBeLessThan(70);
  });
});
