/**
 * Trust on first use (TR-369 R-SEC.6 to .8): a controller that nobody knows gets a row, with the certificate that it
 * showed, and the untrusted role, until a challenge gives it more. One that stays untrusted and silent is forgotten.
 */
import type { Certificate } from "../../lib/certificate.ts";
import type { Clock } from "../../lib/clock.ts";
import { endpointIdFault } from "../../lib/endpoint-id.ts";
import type { Log } from "../../lib/log.ts";
import { Transaction, type ParamSetting } from "../../model/transaction.ts";
import type { InstanceNode, Tree } from "../../model/tree.ts";
import type { Connection } from "../connection.ts";
import { CERTIFICATE_TABLE, addCertificate, type CertificateBook } from "./certificate-book.ts";

const CONTROLLERS = "Device.LocalAgent.Controller.";
const TRUST = "Device.LocalAgent.ControllerTrust.";
/** Aliases of rows that were made so. */
const ALIAS = "tofu-";

/** Rows of controllers that nobody vouched for: whoever can connect can make one. */
const MAX_UNTRUSTED = 16;
/** How often silence is looked for, at most. */
const CHECK_MS = 60_000;

export interface Newcomer {
  readonly endpointId: string;
  readonly connection: Connection;
  /** What it showed, to be shown again; absent where somebody vouches. */
  readonly keep: Certificate | undefined;
  /** By an authority: then it is not forgotten. */
  readonly isVouchedFor: boolean;
  /** Where it can be reached, over a broker. */
  readonly replyTo: string | undefined;
}

export class FirstUse {
  readonly #tree: Tree;
  readonly #certificates: CertificateBook | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  /** When each was heard last, monotonic; from the agent's start on. */
  readonly #heard = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(tree: Tree, certificates: CertificateBook | undefined, clock: Clock, log: Log) {
    this.#tree = tree;
    this.#certificates = certificates;
    this.#clock = clock;
    this.#log = log;
  }

  /** @throws UspError or Error, in words */
  make({ endpointId, connection, keep, isVouchedFor, replyTo }: Newcomer): void {
    const fault = endpointIdFault(endpointId);
    if (fault !== undefined) throw new Error(fault);
    if (!isVouchedFor && this.#untrusted().length >= MAX_UNTRUSTED)
      throw new Error(`${MAX_UNTRUSTED} controllers wait to be trusted already`);
    const { protocol } = connection.door;
    const transaction = new Transaction(this.#tree);
    const known = keep && this.#certificates?.all().find((row) => isSame(row.certificate, keep));
    const kept = keep && (known ?? (this.#certificates && addCertificate(this.#tree, this.#certificates, keep, "")));
    try {
      const add = (parent: InstanceNode | undefined, table: string, settings: Readonly<Record<string, string>>) =>
        transaction.add(mustBe(parent), mustBe(this.#tree.object(table)), settingsOf(settings)).node;
      const row = add(this.#tree.at("Device.LocalAgent."), CONTROLLERS, { EndpointID: endpointId, Enable: "true" });
      if (!isVouchedFor) transaction.write(row, "Alias", `${ALIAS}${row.instance}`);
      if (kept) transaction.write(row, "Credential", [`${CERTIFICATE_TABLE}${kept.instance}`]);
      const way = add(row, `${CONTROLLERS}{i}.MTP.`, { Enable: "true", Protocol: protocol, Order: "1" });
      const part = this.#tree.at(`${way.path}${protocol}.`);
      const put = (param: string, value: string) => {
        if (part?.object.params.has(param)) transaction.write(part, param, value);
      };
      put("AgentMTPReference", connection.mtp);
      if (replyTo !== undefined) put(protocol === "STOMP" ? "Destination" : "Topic", replyTo);
      transaction.check();
      transaction.commit();
      this.#heard.set(row.path.slice(0, -1), this.#clock.monotonic());
    } catch (error) {
      transaction.rollback();
      if (kept && !known) this.#certificates?.remove(kept.instance);
      throw error;
    }
  }

  /** By row path, without final dot. */
  heard(path: string): void {
    if (this.#heard.has(path)) this.#heard.set(path, this.#clock.monotonic());
  }

  /** Rows changed, or time passed: forgets who was silent for TOFUInactivityTimer. */
  update(): void {
    clearTimeout(this.#timer);
    const trust = this.#tree.at(TRUST);
    const seconds = (trust && (valueOf(trust, "TOFUInactivityTimer") as number)) ?? 0;
    const untrusted = this.#untrusted();
    const paths = new Set(untrusted.map(pathOf));
    for (const path of this.#heard.keys()) if (!paths.has(path)) this.#heard.delete(path);
    if (untrusted.length === 0 || seconds === 0) return;
    const now = this.#clock.monotonic();
    for (const node of untrusted) {
      const last = this.#heard.get(pathOf(node));
      if (last === undefined) this.#heard.set(pathOf(node), now);
      else if (now - last >= seconds * 1000) this.#forget(node, seconds);
    }
    this.#timer = setTimeout(() => this.update(), Math.min(CHECK_MS, seconds * 1000)).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #forget(node: InstanceNode, seconds: number): void {
    const { path } = node;
    const kept = valueOf(node, "Credential") as readonly string[];
    this.#log.info(`${path} was silent for ${seconds} s and is untrusted: it is forgotten`);
    const transaction = new Transaction(this.#tree);
    transaction.remove(node);
    for (const credential of kept) {
      const certificate = this.#tree.at(credential);
      if (certificate && this.#certificates?.at(credential)?.source === "given") transaction.remove(certificate);
    }
    transaction.commit();
  }

  /** Rows that were made so and have no role of their own yet. */
  #untrusted(): InstanceNode[] {
    const table = this.#tree.object(`${CONTROLLERS}{i}.`);
    if (!table) return [];
    return [...this.#tree.all(table)].filter(
      (node) =>
        (valueOf(node, "Alias") as string).startsWith(ALIAS) &&
        (valueOf(node, "AssignedRole") as readonly string[]).length === 0,
    );
  }
}

const pathOf = ({ path }: InstanceNode) => path.slice(0, -1);
const isSame = (one: Certificate, other: Certificate) => one.fingerprint === other.fingerprint;
const valueOf = (node: InstanceNode, name: string): unknown => node.object.params.get(name)?.read(node.row);
const settingsOf = (values: Readonly<Record<string, string>>): ParamSetting[] =>
  Object.entries(values).map(([param, value]) => ({ param, value, required: true }));

function mustBe<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the model lacks a part that every agent has");
  return value;
}
