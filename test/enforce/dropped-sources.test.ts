import { DroppedSources } from "../../src/enforce/dropped-sources.ts";
import { element } from "../../src/enforce/elements.ts";
import type { CountedElement } from "../../src/enforce/elements.ts";

const MAC = 0x020000000001;
const NOW = Date.UTC(2026, 0, 1);
const source = (address: bigint, expires: number, mac = MAC): CountedElement => ({
  ...element("sources4", [mac, address], "", { expires }),
  packets: 0,
  bytes: 0,
});
const reading = (...elements: CountedElement[]) => new Map([["sources4", elements]]);

describe("sources of dropped packets", () => {
  it("are told once, and again when they were seen again after their element had ended", () => {
    const sources = new DroppedSources();
    sources.read(reading(source(0xc0000207n, NOW + 300_000)));
    expect(sources.take()).toEqual([{ mac: MAC, address: "192.0.2.7" }]);
    // The kernel's clock and ours differ by some.
    sources.read(reading(source(0xc0000207n, NOW + 300_020)));
    expect(sources.take()).toEqual([]);
    sources.read(reading(source(0xc0000207n, NOW + 600_000)));
    expect(sources.take()).toHaveLength(1);
    sources.read(reading());
    sources.read(reading(source(0xc0000207n, NOW + 900_000)));
    expect(sources.take()).toHaveLength(1);
  });

  it("that a device invents are told a few at a time, and another's all the same", () => {
    const sources = new DroppedSources();
    const invented = Array.from({ length: 1000 }, (_, i) => source(0xc0000200n + BigInt(i), NOW + 300_000));
    sources.read(reading(...invented, source(0xc0000207n, NOW + 300_000, MAC + 1)));
    const told = sources.take();
    expect(told.filter(({ mac }) => mac === MAC)).toHaveLength(8);
    expect(told.filter(({ mac }) => mac === MAC + 1)).toHaveLength(1);
  });
});
