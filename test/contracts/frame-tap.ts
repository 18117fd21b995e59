/** What every FrameTap keeps. */
import type { FrameTap } from "../../src/capture/live/frame-tap.ts";
import { macFromBytes } from "../../src/lib/address.ts";
import { eventually } from "../support/eventually.ts";

export interface TapBed {
  readonly tap: FrameTap;
  readonly interface: string;
  /** Of the two devices behind it. */
  readonly macs: readonly [number, number];
  /** The device sends 200 bytes or more to the gateway, and gets as much. */
  speak(device: 0 | 1): Promise<void>;
}

interface Seen {
  readonly from: number;
  readonly to: number;
  readonly length: number;
  readonly original: number;
  readonly timeMs: number;
}

function watch({ tap, interface: name }: TapBed, request: { mac?: number; snapLength?: number; interface?: string }) {
  const seen: Seen[] = [];
  const state = { ready: 0, error: "" };
  const close = tap.open(
    { interface: name, snapLength: 65_535, ...request },
    {
      onFrame: (bytes, start, end, original, timeMs) =>
        void seen.push({
          from: macFromBytes(bytes, start + 6),
          to: macFromBytes(bytes, start),
          length: end - start,
          original,
          timeMs,
        }),
      onLoss: () => undefined,
      onError: ({ message }) => void (state.error = message),
      onReady: () => void state.ready++,
    },
  );
  return { seen, state, close };
}

const until = (what: string, holds: () => boolean) =>
  eventually(() => Promise.resolve(holds()), Boolean, { what, timeoutMs: 5000 });

export function frameTapContract(bed: () => TapBed): void {
  it("can be used", () => {
    expect(bed().tap.unusable()).toBeUndefined();
  });

  it("shows what one device sends and gets, whole, with its time, and nothing of another", async () => {
    const [mac, other] = bed().macs;
    const { seen, state, close } = watch(bed(), { mac });
    await until("ready", () => state.ready > 0);
    await bed().speak(1);
    await bed().speak(0);
    await until("both ways", () => seen.some(({ from }) => from === mac) && seen.some(({ to }) => to === mac));
    close();
    expect(seen.filter(({ from, to }) => from !== mac && to !== mac)).toEqual([]);
    expect(seen.filter(({ from, to }) => from === other || to === other)).toEqual([]);
    expect(seen.some(({ length, original }) => length >= 214 && original === length)).toBe(true);
    expect(Math.max(...seen.map(({ timeMs }) => timeMs))).toBeGreaterThan(1_600_000_000_000);
  });

  it("shows all of an interface where no device is named", async () => {
    const [first, second] = bed().macs;
    const { seen, state, close } = watch(bed(), {});
    await until("ready", () => state.ready > 0);
    await bed().speak(0);
    await bed().speak(1);
    await until("both, both ways", () =>
      [first, second].every((mac) => seen.some(({ from }) => from === mac) && seen.some(({ to }) => to === mac)),
    );
    close();
  });

  it("cuts at the snap length and says how long the frame was", async () => {
    const [mac] = bed().macs;
    const { seen, state, close } = watch(bed(), { mac, snapLength: 60 });
    await until("ready", () => state.ready > 0);
    await bed().speak(0);
    await until("a long one", () => seen.some(({ original }) => original > 200));
    close();
    expect(Math.max(...seen.map(({ length }) => length))).toBe(60);
  });

  it("shows nothing after it was closed", async () => {
    const [mac] = bed().macs;
    const { seen, state, close } = watch(bed(), { mac });
    await until("ready", () => state.ready > 0);
    close();
    const before = seen.length;
    await bed().speak(0);
    expect(seen.length).toBe(before);
  });

  it("says of an interface that is not there that it is not", async () => {
    const [mac] = bed().macs;
    const { state, close } = watch(bed(), { mac, interface: "none0" });
    await until("an error", () => state.error !== "");
    close();
    expect(state.ready).toBe(0);
    expect(state.error).toMatch(/no such/);
  });
}
