/** What sessions with one peer are made of and bounded by, and how they stand. */
import type { Envelope, UspRecord } from "../../proto/codec.ts";
import type { Clock } from "../lib/clock.ts";
import type { Budget } from "./budget.ts";
import type { ContextLimits } from "./context.ts";
import type { Trust } from "./identity.ts";
import type { Signer } from "./integrity.ts";
import type { TlsVersions } from "./secure.ts";

export interface PeerSettings {
  /** Greatest Record of a session; Infinity: no bound. */
  readonly maxRecordBytes: number;
  /** How often one Record is sent again. */
  readonly maxRepeats: number;
  /** Without activity; Infinity: never. */
  readonly expiryMs: number;
  /** Whether sessions that we open secure their payloads. */
  readonly isSecure: boolean;
  /** Milliseconds before the n-th attempt; `random` is in [0, 1). */
  readonly retryMs: (attempt: number, random: number) => number;
}

export interface PeerLimits extends ContextLimits {
  /** Of one payload that comes. */
  readonly payloadBytes: number;
  /** Of Messages that wait for a session. */
  readonly queuedBytes: number;
}

export interface PeerParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly settings: () => PeerSettings;
  readonly limits: PeerLimits;
  readonly budget: Budget;
  readonly envelope: () => Envelope;
  /** Where both open a session at one moment, one gives way: the agent. */
  readonly givesWay: boolean;
  readonly trust?: Trust;
  readonly signer?: Signer;
  /** Of payload security; default: 1.2 or newer. */
  readonly tls?: TlsVersions;
  /** Sends a Record; resolves when the MTP took it. */
  readonly emit: (record: UspRecord) => Promise<void>;
  readonly deliver: (message: Uint8Array) => void;
  /** Status, count or due time may be others. */
  readonly changed: () => void;
  /** For an operator. */
  readonly note: (text: string) => void;
}

export type PeerStatus = "Up" | "Negotiating" | "Down";

/** What became of a Record, where that needs something from above. */
export type Verdict = "taken" | "ignored" | "noSecurity";
