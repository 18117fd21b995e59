/**
 * The certificates that the agent knows: authorities that the configuration names, its own, and what controllers gave it.
 * What was given is kept with the rows of `Device.LocalAgent.`; the numbers of all are. No private key is here.
 */
import type { Clock } from "../../lib/clock.ts";
import { readCertificate, type Certificate } from "../../lib/certificate.ts";
import { describe, type Log } from "../../lib/log.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { InstanceNode, ModelTree } from "../../model/implementation.ts";
import type { Persistence } from "../../model/persistence.ts";
import { keysOf } from "../../model/tree.ts";

export const CERTIFICATE_TABLE = "Device.LocalAgent.Certificate.";
const SECURITY_TABLE = "Device.Security.Certificate.";
/** Its rows are kept in the document of the object above. */
const GROUP = "Device.LocalAgent.";
const SUPPORTED = `${CERTIFICATE_TABLE}{i}.`;

/** Some kilobytes each, in memory and on flash. */
const MAX_CERTIFICATES = 255;

/** `own`: shown by the agent. `authority`: named by the configuration. `given`: by a controller, or kept at first use. */
export type CertificateSource = "own" | "authority" | "given";

export interface KnownCertificate {
  readonly instance: number;
  readonly alias: string;
  enabled: boolean;
  readonly certificate: Certificate;
  readonly source: CertificateSource;
  /** Milliseconds since 1970 of the last change. */
  changed: number;
}

export class CertificateBook {
  readonly #rows = new Map<number, KnownCertificate>();
  readonly #persistence: Persistence | undefined;
  readonly #clock: Clock;
  #next = 0;
  /** Counts changes, so that who judged by what is here knows when to judge anew. */
  generation = 0;

  constructor({ persistence, clock, log }: { persistence?: Persistence | undefined; clock: Clock; log: Log }) {
    this.#persistence = persistence;
    this.#clock = clock;
    const saved = persistence?.join(GROUP, SUPPORTED, () => this.#snapshot());
    if (!saved) return;
    for (const [key, texts] of Object.entries(saved.rows)) {
      try {
        this.#restore(Number(key), texts);
      } catch (error) {
        log.error(`${CERTIFICATE_TABLE}${key}. is lost: ${describe(error)}`);
      }
    }
    this.#next = Math.max(saved.next[""] ?? 0, ...this.#rows.keys());
  }

  /**
   * What the configuration names, at the start. One that was named before keeps its number; one that is no longer named
   * goes. @returns how many found no room
   */
  configure(source: "own" | "authority", certificates: readonly Certificate[]): number {
    const wanted = new Map(certificates.map((certificate) => [certificate.fingerprint, certificate]));
    for (const [instance, row] of this.#rows) {
      if (row.source === source && !wanted.has(row.certificate.fingerprint)) this.#rows.delete(instance);
      // The configuration names it now: it is no longer a controller's to delete.
      else if (row.source === "given" && source === "authority" && wanted.has(row.certificate.fingerprint))
        this.#rows.set(instance, { ...row, source, enabled: true });
    }
    let without = 0;
    for (const certificate of wanted.values()) {
      if ([...this.#rows.values()].some((row) => row.source === source && isSame(row, certificate))) continue;
      if (this.#rows.size < MAX_CERTIFICATES) this.#make(certificate, source, "");
      else without++;
    }
    this.#touched();
    return without;
  }

  /** @throws UspError 7005, 7022: where it is there already */
  add(certificate: Certificate, alias: string): KnownCertificate {
    const other = [...this.#rows.values()].find(
      (row) => row.source !== "own" && (isSame(row, certificate) || (alias !== "" && row.alias === alias)),
    );
    if (other) throw new UspError(UspErrorCode.CommandFailed, `${CERTIFICATE_TABLE}${other.instance}. has it already`);
    if (this.#rows.size >= MAX_CERTIFICATES)
      throw new UspError(UspErrorCode.ResourcesExceeded, `${MAX_CERTIFICATES} certificates are known already`);
    const row = this.#make(certificate, "given", alias);
    this.#touched();
    return row;
  }

  /** Removes it for good. @returns how to take that back */
  remove(instance: number): () => void {
    const row = this.#rows.get(instance);
    this.#rows.delete(instance);
    return () => {
      if (row) this.#rows.set(instance, row);
    };
  }

  /** @returns how to take that back */
  enable(row: KnownCertificate, enabled: boolean): () => void {
    const before = row.enabled;
    row.enabled = enabled;
    return () => (row.enabled = before);
  }

  /** A change of the model is final. */
  committed(row?: KnownCertificate): void {
    if (row) row.changed = this.#clock.now();
    this.#touched();
  }

  get(instance: number): KnownCertificate | undefined {
    return this.#rows.get(instance);
  }

  /** In the order of their numbers. */
  all(): KnownCertificate[] {
    return [...this.#rows.values()].sort((a, b) => a.instance - b.instance);
  }

  /** By instance path in `LocalAgent.Certificate.`, without final dot. */
  at(path: string): KnownCertificate | undefined {
    const row = path.startsWith(CERTIFICATE_TABLE)
      ? this.#rows.get(Number(path.slice(CERTIFICATE_TABLE.length)))
      : undefined;
    return row?.source === "own" ? undefined : row;
  }

  #make(certificate: Certificate, source: CertificateSource, alias: string): KnownCertificate {
    const instance = ++this.#next;
    const row = {
      instance,
      alias: alias === "" ? `cpe-${instance}` : alias,
      enabled: true,
      certificate,
      source,
      changed: this.#clock.now(),
    };
    this.#rows.set(instance, row);
    return row;
  }

  #touched(): void {
    this.generation++;
    this.#persistence?.changed(GROUP);
  }

  #restore(instance: number, { DER, Alias, Enable, Source, Changed }: Readonly<Record<string, string>>): void {
    const certificate = readCertificate(Buffer.from(DER ?? "", "base64"));
    const source = (["own", "authority", "given"] as const).find((known) => known === Source) ?? "given";
    const row = { instance, alias: Alias ?? `cpe-${instance}`, enabled: Enable === "true", certificate, source };
    this.#rows.set(instance, { ...row, changed: Number(Changed ?? 0) || 0 });
  }

  #snapshot() {
    const rows = this.all().map(({ instance, alias, enabled, certificate, source, changed }) => [
      `${instance}`,
      {
        DER: Buffer.from(certificate.der).toString("base64"),
        Alias: alias,
        Enable: `${enabled}`,
        Source: source,
        Changed: `${changed}`,
      },
    ]);
    return { next: { "": this.#next }, rows: Object.fromEntries(rows) as Record<string, Record<string, string>> };
  }
}

const isSame = (row: KnownCertificate, { fingerprint }: Certificate) => row.certificate.fingerprint === fingerprint;

/** Makes one known, and tells. @throws UspError 7005, 7022 */
export function addCertificate(
  tree: ModelTree,
  book: CertificateBook,
  certificate: Certificate,
  alias: string,
): KnownCertificate {
  const row = book.add(certificate, alias);
  for (const table of [CERTIFICATE_TABLE, SECURITY_TABLE]) {
    const node = tree.at(`${table}${row.instance}.`);
    if (!node) continue;
    tree.changes.emit({ kind: "created", path: node.path, supportedPath: node.object.path, keys: keysOf(node) });
    tree.changes.value((node.parent as InstanceNode).path, "CertificateNumberOfEntries");
  }
  return row;
}
