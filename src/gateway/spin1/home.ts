/**
 * The home as SPIN 1.0 saw it, over the resident's own socket: one USP controller more, with the resident's rights and none
 * besides, so that what SPIN's tools do is checked, told and kept as all else is. A device's node is its row's number; the
 * others get numbers that no earlier run gave.
 */
import { isIPv4, parseAddress, parseMac, parsePrefix, printMac, canonicalAddress } from "../../lib/address.ts";
import { connectBySocket } from "../../controller/connect-socket.ts";
import type { Controller } from "../../controller/controller.ts";

const ROOT = "Device.X_SPIN.";
const RULES = `${ROOT}Rule.`;
export const LISTS = { block: "Block", ignore: "Ignore", allow: "Allow" } as const;
export type ListName = keyof typeof LISTS;

export type Values = ReadonlyMap<string, string>;

export interface Row {
  readonly number: number;
  /** With its final dot. */
  readonly path: string;
  readonly values: Values;
}

/** What a tool asked for can't be, in words. */
export class Spin1Error extends Error {
  override readonly name = "Spin1Error";
}

/** SPIN's node. */
export interface Node {
  readonly id: number;
  readonly name?: string;
  readonly mac?: string;
  readonly is_blocked?: true;
  readonly is_excepted?: true;
  readonly lastseen: number;
  readonly ips: readonly string[];
  readonly domains: readonly string[];
}

export interface Remote {
  readonly id: number;
  readonly key: string;
  readonly ips: Set<string>;
  readonly domains: Set<string>;
  /** Seconds since 1970. */
  lastSeen: number;
}

/** Peers that have a number. Past them the one that was longest unseen goes. */
const MAX_REMOTES = 4096;
/** Addresses and names that one of them may have. */
const MAX_OF_REMOTE = 16;
/** Below: numbers of devices' rows. */
const FIRST_REMOTE = 1_000_000;
/** Of one question: a page has 500. */
const MAX_PAGES = 4;
const TIMEOUT_MS = 10_000;

export class Spin1Home {
  readonly #socket: string;
  readonly #signal: AbortSignal;
  readonly #remotes = new Map<string, Remote>();
  readonly #byId = new Map<number, Remote>();
  readonly #gone: number[] = [];
  // So many seconds that no number comes twice within a month, whatever is kept of an earlier run at a broker.
  #next = FIRST_REMOTE + (Math.floor(Date.now() / 1000) % 2_000_000) * 1000;
  #controller: Promise<Controller> | undefined;

  constructor(socket: string, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
  }

