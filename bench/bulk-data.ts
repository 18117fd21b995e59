/** Bytes of a report, raw and zipped, for homes of 5, 20 and 50 devices: what a fleet's collector takes at each interval. */
import { gzipSync } from "node:zlib";
import { statsCounter64, string } from "../datamodel/values.ts";
import { encode, type Encoding } from "../src/usp/bulk-data/encode.ts";
import type { Entry, Report } from "../src/usp/bulk-data/report.ts";
import { print } from "./support/table.ts";

/** As they were measured of OB-USP-A's and others' layouts elsewhere: raw (zipped), twelve parameters a device. */
const MEASURED: Readonly<Record<string, readonly string[]>> = {
  ObjectHierarchy: ["1344 (413)", "5240 (997)", "13118 (2157)"],
  NameValuePair: ["2661 (515)", "10728 (1485)", "27036 (3482)"],
  ParameterPerRow: ["3657 (519)", "14664 (1488)", "36852 (3486)"],
};
const DEVICES = [5, 20, 50];
/** The least that an IoT broker meters, a message. */
const METERED = 5_000;

const COUNTERS = [
  "BytesSent",
  "BytesReceived",
  "PacketsSent",
  "PacketsReceived",
  "LocalBytesSent",
  "LocalBytesReceived",
  "FlowsOpened",
  "ActiveFlowCount",
  "DNSQueryCount",
  "BlockedPackets",
  "BlockedBytes",
];

function main(): void {
  for (const format of ["ObjectHierarchy", "NameValuePair", "ParameterPerRow", "ParameterPerColumn"] as const) {
    const sizes = DEVICES.map((devices) => sizeOf(reportOf(devices), encodingOf(format)));
    print({
      figure: `Bytes of a report of ${DEVICES.join(", ")} devices, ${format}`,
      measured: sizes.map(({ raw, zipped }) => `${raw} (${zipped} zipped)`).join(", "),
      target: `≤ ${METERED} zipped`,
      met: sizes.every(({ zipped }) => zipped <= METERED),
      beside: `measured elsewhere: ${MEASURED[format]?.join(", ") ?? "no peer"}`,
    });
  }
  const report = reportOf(500);
  const started = performance.now();
  for (let i = 0; i < 20; i++) encode([report], encodingOf("ObjectHierarchy"));
  print({
    figure: `Writing a report of ${report.entries.length} parameters`,
    measured: `${((performance.now() - started) / 20).toFixed(1)} ms`,
    target: "≤ 20 ms",
    met: (performance.now() - started) / 20 <= 20,
    beside: "no peer",
  });
}

function sizeOf(report: Report, encoding: Encoding) {
  const text = encode([report], encoding);
  return { raw: Buffer.byteLength(text), zipped: gzipSync(text).length };
}

function encodingOf(format: "ObjectHierarchy" | "NameValuePair" | "ParameterPerRow" | "ParameterPerColumn"): Encoding {
  const timestamp = "Unix-Epoch";
  if (format === "ObjectHierarchy" || format === "NameValuePair") return { type: "JSON", format, timestamp };
  return { type: "CSV", format, timestamp, fieldSeparator: ",", rowSeparator: "\r\n", escape: '"' };
}

/** Figures of every size, from a fixed seed. */
function reportOf(devices: number): Report {
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const entries: Entry[] = [];
  const add = (device: number, name: string, text: string, type: Entry["param"]["schema"]["type"]) =>
    entries.push({
      name: `Device.${device}.${name}`,
      path: `Device.X_SPIN.Device.${device}.`,
      text,
      param: { schema: { type } } as Entry["param"],
    });
  for (let device = 1; device <= devices; device++) {
    add(device, "Type", ["Phone", "Camera", "Computer"][device % 3] as string, string());
    for (const name of COUNTERS) add(device, name, `${Math.floor(10 ** (1 + 8 * random()))}`, statsCounter64);
  }
  return { collectedAt: Date.UTC(2026, 10, 24), entries, bytes: 0 };
}

main();
