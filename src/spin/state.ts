/**
 * The home as it stands in the state file: one document, so that rows, counters and what they have counted of living
 * flows always belong together. Whatever in it is not what it should be is left out, never thrown over.
 */
import { parseAddress, parseMac, printAddress } from "../lib/address.ts";
import type { Baselines } from "./baselines.ts";
import { packBaselines } from "./baselines.ts";
import type { Counters } from "./counters.ts";
import type { Detection } from "./detection.ts";
import type { DeviceTable, SavedDevice } from "./devices.ts";
import type { FlowRows } from "./flow-rows.ts";
import { NameSource, type Names } from "./names.ts";
import type { Merges } from "./merges.ts";
import { Evidence } from "./owners.ts";
import type { Owners } from "./owners.ts";
import type { RuleHits } from "./rules.ts";

export const STATE_DOCUMENT = "home";

export interface StateParts {
  readonly devices: DeviceTable;
  readonly owners: Owners;
  readonly merges: Merges;
  readonly counters: Counters;
  readonly rows: FlowRows;
  readonly baselines: Baselines;
  readonly names: Names;
  readonly detection: Detection;
  /** Both clocks at the moment of saving or loading: deadlines are kept as the wall's. */
  readonly now: number;
  readonly monotonic: number;
}

interface SavedAddress {
  readonly address: string;
  /** Milliseconds since 1970; 0: no lease. */
  readonly leasedUntil: number;
}

interface SavedName {
  readonly device: number;
  readonly address: string;
  readonly names: readonly string[];
  readonly expires: number;
}

/**
 * The document. `readings` are the enforcer's, of what hits and counters hold. Of the names, only what falls under domains
 * that rules name is worth keeping.
 */
export function saveState(
  parts: StateParts,
  reservedNumbers: number,
  hits: Iterable<readonly [number, RuleHits]>,
  underRules: (names: readonly string[]) => boolean,
  readings: unknown,
): unknown {
  const { devices, owners, counters, rows, names, now, monotonic } = parts;
  const wall = (deadline: number) => Math.round(deadline - monotonic + now);
  const savedNames: SavedName[] = [];
  names.eachAlive(monotonic, (slot, words, offset, chain, expires, source) => {
    const device = devices.bySlot(slot);
    // What a device says itself is soon said again, and must not come back as an answer.
    if (device && source === NameSource.Dns && underRules(chain))
      savedNames.push({
        device: device.number,
        address: printAddress(words, offset),
        names: chain,
        expires: wall(expires),
      });
  });
  return {
    version: 1,
    reservedNumbers,
    home: counters.save(counters.home),
    merges: parts.merges.save(),
    devices: devices.save().map((saved) => {
      const { slot } = devices.byNumber(saved.number) as { slot: number };
      const addresses: SavedAddress[] = [];
      owners.each(slot, (words, offset, leasedUntil) =>
        addresses.push({
          address: printAddress(words, offset),
          leasedUntil: leasedUntil > monotonic ? Math.min(wall(leasedUntil), Number.MAX_SAFE_INTEGER) : 0,
        }),
      );
      return { ...saved, counters: counters.save(slot), addresses };
    }),
    hits: [...hits].map(([id, { packets, bytes, lastHit }]) => [id, packets, bytes, lastHit]),
    readings,
    names: savedNames,
    detection: parts.detection.save(),
    flows: packBaselines(rows, parts.baselines),
  };
}

export interface LoadedState {
  readonly reservedNumbers: number;
  readonly hits: Map<number, RuleHits>;
  /** The enforcer's, as it gave them; `undefined`: none were saved. */
  readonly readings: unknown;
}

export function loadState(document: unknown, parts: StateParts): LoadedState {
  const hits = new Map<number, RuleHits>();
  const state = asRecord(document);
  if (!state) return { reservedNumbers: 1, hits, readings: undefined };
  const { devices, counters, baselines } = parts;
  counters.load(counters.home, state["home"]);
  parts.merges.load(state["merges"]);
  for (const entry of asList(state["devices"])) loadDevice(entry, parts);
  for (const entry of asList(state["names"])) loadName(entry, parts);
  for (const entry of asList(state["hits"])) {
    const [id, packets, bytes, lastHit] = asList(entry);
    if (typeof id === "number") hits.set(id, { packets: count(packets), bytes: count(bytes), lastHit: count(lastHit) });
  }
  baselines.load(state["flows"]);
  parts.detection.load(state["detection"]);
  const reservedNumbers = Math.max(count(state["reservedNumbers"]), devices.nextNumber);
  return { reservedNumbers, hits, readings: state["readings"] };
}

function loadDevice(entry: unknown, parts: StateParts): void {
  const { devices, owners, counters, now, monotonic } = parts;
  const saved = asRecord(entry);
  const mac = parseMac(text(saved?.["mac"]));
  const number = count(saved?.["number"]);
  if (!saved || mac === undefined || !Number.isSafeInteger(number) || number < 1) return;
  const device: SavedDevice = {
    number,
    mac: text(saved["mac"]),
    name: text(saved["name"]),
    hostName: text(saved["hostName"]),
    interface: text(saved["interface"]),
    firstSeen: count(saved["firstSeen"]),
    lastSeen: count(saved["lastSeen"]),
    known: count(saved["known"]),
    idle: count(saved["idle"]),
    activeChanged: count(saved["activeChanged"]),
    identity: saved["identity"],
  };
  const row = devices.load(device, mac);
  if (!row) return;
  counters.load(row.slot, saved["counters"]);
  // Listed newest first, and claimed oldest first, so that they come to stand in the same order.
  for (const item of asList(saved["addresses"]).reverse()) {
    const words = parseAddress(text(asRecord(item)?.["address"]));
    if (!words) continue;
    const left = count(asRecord(item)?.["leasedUntil"]) - now;
    const evidence = left > 0 ? Evidence.Lease : Evidence.Confirmed;
    owners.claim(row.slot, words, 0, evidence, monotonic, left > 0 ? monotonic + left : 0);
  }
}

function loadName(entry: unknown, { devices, names, now, monotonic }: StateParts): void {
  const saved = asRecord(entry);
  const row = devices.byNumber(count(saved?.["device"]));
  const words = parseAddress(text(saved?.["address"]));
  const chain = asList(saved?.["names"]).filter((name) => typeof name === "string");
  const left = count(saved?.["expires"]) - now;
  if (row && words && chain.length > 0 && left > 0) names.learn(row.slot, words, 0, chain, left / 1000, monotonic);
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}
