/** Certificates of the configuration: what connections trust and show, and what is revoked. Rows of the model show them. */
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import type { Config } from "../config.ts";
import { readCertificates, readRevoked, type Certificate } from "../lib/certificate.ts";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import type { Persistence } from "../model/persistence.ts";
import { CertificateBook } from "../usp/trust/certificate-book.ts";
import { Challenges } from "../usp/trust/challenges.ts";
import type { Trust } from "../usp/trust/trust.ts";

export interface TrustParts {
  readonly config: Config;
  readonly store: Store;
  readonly persistence: Persistence;
  readonly clock: Clock;
  readonly log: Log;
}

/** Wrong answers to challenges, kept over restarts. */
const ATTEMPTS = "challenge-attempts";

export function makeTrust({ config, store, persistence, clock, log }: TrustParts): Trust {
  const certificates = new CertificateBook({ persistence, clock, log });
  const sections = [...config.mqtt, ...config.stomp, ...config.websockets, ...config.controllers];
  const files = (option: "ca_file" | "cert_file") => new Set(sections.map((section) => section[option]));
  const read = (paths: Iterable<string>, isWhole: boolean) =>
    [...paths].flatMap((path) => {
      const found = parsed(path, readCertificates, log) ?? [];
      return isWhole ? found : found.slice(0, 1);
    });
  const without =
    certificates.configure("authority", read(files("ca_file"), true)) +
    certificates.configure("own", read([...files("cert_file"), config.agent.session_cert_file], false));
  if (without > 0) log.warn(`${without} certificates of the configuration find no row in LocalAgent.Certificate`);
  const challenges = new Challenges({
    clock,
    load: () => store.load(ATTEMPTS),
    save: (attempts) => persistence.include(store.save(ATTEMPTS, attempts)),
  });
  const revoked = new Set(config.agent.crl_file.flatMap((path) => [...(parsed(path, readRevoked, log) ?? [])]));
  let roots: Certificate[] | undefined;
  return {
    certificates,
    challenges,
    inherited: new Map(),
    revoked: () => revoked,
    roots: () => (roots ??= rootCertificates.flatMap(readCertificates)),
  };
}

/** A file that can't be read fails the connections that need it, in words; the model shows what there is. */
function parsed<T extends Certificate[] | Set<string>>(
  path: string,
  parse: (bytes: Buffer) => T,
  log: Log,
): T | undefined {
  if (path === "") return undefined;
  try {
    return parse(readFileSync(path));
  } catch (error) {
    log.warn(`${path}: ${describe(error)}`);
    return undefined;
  }
}
