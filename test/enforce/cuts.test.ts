/** Flows that many rules end at once. */
import { Cuts } from "../../src/enforce/cuts.ts";
import type { FlowFilter } from "../../src/enforce/transport.ts";

const filter = (device: string): FlowFilter => ({ devices: [device], destinations: undefined, spared: [] });

function passes(outcome: (nth: number) => Promise<void>) {
  const seen: (readonly string[])[] = [];
  const cuts = new Cuts((filters) => {
    seen.push(filters.map(({ devices }) => devices?.[0] ?? "any"));
    return outcome(seen.length);
  });
  return { cuts, seen };
}

describe("flows that are ended", () => {
  it("go in one pass when they were asked for together, and in the next when one is under way", async () => {
    let end: () => void = () => undefined;
    const { cuts, seen } = passes((nth) => (nth === 1 ? new Promise((done) => (end = done)) : Promise.resolve()));
    const first = [cuts.add(filter("192.0.2.1")), cuts.add(filter("192.0.2.2"))];
    await new Promise((done) => setImmediate(done));
    const second = [cuts.add(filter("192.0.2.3")), cuts.add(filter("192.0.2.4"))];
    await new Promise((done) => setImmediate(done));
    expect(seen).toEqual([["192.0.2.1", "192.0.2.2"]]);
    end();
    await Promise.all([...first, ...second]);
    expect(seen).toEqual([
      ["192.0.2.1", "192.0.2.2"],
      ["192.0.2.3", "192.0.2.4"],
    ]);
  });

  it("fail for those who asked for the pass, not for those who come after", async () => {
    const { cuts } = passes((nth) => (nth === 1 ? Promise.reject(new Error("busy")) : Promise.resolve()));
    await expect(cuts.add(filter("192.0.2.1"))).rejects.toThrow("busy");
    await expect(cuts.add(filter("192.0.2.2"))).resolves.toBeUndefined();
  });
});
