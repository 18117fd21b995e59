/**
 * The controller that the access network names by DHCP: a row of the Controller table, without rights of its own, that is
 * dialled by WebSocket with TLS. DHCP proves nothing: what it may do follows from the certificate it shows, or from a role
 * that somebody gives it. A row that anybody else made is never touched.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseDhcp, type DiscoveredController } from "../lib/dhcp-usp.ts";
import { endpointIdFault } from "../lib/endpoint-id.ts";
import { describe, type Log } from "../lib/log.ts";
import { UspError } from "../lib/usp-error.ts";
import { Transaction } from "../model/transaction.ts";
import type { Tree } from "../model/tree.ts";
import { addRow, mustBe, pathOf, rowWith, setAll } from "./seed-rows.ts";

export interface DiscoveryParts {
  readonly tree: Tree;
  /** Where the DHCP client leaves its options; empty: nowhere. */
  readonly file: string;
  readonly log: Log;
}

const TABLE = "Device.LocalAgent.Controller.";
/** Marks our row; the agent's own aliases begin with `cpe-`. */
const ALIAS = "cpe-dhcp";
/** A lease is renewed in hours: who waits for its first one waits that long for us. */
const INTERVAL_MS = 10_000;

/** Until the signal. Never rejects. */
export async function runDiscovery({ tree, file, log }: DiscoveryParts, signal: AbortSignal): Promise<void> {
  let before = "";
  while (file !== "" && !signal.aborted) {
    const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") log.debug(`${file}: ${error.message}`);
      return "";
    });
    if (text !== before) {
      before = text;
      const found = parseDhcp(text);
      if (found) take(tree, found, log);
      else if (text !== "") log.info(`${file} names no USP controller`);
    }
    await sleep(INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** Makes the row, or brings it up to date. */
export function take(tree: Tree, found: DiscoveredController, log: Log): void {
  const fault = faultOf(found);
  if (fault !== undefined) return log.warn(`the controller that DHCP names is not used: ${fault}`);
  const transaction = new Transaction(tree);
  try {
    const known = rowWith(transaction, TABLE, "EndpointID", found.endpointId);
    const ours = rowWith(transaction, TABLE, "Alias", ALIAS);
    if (known !== undefined && known !== ours)
      return log.info(`DHCP names ${found.endpointId}, which ${known} knows already`);
    if (ours !== undefined && known === undefined) {
      if (isTrusted(tree, ours))
        return log.warn(`DHCP names ${found.endpointId}, but ${ours} was given rights: it stays`);
      remove(transaction, ours);
    }
    const row = known ?? addController(transaction, found.endpointId);
    setAll(transaction, `${row}.`, {
      ProvisioningCode: found.provisioningCode,
      ...(found.retryMinimum === undefined ? {} : { USPNotifRetryMinimumWaitInterval: `${found.retryMinimum}` }),
      ...(found.retryMultiplier === undefined ? {} : { USPNotifRetryIntervalMultiplier: `${found.retryMultiplier}` }),
    });
    route(transaction, row, found);
    transaction.check();
    transaction.commit();
    log.info(`DHCP names the controller ${found.endpointId} at ${found.url}: ${row}`);
  } catch (error) {
    transaction.rollback();
    if (!(error instanceof UspError)) throw error;
    log.warn(`the controller that DHCP names is not used: ${describe(error)}`);
  }
}

function faultOf({ url, endpointId }: DiscoveredController): string | undefined {
  const fault = endpointIdFault(endpointId);
  if (fault !== undefined) return `its endpoint id ${JSON.stringify(endpointId.slice(0, 80))}: ${fault}`;
  const isUsable = /^wss:\/\/[^/?#@\s]+(?:\/[^?#\s]*)?$/.test(url) && URL.canParse(url);
  return isUsable ? undefined : `its URL ${JSON.stringify(url.slice(0, 80))} is not wss://HOST:PORT/PATH`;
}

function addController(transaction: Transaction, endpointId: string): string {
  return pathOf(
    addRow(transaction, "Device.LocalAgent.", TABLE, { Alias: ALIAS, EndpointID: endpointId, Enable: "true" }),
  );
}

/** Somebody gave it a role: what DHCP says no longer takes it away. */
const isTrusted = (tree: Tree, path: string) => tree.text(mustBe(tree.at(path)), "AssignedRole") !== "";

function remove(transaction: Transaction, path: string): void {
  const node = transaction.tree.at(path);
  if (node) transaction.remove(node);
}

function route(
  transaction: Transaction,
  row: string,
  { url, retryMinimum, retryMultiplier }: DiscoveredController,
): void {
  const { hostname, port, pathname } = new URL(url);
  const table = `${TABLE}{i}.MTP.`;
  const { tree } = transaction;
  const [existing] = [...tree.all(mustBe(tree.object(table)))].filter(
    (node) => node.path.startsWith(`${row}.`) && tree.text(node, "Alias") === ALIAS,
  );
  const values = { Alias: ALIAS, Enable: "true", Protocol: "WebSocket", Order: "1" };
  const mtp = pathOf(existing ?? addRow(transaction, `${row}.`, table, values));
  setAll(transaction, `${mtp}.WebSocket.`, {
    Host: hostname.replace(/^\[|\]$/g, ""),
    Port: port === "" ? "443" : port,
    Path: pathname,
    EnableEncryption: "true",
    ...(retryMinimum === undefined ? {} : { SessionRetryMinimumWaitInterval: `${retryMinimum}` }),
    ...(retryMultiplier === undefined ? {} : { SessionRetryIntervalMultiplier: `${retryMultiplier}` }),
  });
}
