/** Two ends of a session with a wire between them that a test may spoil, on a clock of its own. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { decodeRecord, encodeRecord, type UspRecord } from "../../proto/codec.ts";
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { Budget } from "../../src/session/budget.ts";
import { ENDPOINT_URN, type Identity, type Trust } from "../../src/session/identity.ts";
import { PeerSession, type PeerParts, type PeerSettings, type Verdict } from "../../src/session/peer.ts";

export const AGENT = "os::0005CA-agent";
export const CONTROLLER = "self::controller";

export const PLAIN: PeerSettings = {
  maxRecordBytes: Infinity,
  maxRepeats: 10,
  expiryMs: Infinity,
  isSecure: false,
  retryMs: (attempt, random) => 5000 * 2 ** (attempt - 1) * (1 + random),
};

export class End {
  readonly got: string[] = [];
  readonly out: Uint8Array[] = [];
  readonly notes: string[] = [];
  readonly verdicts: Verdict[] = [];
  readonly peer: PeerSession;
  readonly clock: ManualClock;
  settings: PeerSettings;
  version = "1.4";
  /** Whether its MTP protects what comes. */
  isProtected = false;

  constructor(id: string, toId: string, clock: ManualClock, parts: Partial<PeerParts> = {}, settings = PLAIN) {
    this.clock = clock;
    this.settings = settings;
    this.peer = new PeerSession({
      clock,
      random: () => 0.5,
      settings: () => this.settings,
      limits: { earlyBytes: 1 << 20, sentBytes: 4 << 20, payloadBytes: 1 << 20, queuedBytes: 1 << 20 },
      budget: new Budget(8 << 20),
      envelope: () => ({ version: this.version, fromId: id, toId }),
      givesWay: id === AGENT,
      emit: (record) => {
        this.out.push(encodeRecord(record).slice());
        return Promise.resolve();
      },
      deliver: (message) => this.got.push(Buffer.from(message).toString()),
      changed: () => undefined,
      note: (text) => this.notes.push(text),
      ...parts,
    });
  }

  send(text: string): Promise<void> {
    return this.peer.send(Buffer.from(text));
  }

  take(bytes: Uint8Array): void {
    const decoded = decodeRecord(bytes, { bytes: 32 << 20, elements: 1_000_000 });
    if (!decoded.ok || decoded.record.recordType.$case !== "sessionContext") return;
    this.verdicts.push(this.peer.take(decoded.record, decoded.record.recordType.value, this.isProtected));
  }

  /** What left since, as Records. */
  sent(): UspRecord[] {
    return this.out.map(recordOf);
  }

  flush(): Uint8Array[] {
    return this.out.splice(0);
  }
}

export function pair(
  parts: { agent?: Partial<PeerParts>; controller?: Partial<PeerParts> } = {},
  settings: PeerSettings = PLAIN,
): { agent: End; controller: End; clock: ManualClock } {
  const clock = new ManualClock(1);
  // Different ids of sessions at the two ends.
  const agent = new End(AGENT, CONTROLLER, clock, { random: chance(7), ...parts.agent }, settings);
  const controller = new End(CONTROLLER, AGENT, clock, { random: chance(11), ...parts.controller }, settings);
  return { agent, controller, clock };
}

/** Hands over what left, both ways, until nothing more leaves. */
export async function exchange(...[one, other]: [End, End]): Promise<void> {
  for (let quiet = 0, round = 0; quiet < 8 && round < 1000; round++) {
    const both = [one.flush(), other.flush()] as const;
    for (const record of both[0]) other.take(record);
    for (const record of both[1]) one.take(record);
    quiet = both[0].length + both[1].length === 0 ? quiet + 1 : 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function recordOf(bytes: Uint8Array): UspRecord {
  const decoded = decodeRecord(bytes, { bytes: 32 << 20, elements: 1_000_000 });
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.record;
}

export function sessionOf({ recordType }: UspRecord): SessionContextRecord {
  if (recordType?.$case !== "sessionContext") throw new Error(`it is a ${recordType?.$case}`);
  return recordType.value;
}

/** Numbers in [0, 1), always the same ones. */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

/** An authority, and identities that it gave out. Removed by `remove`. */
export function makeAuthority() {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-session-"));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...ec, "-days", "30", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem");
  const authority = new X509Certificate(readFileSync(join(folder, "ca.pem")));
  let count = 0;
  return {
    /** Of its certificate. */
    pem: readFileSync(join(folder, "ca.pem"), "utf8"),
    identity(endpointId: string): Identity {
      const name = `n${++count}`;
      const san = `subjectAltName=URI:${ENDPOINT_URN}${endpointId}`;
      const request = ["-subj", "/CN=x", "-addext", san, "-addext", "basicConstraints=CA:FALSE"];
      openssl("req", ...ec, ...request, "-keyout", `${name}.key`, "-out", `${name}.csr`);
      const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy"];
      openssl("x509", "-req", "-in", `${name}.csr`, ...signing, "-days", "30", "-out", `${name}.pem`);
      const read = (file: string) => readFileSync(join(folder, file), "utf8");
      return { cert: read(`${name}.pem`), key: read(`${name}.key`) };
    },
    /** Trusts what this authority signed, with the endpoint's id in it. */
    trust(identity?: Identity, signs = false): Trust {
      return {
        ...(identity ? { identity } : {}),
        signs,
        check: (chain, endpointId) => {
          const leaf = chain[0] && new X509Certificate(chain[0]);
          if (!leaf?.verify(authority.publicKey)) return "its certificate is of an authority that is not trusted";
          const names = (leaf.subjectAltName ?? "").split(", ");
          return names.includes(`URI:${ENDPOINT_URN}${endpointId}`)
            ? undefined
            : `its certificate does not name ${endpointId}`;
        },
      };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
