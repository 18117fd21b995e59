/** Messages of a controller in a session with its agent, end to end: in plain text or secured. */
import { systemClock } from "../lib/clock.ts";
import { judgeChain, readCertificate, readCertificates } from "../lib/certificate.ts";
import { encodeRecord } from "../../proto/codec.ts";
import { Budget } from "../session/budget.ts";
import type { Identity, Trust } from "../session/identity.ts";
import { Signer } from "../session/integrity.ts";
import { PeerSession, type PeerLimits } from "../session/peer.ts";
import type { OpenSession } from "./exchange.ts";

export interface SessionUse {
  readonly isSecure: boolean;
  /** Needed where it is secure. */
  readonly trust?: Trust;
  /** Greatest Record; default: no bound. */
  readonly maxRecordBytes?: number;
}

/** Answers are whole models. */
const LIMITS: PeerLimits = { earlyBytes: 32 << 20, sentBytes: 16 << 20, payloadBytes: 32 << 20, queuedBytes: 16 << 20 };
const ALL_BYTES = 128 << 20;
/** As often as an agent would (R-E2E.10). */
const RETRY_MS = 5_000;
const LAST_WINDOW = 10;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** What a Controller is given as `openSession`. @throws Error where the identity is of no use */
export function inSession({ isSecure, trust, maxRecordBytes = Infinity }: SessionUse): OpenSession {
  const signer = trust?.identity && trust.signs === true ? new Signer(trust.identity) : undefined;
  const settings = {
    maxRecordBytes,
    maxRepeats: 10,
    expiryMs: Infinity,
    isSecure,
    retryMs: (attempt: number, random: number) => RETRY_MS * 2 ** (Math.min(attempt, LAST_WINDOW) - 1) * (1 + random),
  };
  return ({ envelope, send, deliver, failed }) => {
    let timer: NodeJS.Timeout | undefined;
    const watch = () => {
      clearTimeout(timer);
      const dueIn = peer.nextDue - systemClock.monotonic();
      if (dueIn === Infinity) return;
      timer = setTimeout(
        () => {
          peer.tick();
          watch();
        },
        Math.min(Math.max(dueIn, 0) + 1, MAX_TIMER_MS),
      );
      timer.unref();
    };
    const peer = new PeerSession({
      clock: systemClock,
      random: Math.random,
      settings: () => settings,
      limits: LIMITS,
      budget: new Budget(ALL_BYTES),
      envelope: () => envelope,
      givesWay: false,
      ...(trust ? { trust } : {}),
      ...(signer ? { signer } : {}),
      emit: (record) => send(encodeRecord(record)),
      deliver,
      changed: () => watch(),
      note: failed,
    });
    return {
      send: (message) => peer.send(message),
      take: (record, value) => void peer.take(record, value, false),
      drop: (reason) => peer.drop(reason),
      get isInUse() {
        return peer.isInUse;
      },
      close: () => {
        clearTimeout(timer);
        peer.drop("the controller closed it");
      },
    };
  };
}

/** Trusts what an authority signed, with the endpoint's id in it. PEM. @throws Error where there is no certificate in it */
export function trustIn(authorities: string, identity?: Identity): Trust {
  const anchors = readCertificates(authorities);
  return {
    ...(identity ? { identity } : {}),
    check: (chain, endpointId) => {
      try {
        const certificates = chain.map(readCertificate);
        const { fault } = judgeChain(certificates, anchors, { purpose: "either", now: Date.now() });
        if (fault !== undefined) return fault;
        const named = certificates[0]?.endpointIds ?? [];
        return named.includes(endpointId) ? undefined : `its certificate is of ${named.join(", ") || "no endpoint"}`;
      } catch (error) {
        return `its certificate can't be read: ${(error as Error).message}`;
      }
    },
  };
}
