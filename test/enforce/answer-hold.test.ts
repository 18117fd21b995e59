import { AnswerHold } from "../../src/enforce/answer-hold.ts";
import type { HoldHandlers, Transport } from "../../src/enforce/transport.ts";
import { ManualClock } from "../../src/lib/clock.ts";

/** A hold on a transport that does what the test says. */
function held(options: { able?: boolean } = {}) {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const calls: string[] = [];
  const state: { handlers?: HoldHandlers; arriving?: Promise<void> } = {};
  const holdAnswers = (interfaces: readonly string[], handlers: HoldHandlers) => {
    calls.push(`hold ${interfaces.join()}`);
    state.handlers = handlers;
    return () => void calls.push(`end ${interfaces.join()}`);
  };
  const transport = (options.able === false ? {} : { holdAnswers }) as Transport;
  const hold = new AnswerHold({ transport, clock, arriving: () => state.arriving });
  const ready = async (...interfaces: string[]) => {
    const done = hold.hold(interfaces);
    state.handlers?.onReady();
    await done;
  };
  return { hold, state, calls, clock, ready };
}

describe("holding answers", () => {
  it("begins once for the same interfaces, again for others, and ends with none", async () => {
    const { hold, calls, ready } = held();
    await hold.hold([]);
    expect(calls).toEqual([]);
    await ready("br-lan");
    await hold.hold(["br-lan"]);
    await ready("br-lan", "br-guest");
    await hold.hold([]);
    expect(calls).toEqual(["hold br-lan", "end br-lan", "hold br-lan,br-guest", "end br-lan,br-guest"]);
    expect(hold.note).toBe("");
  });

  it("is not said to be so before the kernel has it", async () => {
    const { hold, state } = held();
    let isReady = false;
    const done = hold.hold(["br-lan"]).then(() => (isReady = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isReady).toBe(false);
    state.handlers?.onReady();
    await done;
  });

  it("releases at once when nothing follows from what was heard, else when the kernel has it, or refused it", async () => {
    const { state, ready } = held();
    await ready("br-lan");
    const released: string[] = [];
    state.handlers?.onHeld(() => released.push("first"));
    expect(released).toEqual(["first"]);
    let arrive: () => void = () => undefined;
    state.arriving = new Promise((resolve) => (arrive = resolve));
    state.handlers?.onHeld(() => released.push("second"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(released).toEqual(["first"]);
    arrive();
    await state.arriving;
    expect(released).toEqual(["first", "second"]);
    state.arriving = Promise.reject(new Error("No space left on device"));
    state.handlers?.onHeld(() => released.push("third"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(released).toEqual(["first", "second", "third"]);
  });

  it("says best effort where answers can't be held, and why", async () => {
    const without = held({ able: false }).hold;
    await without.hold(["br-lan"]);
    expect(without.note).toMatch(/^Best effort: .* without the helper\.$/);
    const { hold, state } = held();
    const done = hold.hold(["br-lan"]);
    state.handlers?.onDown("EPERM: somebody has the queue");
    await done;
    expect(hold.note).toMatch(/^Best effort: .*somebody has the queue\.$/);
    state.handlers?.onReady();
    expect(hold.note).toBe("");
  });

  it("says best effort for ten minutes after answers went on too early", async () => {
    const { hold, state, clock, ready } = held();
    await ready("br-lan");
    state.handlers?.onLate(2);
    state.handlers?.onLate(1);
    expect(hold.note).toMatch(/^Best effort: .*\(3\)/);
    clock.advance(11 * 60_000);
    expect([hold.note, hold.late]).toEqual(["", 3]);
    state.handlers?.onLate(1);
    expect(hold.note).toMatch(/\(1\)/);
  });
});
