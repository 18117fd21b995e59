/** A session's Records: built and protected when they leave, held against their protection when they come. */
import type { Envelope, UspRecord } from "../../proto/codec.ts";
import type { Record_PayloadSecurity, SessionContextRecord } from "../../proto/generated/usp-record.ts";
import type { Trust } from "./identity.ts";
import { MAC_BYTES, macHolds, macOf, signatureFault, type Signer } from "./integrity.ts";
import type { SecureChannel } from "./secure.ts";

/** MAC, and what the numbers and tags of a session Record take at most. */
const FIELDS_BYTES = 160;
const NO_BYTES = new Uint8Array(0);
const NO_TRUST: Pick<Trust, "check"> = { check: () => "no certificates are trusted here" };

/** The session that a Record is of, as far as its protection goes. */
export interface Sealed {
  readonly channel: SecureChannel | undefined;
  readonly security: Record_PayloadSecurity;
  readonly isUp: boolean;
}

/** By the MAC of the TLS session, once there is one, else signed where we sign (R-E2E.29, .31, .33). */
export function sealed(
  { channel, security }: Sealed,
  envelope: Envelope,
  value: SessionContextRecord,
  { signer, isHandshake }: { readonly signer: Signer | undefined; readonly isHandshake: boolean },
): UspRecord {
  const record: UspRecord = {
    ...envelope,
    payloadSecurity: security,
    macSignature: NO_BYTES,
    senderCert: NO_BYTES,
    recordType: { $case: "sessionContext", value },
  };
  if (channel?.keys && !isHandshake) return { ...record, macSignature: macOf(record, channel.keys.mine) };
  return signer ? signer.sign(record) : record;
}

/** Bytes that a Record of that size has for payload fields. */
export function roomIn(recordBytes: number, { version, toId, fromId }: Envelope, signer: Signer | undefined): number {
  const ids = 3 * (version.length + toId.length + fromId.length);
  return recordBytes - FIELDS_BYTES - ids - (signer?.overhead ?? 0);
}

/** Why a Record is not the peer's, or not as it sent it (R-E2E.23). `session`: that it is of, where it stands. */
export function integrityFault(
  record: UspRecord,
  session: Sealed | undefined,
  { trust, isProtected }: { readonly trust: Trust | undefined; readonly isProtected: boolean },
): string | undefined {
  if (record.macSignature.length === 0)
    return session?.channel?.keys && !isProtected && session.isUp ? "it has no mac_signature" : undefined;
  if (isMac(record)) {
    // Before the handshake ends nothing can tell; the Record that ends it is checked after it was read.
    if (session?.channel && !session.channel.keys) return undefined;
    if (session && holds(record, session)) return undefined;
  }
  return signatureFault(record, trust ?? NO_TRUST, session?.channel?.peerCertificate);
}

export const holds = (record: UspRecord, { channel }: Sealed): boolean =>
  channel?.keys === undefined || macHolds(record, channel.keys.theirs);

export function isMac({ macSignature, payloadSecurity }: UspRecord): boolean {
  return payloadSecurity !== 0 && macSignature.length === MAC_BYTES;
}
