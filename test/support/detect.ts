/** A capture through SPIN with its detectors, to its end: what incidents came of it. */
import { Readable } from "node:stream";
import { PcapSource } from "../../src/capture/pcap.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Incident } from "../../src/spin/detect/incidents.ts";
import { Spin } from "../../src/spin/spin.ts";

export async function detect(capture: Uint8Array | string): Promise<{ incidents: readonly Incident[]; spin: Spin }> {
  const clock = new ManualClock();
  const source = new PcapSource({ source: typeof capture === "string" ? capture : Readable.from([capture]), clock });
  const spin = new Spin({ clock, log: silentLog, sources: [source] });
  await spin.run(new AbortController().signal);
  // The last attempts have not had their time when the capture ends.
  for (let second = 0; second < 10; second++) {
    clock.advance(1000);
    spin.tick();
  }
  return { incidents: spin.detection.incidents.all(), spin };
}
