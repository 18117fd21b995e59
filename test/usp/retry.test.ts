/** TR-369's back-off, as R-MQTT.33, R-NOT.1 and R-WS.20 share it. */
import { retryDelay } from "../../src/usp/retry.ts";

/** The defaults of TR-181's MQTT.Client. */
const STANDARD_RETRY = { minimumMs: 5_000, multiplier: 2, maximumMs: 30_720_000 };

const seconds = (attempt: number, random: number, policy = STANDARD_RETRY) =>
  retryDelay(policy, attempt, random) / 1000;

test.each([
  [1, 5, 10],
  [2, 10, 20],
  [3, 20, 40],
  [9, 1280, 2560],
  [10, 2560, 5120],
  [11, 2560, 5120],
  [1000, 2560, 5120],
])("retry %d waits from %d s to less than %d s", (attempt, from, to) => {
  expect(seconds(attempt, 0)).toBe(from);
  expect(seconds(attempt, 0.5)).toBe((from + to) / 2);
  expect(seconds(attempt, 0.999_999)).toBeLessThan(to);
});

test("nothing waits longer than the maximum", () => {
  expect(seconds(10, 0.9, { ...STANDARD_RETRY, maximumMs: 30_000 })).toBe(30);
});

test("a multiplier of 1 keeps the interval", () => {
  expect(seconds(7, 0.9, { minimumMs: 5_000, multiplier: 1, maximumMs: 60_000 })).toBe(5);
});

test("an odd attempt counts as the first", () => {
  expect(seconds(0, 0)).toBe(5);
  expect(seconds(-3, 0)).toBe(5);
});

test("STOMP's first wait is anywhere up to ServerRetryInitialInterval, and the bound grows", () => {
  const policy = { minimumMs: 60_000, multiplier: 2, maximumMs: 200_000, fromZero: true };
  expect([1, 2, 3].map((attempt) => seconds(attempt, 0, policy))).toEqual([0, 0, 0]);
  expect([1, 2, 3, 20].map((attempt) => seconds(attempt, 0.5, policy))).toEqual([30, 60, 100, 100]);
});
