import { Wakeup } from "../../src/lib/wakeup.ts";

describe("a wait", () => {
  const never = new AbortController().signal;

  test("is cut short by a wake-up", async () => {
    const wakeup = new Wakeup();
    setImmediate(() => wakeup.wake());
    await wakeup.wait(1e8, never);
  });

  test("does not begin after a wake-up that came before", async () => {
    const wakeup = new Wakeup();
    wakeup.wake();
    await wakeup.wait(1e8, never);
  });

  test("uses up the wake-up", async () => {
    const wakeup = new Wakeup();
    wakeup.wake();
    await wakeup.wait(1e8, never);
    const began = performance.now();
    await wakeup.wait(30, never);
    expect(performance.now() - began).toBeGreaterThan(20);
  });

  test("ends with the signal", async () => {
    const stop = new AbortController();
    const waiting = new Wakeup().wait(1e8, stop.signal);
    stop.abort();
    await waiting;
    await new Wakeup().wait(1e8, stop.signal);
  });
});
