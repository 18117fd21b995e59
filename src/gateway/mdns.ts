/**
 * DNS-SD over mDNS (TR-369 §"Using mDNS", R-DIS.3…): the agent's own WebSocket ports, told on the home's side alone, where
 * the configuration names interfaces. Queries are answered, changes announced, and a goodbye is said at the end. A bundle of
 * its own (dist/spin-usp-mdns.cjs), read when it is used.
 */
import { networkInterfaces } from "node:os";
import multicastDns from "multicast-dns";
import type { Log } from "../lib/log.ts";
import type { Tree } from "../model/tree.ts";

export interface MdnsParts {
  readonly tree: Tree;
  readonly endpointId: string;
  /** Names of interfaces. */
  readonly interfaces: readonly string[];
  readonly log: Log;
  /** Default: that of mDNS. */
  readonly port?: number;
}

/** A port of the agent that controllers may find. */
export interface Service {
  readonly port: number;
  readonly path: string;
  readonly isEncrypted: boolean;
  /** DeviceInfo.FriendlyName. */
  readonly name: string;
}

interface MdnsRecord {
  readonly name: string;
  readonly type: "PTR" | "SRV" | "TXT" | "A";
  readonly ttl: number;
  readonly flush: boolean;
  readonly data: unknown;
}

const TYPE = "_usp-agt-ws._tcp.local";
const ALL_TYPES = "_services._dns-sd._udp.local";
/** RFC 6762 §10: of records with a host in them, and of the others. */
const HOST_TTL_S = 120;
const TTL_S = 4500;
const GROUP = "224.0.0.251";
/** Between an announcement and its repetition (RFC 6762 §8.3). */
const REPEAT_MS = 1000;

/** Until the signal. Never rejects: what goes wrong is logged. */
export async function runMdns(parts: MdnsParts, signal: AbortSignal): Promise<void> {
  const { endpointId, interfaces, log } = parts;
  if (endpointId.includes("."))
    return log.warn(
      `mDNS: ${endpointId} has a dot, which no single label of a name can have here: nothing is advertised`,
    );
  const addresses = interfaces.flatMap((name) => {
    const address = networkInterfaces()[name]?.find(({ family }) => family === "IPv4")?.address;
    if (address === undefined) log.warn(`mDNS: ${name} has no IPv4 address: nothing is advertised there`);
    return address ?? [];
  });
  await Promise.all(addresses.map((address) => serve(parts, address, signal)));
}

async function serve({ tree, endpointId, log, port }: MdnsParts, address: string, signal: AbortSignal): Promise<void> {
  const mdns = multicastDns({ interface: address, bind: GROUP, ...(port === undefined ? {} : { port }) });
  const failed = (error: Error) => log.warn(`mDNS on ${address}: ${error.message}`);
  mdns.on("error", failed);
  mdns.on("warning", (error: Error) => log.debug(`mDNS on ${address}: ${error.message}`));
  const records = (ttl?: number) => recordsOf(servicesOf(tree), endpointId, address, ttl);
  mdns.on("query", ({ questions }) => {
    const answers = answersTo(questions ?? [], records());
    if (answers.length > 0) mdns.respond({ answers: answers as never[] });
  });
  let last = "";
  const announce = () => {
    const now = records();
    last = JSON.stringify(now);
    if (now.length > 0) mdns.respond({ answers: now as never[] });
  };
  let again: NodeJS.Timeout | undefined;
  const changed = () => {
    clearTimeout(again);
    announce();
    again = setTimeout(announce, REPEAT_MS);
  };
  const unlisten = tree.changes.listen((change) => {
    if (!change.path.startsWith("Device.LocalAgent.MTP.") && change.path !== "Device.DeviceInfo.") return;
    queueMicrotask(() => {
      if (JSON.stringify(records()) !== last) changed();
    });
  });
  mdns.once("ready", changed);
  await new Promise<void>((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  unlisten();
  clearTimeout(again);
  // RFC 6762 §10.1: a goodbye.
  const goodbye = records(0);
  if (goodbye.length > 0)
    await new Promise<void>((resolve) => mdns.respond({ answers: goodbye as never[] }, undefined, () => resolve()));
  await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
}

/** Rows that listen by WebSocket (R-DIS.4), and want to be told (EnableMDNS). */
export function servicesOf(tree: Tree): Service[] {
  const table = tree.object("Device.LocalAgent.MTP.");
  const info = tree.at("Device.DeviceInfo.");
  if (!table || !info) return [];
  return [...tree.all(table)].flatMap((row) => {
    const isOn = (name: string) => tree.text(row, name) === "true";
    const settings = tree.at(`${row.path}WebSocket.`);
    if (!settings || !isOn("Enable") || !isOn("EnableMDNS") || tree.text(row, "Protocol") !== "WebSocket") return [];
    if (tree.text(row, "Status") !== "Up") return [];
    return {
      port: Number(tree.text(settings, "Port")),
      path: tree.text(settings, "Path") ?? "",
      isEncrypted: tree.text(settings, "EnableEncryption") === "true",
      name: tree.text(info, "FriendlyName") ?? "",
    };
  });
}

/** One instance a service; the endpoint id names the first, as R-DIS.9 has it, and `id (2)` a second. */
export function recordsOf(
  services: readonly Service[],
  endpointId: string,
  address: string,
  ttl?: number,
): readonly MdnsRecord[] {
  if (services.length === 0) return [];
  const host = `${endpointId.replace(/[^A-Za-z0-9-]+/g, "-")}.local`;
  const record = (name: string, type: MdnsRecord["type"], seconds: number, data: unknown): MdnsRecord => {
    return { name, type, ttl: ttl ?? seconds, flush: type !== "PTR", data };
  };
  const instances = services.map((service, i) => {
    const name = `${i === 0 ? endpointId : `${endpointId} (${i + 1})`}.${TYPE}`;
    const { path, isEncrypted, port } = service;
    const texts = [`path=${path}`, `name=${service.name}`, ...(isEncrypted ? ["encrypt"] : [])];
    return [
      record(TYPE, "PTR", TTL_S, name),
      record(name, "SRV", HOST_TTL_S, { target: host, port, priority: 0, weight: 0 }),
      record(name, "TXT", TTL_S, texts),
    ];
  });
  return [record(ALL_TYPES, "PTR", TTL_S, TYPE), ...instances.flat(), record(host, "A", HOST_TTL_S, address)];
}

/** What is asked for, and what an answer leads to. */
export function answersTo(
  questions: readonly { readonly name: string; readonly type: string }[],
  records: readonly MdnsRecord[],
): readonly MdnsRecord[] {
  const isAsked = ({ name, type }: MdnsRecord) =>
    questions.some((one) => one.name.toLowerCase() === name.toLowerCase() && (one.type === type || one.type === "ANY"));
  const asked = records.filter(isAsked);
  if (!asked.some(({ name }) => name === TYPE || name.endsWith(`.${TYPE}`))) return asked;
  const more = records.filter((one) => !asked.includes(one) && one.name !== ALL_TYPES && one.name !== TYPE);
  return [...asked, ...more];
}