  /** Over a connection that stands; one that broke is made anew, once. @throws UspError, MtpError, ControllerError */
  async ask<T>(question: (controller: Controller) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      this.#controller ??= connectBySocket(
        {
          url: `unix:${this.#socket}`,
          controllerId: "self::spin1",
          agentId: "",
          timeoutMs: TIMEOUT_MS,
          mqtt: { url: "", version: "5", connectTimeoutMs: TIMEOUT_MS },
        },
        this.#signal,
      );
      const controller = this.#controller;
      try {
        return await question(await controller);
      } catch (error) {
        const isBroken = error instanceof Error && ["MtpError", "ControllerError"].includes(error.name);
        if (!isBroken) throw error;
        if (this.#controller === controller) this.#controller = undefined;
        await controller.then((each) => each.close()).catch(() => undefined);
        if (attempt > 0 || (error as { kind?: string }).kind !== "closed") throw error;
      }
    }
  }

  async close(): Promise<void> {
    const controller = this.#controller;
    this.#controller = undefined;
    await controller?.then((each) => each.close()).catch(() => undefined);
  }

  async rows(name: "Device" | "Rule"): Promise<Row[]> {
    const table = `${ROOT}${name}.`;
    const outcomes = await this.ask((controller) => controller.get([table], { maxDepth: 2 }));
    const rows: Row[] = [];
    for (const { error, objects } of outcomes) {
      if (error !== undefined) throw error;
      for (const { path, params } of objects) {
        const number = /^(\d+)\.$/.exec(path.slice(table.length))?.[1];
        if (number !== undefined) rows.push({ number: Number(number), path, values: params });
      }
    }
    return rows.sort((a, b) => a.number - b.number);
  }

  /** Rows of Query(), newest first, as many as a few pages hold. */
  async query(input: Readonly<Record<string, string>>): Promise<Values[]> {
    const found: Values[] = [];
    let cursor = "";
    for (let page = 0; page < MAX_PAGES; page++) {
      const args = { ...input, Limit: "500", ...(cursor === "" ? {} : { Cursor: cursor }) };
      const output = await this.ask((controller) => controller.run(`${ROOT}Query()`, args));
      const rows = new Map<string, Map<string, string>>();
      for (const [name, value] of output) {
        const [, row, column] = /^Row\.(\d+)\.(\w+)$/.exec(name) ?? [];
        if (row === undefined || column === undefined) continue;
        const values = rows.get(row) ?? new Map<string, string>();
        rows.set(row, values.set(column, value));
      }
      found.push(...rows.values());
      cursor = output.get("NextCursor") ?? "";
      if (cursor === "") break;
    }
    return found;
  }

  /** The peer of that address, or of that name where no address is known. */
  remote(address: string, domain = "", lastSeen = 0): Remote {
    const key = address === "" ? domain : address;
    const known = this.#remotes.get(key) ?? this.#make(key);
    this.#remotes.delete(key);
    this.#remotes.set(key, known);
    if (address !== "") known.ips.add(address);
    if (domain !== "" && known.domains.size < MAX_OF_REMOTE) known.domains.add(domain);
    known.lastSeen = Math.max(known.lastSeen, lastSeen);
    return known;
  }

  remoteById(id: number): Remote | undefined {
    return this.#byId.get(id);
  }

  /** @returns whether there was room for it */
  addAddress(remote: Remote, address: string): boolean {
    if (this.#remotes.has(address) || remote.ips.size >= MAX_OF_REMOTE) return false;
    remote.ips.add(address);
    return true;
  }

  /** Numbers that nobody has any more, once. */
  takeGone(): number[] {
    return this.#gone.splice(0);
  }

  #make(key: string): Remote {
    const remote = { id: this.#next++, key, ips: new Set<string>(), domains: new Set<string>(), lastSeen: 0 };
    this.#byId.set(remote.id, remote);
    this.#remotes.set(key, remote);
    for (const [oldest, { id }] of this.#remotes) {
      if (this.#remotes.size <= MAX_REMOTES) break;
      this.#remotes.delete(oldest);
      this.#byId.delete(id);
      if (this.#gone.length < MAX_REMOTES) this.#gone.push(id);
    }
    return remote;
  }
}

export function addressesOf({ values }: Row): string[] {
  return [...list(values.get("IPv4Address")), ...list(values.get("IPv6Address"))];
}

export const list = (text: string | undefined): string[] => (text ?? "").split(",").filter((each) => each !== "");

export const seconds = (time: string | undefined): number => {
  const at = Date.parse(time ?? "");
  return at > 0 ? Math.floor(at / 1000) : 0;
};

/** Canonical, or with its prefix. @throws Spin1Error */
export function addressOf(text: string): string {
  const prefix = text.includes("/") ? parsePrefix(text) : undefined;
  const address = canonicalAddress(text);
  if (address === undefined && prefix === undefined) throw new Spin1Error(`${quoted(text)} is no IP address`);
  return address ?? text.toLowerCase();
}

/** @throws Spin1Error */
export function macOf(text: string): string {
  const mac = parseMac(text);
  if (mac === undefined) throw new Spin1Error(`${quoted(text)} is no MAC address`);
  return printMac(mac);
}

export function isAddress(text: string): boolean {
  const words = parseAddress(text);
  return words !== undefined && (isIPv4(words) || text.includes(":"));
}

export const quoted = (text: string) => JSON.stringify(text.slice(0, 80));

// ---- Rules that are SPIN's lists -----------------------------------------------------------------------------------

/** What a list's entry or a flow block says: devices, or `*`, and destinations, or `*`. */
export interface Wanted {
  readonly action: string;
  readonly macs: string;
  readonly destinations: readonly string[];
  readonly reason: string;
}

/** Of all protocols and ports, always: what SPIN's lists can say. Whether it works is another question. */
export function isPlain({ values }: Row, action: string): boolean {
  if (values.get("Action") !== action) return false;
  return ["Protocol", "PortList", "Initiator", "Schedule"].every((name) => PLAIN[name] === values.get(name));
}

/** Whether it is meant to hold now. */
export function isMeant({ values }: Row): boolean {
  return values.get("Enable") === "true" && values.get("Status") !== "Expired";
}

const NEVER = "9999-12-31T23:59:59Z";
const PLAIN: Readonly<Record<string, string>> = { Protocol: "-1", PortList: "", Initiator: "Any", Schedule: "" };

/** @returns its path, or that of the rule which says it already */
export async function ensureRule(home: Spin1Home, rules: readonly Row[], wanted: Wanted): Promise<string> {
  const known = findRule(rules, wanted);
  if (known) return known.path;
  // Disabled or expired, it says the same and stands in the way of a new one.
  const twin = rules.find(
    (rule) =>
      isPlain(rule, wanted.action) &&
      rule.values.get("MACAddressList") === wanted.macs &&
      rule.values.get("DestinationList") === wanted.destinations.join(","),
  );
  if (twin) {
    await home.ask((controller) => controller.write(twin.path, { Enable: "true", ExpiryDate: NEVER }));
    return twin.path;
  }
  const values = {
    Enable: "true",
    Action: wanted.action,
    Origin: "User",
    MACAddressList: wanted.macs,
    DestinationList: wanted.destinations.join(","),
    Reason: wanted.reason,
  };
  return home.ask((controller) => controller.create(RULES, values));
}

export function findRule(rules: readonly Row[], { action, macs, destinations }: Wanted): Row | undefined {
  return rules.find((rule) => {
    if (!isPlain(rule, action) || !isMeant(rule)) return false;
    const whose = list(rule.values.get("MACAddressList"));
    const where = list(rule.values.get("DestinationList"));
    return whose.includes(macs) && destinations.every((each) => where.includes(each));
  });
}

/** Takes it out of every rule that says it, and the rule away where nothing is left. */
export async function dropFromRules(home: Spin1Home, rules: readonly Row[], wanted: Wanted): Promise<void> {
  for (const rule of rules) {
    if (!isPlain(rule, wanted.action) || !isMeant(rule)) continue;
    const macs = list(rule.values.get("MACAddressList"));
    const where = list(rule.values.get("DestinationList"));
    const hit = where.filter((each) => wanted.destinations.includes(each));
    if (!macs.includes(wanted.macs) || hit.length === 0) continue;
    const others = where.filter((each) => !hit.includes(each));
    const otherMacs = macs.filter((mac) => mac !== wanted.macs);
    await home.ask(async (controller) => {
      if (otherMacs.length === 0 && others.length === 0) return void (await controller.remove(rule.path));
      if (otherMacs.length === 0) return controller.write(rule.path, { DestinationList: others.join(",") });
      await controller.write(rule.path, { MACAddressList: otherMacs.join(",") });
      // What else it said of this device it goes on saying.
      if (others.length > 0) await ensureRule(home, [], { ...wanted, destinations: others });
    });
  }
}
