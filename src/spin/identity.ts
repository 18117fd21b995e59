/**
 * Who a device says it is, and what the gateway's files say of it: kept apart by source, so that a better one outweighs a
 * worse one whichever came last. Whatever a source says is cleaned and bounded here: it comes from packets.
 */
import { guessType, type DeviceType } from "./device-types.ts";
import type { Observation } from "./observation.ts";

export type IdentityObservation = Extract<Observation, { kind: "identity" }>;
export type IdentitySource = IdentityObservation["source"];

/** What is public of it. */
export interface KnownAs {
  readonly hostName: string;
  readonly type: DeviceType;
  /** Empty exactly where `type` is. */
  readonly typeReason: string;
  readonly mudUrl: string;
}

interface Facts {
  hostName?: string;
  vendorClass?: string;
  parameterList?: readonly number[];
  services?: readonly string[];
  model?: string;
  mudUrl?: string;
}

/** The best first: who runs the gateway wrote its files; a lease was asked for; what is multicast costs nothing to claim. */
const SOURCES: readonly IdentitySource[] = ["hosts", "ethers", "dhcp", "dhcpv6", "mdns", "lldp"];
const MAX_HOST_NAME = 253;
/** An option of DHCP holds 255 bytes, as a TLV of LLDP's descriptions does. */
const MAX_TEXT = 255;
const MAX_PARAMETERS = 128;
/** What one device offers: twice what the busiest known ones do. */
const MAX_SERVICES = 32;
/** RFC 6763 §7: a name of at most 15 characters, over TCP or anything else. */
const SERVICE = /^_[a-z0-9-]{1,15}\._(?:tcp|udp)$/;
/** Names that say of no device which it is. */
const NO_NAMES = new Set(["", "*", "localhost", "(none)"]);

export class Identity {
  readonly #facts = new Map<IdentitySource, Facts>();

  /** Takes in what a source says; whether anything is new. An empty host name of a file takes its name back. */
  learn(source: IdentitySource, said: Partial<IdentityObservation>): boolean {
    const before = this.#facts.get(source);
    const facts = { ...before, ...cleaned(said) };
    if (said.services) facts.services = united(before?.services ?? [], said.services);
    if (said.hostName === "" && isFile(source)) delete facts.hostName;
    if (isEqual(before ?? {}, facts)) return false;
    this.#facts.set(source, facts);
    return true;
  }

  /** A file of the gateway names it: somebody wants it known. */
  get isOnFile(): boolean {
    return SOURCES.some((source) => isFile(source) && this.#facts.get(source)?.hostName !== undefined);
  }

  get services(): readonly string[] {
    return united(
      [],
      [...this.#facts.values()].flatMap(({ services }) => services ?? []),
    );
  }

  get vendorClass(): string {
    return this.#best("vendorClass") ?? "";
  }

  get model(): string {
    return this.#best("model") ?? "";
  }

  get parameterList(): readonly number[] {
    return this.#best("parameterList") ?? [];
  }

  /** @param vendor Owner of the hardware address's prefix; empty if unknown */
  knownAs(vendor: string): KnownAs {
    const hostName = this.#best("hostName") ?? "";
    const { vendorClass, model, services, parameterList } = this;
    const guess = guessType({ hostName, vendorClass, model, services, parameterList, vendor });
    return { hostName, type: guess.type, typeReason: guess.reason, mudUrl: this.#best("mudUrl") ?? "" };
  }

  save(): unknown {
    return this.#facts.size === 0 ? undefined : Object.fromEntries(this.#facts);
  }

  /** From a state file: as untrusted as a packet. */
  load(saved: unknown): void {
    if (typeof saved !== "object" || saved === null) return;
    for (const source of SOURCES) {
      const facts = (saved as Record<string, unknown>)[source];
      if (typeof facts === "object" && facts !== null) this.learn(source, facts);
    }
  }

  #best<K extends keyof Facts>(key: K): Facts[K] | undefined {
    for (const source of SOURCES) {
      const value = this.#facts.get(source)?.[key];
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

const isFile = (source: IdentitySource) => source === "hosts" || source === "ethers";

/** Of what was said, what can be used. Never throws, whatever the types are. */
function cleaned(said: Partial<IdentityObservation>): Facts {
  const facts: Facts = {};
  const hostName = cleanHostName(said.hostName);
  if (hostName !== "") facts.hostName = hostName;
  const vendorClass = cleanText(said.vendorClass, MAX_TEXT);
  if (vendorClass !== "") facts.vendorClass = vendorClass;
  const model = cleanText(said.model, MAX_TEXT);
  if (model !== "") facts.model = model;
  const mudUrl = validMudUrl(said.mudUrl);
  if (mudUrl !== "") facts.mudUrl = mudUrl;
  if (Array.isArray(said.parameterList)) {
    const list = (said.parameterList as readonly unknown[])
      .slice(0, MAX_PARAMETERS)
      .filter((code): code is number => Number.isInteger(code) && (code as number) >= 0 && (code as number) <= 255);
    if (list.length > 0) facts.parameterList = list;
  }
  return facts;
}

/** Without what could act on a terminal or a page, in at most so many UTF-16 units, no character cut in two. */
export function cleanText(value: unknown, maxLength: number): string {
  if (typeof value !== "string") return "";
  const text = value
    .slice(0, 4 * maxLength)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\uFFFD]/gu, " ")
    .replace(/\s+/g, " ")
    .trim();
  if (text.length <= maxLength) return text;
  return text
    .slice(0, maxLength)
    .replace(/[\uD800-\uDBFF]$/, "")
    .trim();
}

/** Without the final dot and mDNS's domain; empty where it names nobody. */
export function cleanHostName(value: unknown): string {
  const text = cleanText(value, MAX_HOST_NAME)
    .replace(/\.$/, "")
    .replace(/\.local$/i, "");
  return NO_NAMES.has(text.toLowerCase()) ? "" : text;
}

/**
 * RFC 8520 §10, §17: the URL has the scheme https and fits in a DHCP option. What names a user, or bears anything that a
 * URL has to escape, is none.
 * @returns as it was sent, or ""
 */
export function validMudUrl(value: unknown): string {
  if (typeof value !== "string" || value.length > MAX_TEXT || !/^https:\/\/[\x21-\x7e]+$/i.test(value)) return "";
  if (/["<>\\^`{|}]/.test(value) || !URL.canParse(value)) return "";
  const { hostname, username, password } = new URL(value);
  return hostname === "" || username !== "" || password !== "" ? "" : value;
}

function united(known: readonly string[], more: readonly unknown[]): readonly string[] {
  const all = new Set(known);
  for (const service of more.slice(0, 4 * MAX_SERVICES)) {
    if (all.size >= MAX_SERVICES) break;
    const text = typeof service === "string" ? service.toLowerCase().replace(/\.local\.?$/, "") : "";
    if (SERVICE.test(text)) all.add(text);
  }
  return [...all].sort();
}

function isEqual(a: Facts, b: Facts): boolean {
  const keys = ["hostName", "vendorClass", "parameterList", "services", "model", "mudUrl"] as const;
  return keys.every((key) => String(a[key] ?? "") === String(b[key] ?? ""));
}
