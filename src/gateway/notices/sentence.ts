/**
 * What the resident is told, in sentences for people: who, what it looks like, and what was done. Whom it was about is
 * left out unless the configuration wants it: a notice passes through somebody's server.
 */
import { wallTime, type Zone } from "../../lib/local-time.ts";

export interface Notice {
  /** What it is about; a newer notice on the same takes its place while it waits. */
  readonly subject: string;
  readonly kind: "IncidentOpened" | "IncidentClosed" | "DeviceDiscovered";
  readonly severity: string;
  /** Type of the incident; empty of a device. */
  readonly type: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly device: { readonly name: string; readonly physAddress: string };
  readonly text: string;
}

export interface Who {
  readonly name: string;
  readonly physAddress: string;
  /** `Camera`; empty if nobody knows. */
  readonly type: string;
  readonly vendor: string;
}

const LOOKS: Readonly<Record<string, string>> = {
  HostScan: "is trying to reach many addresses in the Internet, as an infected device does",
  PortScan: "is trying one door after another of another machine, as software does that wants to break in",
  ARPScan: "is searching your home network for other devices, as software does that wants to spread",
  AddressSpoofing: "claims an address that belongs to another device of your home",
  Flood: "is sending a flood of packets, as a device does that takes part in an attack",
  TrafficPeak: "is sending far more than it usually does",
  DNSTunnel: "asks for names in a way that software does to smuggle data out",
  NewDestination: "talked to somebody in the Internet whom it had never talked to before",
  ListedPeer: "contacted something that is on one of your lists",
  RuleViolation: "keeps trying what a rule stops",
};
const MAX_NAME = 64;
const MAX_PEERS = 5;

export function whoIs({ name, physAddress, type, vendor }: Who): string {
  const plain = clean(name).slice(0, MAX_NAME);
  if (type !== "") return `the ${kindOf(type)} (${plain || physAddress})`;
  if (plain !== "") return `the device ${plain}`;
  return vendor === ""
    ? `the device ${physAddress}`
    : `the device ${physAddress} (${clean(vendor).slice(0, MAX_NAME)})`;
}

export function opened(who: Who, type: string, summary: string): string {
  return sentence(`${whoIs(who)} ${LOOKS[type] ?? clean(summary)}`);
}

/** @param until Milliseconds since 1970 */
export function blockedUntil(until: number, now: number, zone: Zone): string {
  return ` It has been blocked until ${shown(until, now, zone)}.`;
}

export function closed(who: Who, type: string, since: number, now: number, zone: Zone): string {
  const what = LOOKS[type] === undefined ? "what looked wrong" : `that it ${LOOKS[type]}`;
  return sentence(`${whoIs(who)} is quiet again: ${what}, seen at ${shown(since, now, zone)}, is over`);
}

export function discovered(who: Who): string {
  return sentence(`a new device is in your home network: ${whoIs(who)}`);
}

/** Evidence is a JSON text of the model's. */
export function aboutPeers(evidence: string): string {
  let peers: unknown;
  try {
    peers = (JSON.parse(evidence) as { Peers?: unknown }).Peers;
  } catch {
    return "";
  }
  if (!Array.isArray(peers) || peers.length === 0) return "";
  const named = peers.slice(-MAX_PEERS).map((peer) => clean(String(peer)).slice(0, 256));
  return ` It was about ${named.join(", ")}${peers.length > named.length ? " and others" : ""}.`;
}

/** `21:00`; of another day `Tuesday 21:00`, past a week `2026-11-24 21:00`. */
export function shown(time: number, now: number, zone: Zone): string {
  const wall = new Date(wallTime(zone, time));
  const today = Math.floor(wallTime(zone, now) / 86_400_000);
  const days = Math.abs(Math.floor(wall.getTime() / 86_400_000) - today);
  const clock = wall.toISOString().slice(11, 16);
  if (days === 0) return clock;
  return days < 7 ? `${DAYS[wall.getUTCDay()]} ${clock}` : `${wall.toISOString().slice(0, 10)} ${clock}`;
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** `Camera` becomes `camera`; `TV` stays. */
const kindOf = (type: string) => (/^[A-Z][a-z]/.test(type) ? type.charAt(0).toLowerCase() + type.slice(1) : type);

/** Names come from the devices themselves: no control characters, no line of their own. */
const clean = (text: string) => text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ").trim();

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
