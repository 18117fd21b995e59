/**
 * Integrity of a Record's fields other than the payload (TR-369 "Validating the Integrity of the USP Record"): a signature
 * by the sender's certificate, or a MAC from the TLS session that secures the payloads.
 */
import {
  createHmac,
  createPrivateKey,
  sign,
  timingSafeEqual,
  verify,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import type { UspRecord } from "../../proto/codec.ts";
import type { Identity, Trust } from "./identity.ts";

/** R-E2E.39: the two halves of the exported keying material, by who sends. */
export interface MacKeys {
  readonly mine: Uint8Array;
  readonly theirs: Uint8Array;
}

/** A MAC is exactly so long, and no DER signature of P-256 that short is ever made. */
export const MAC_BYTES = 32;
/** What a signature takes at most. */
export const SIGNATURE_BYTES = 72;
/** A certificate in PEM; a longer one is nobody's, and costs time to read. */
const MAX_CERTIFICATE_BYTES = 16 * 1024;

/** R-E2E.32, R-E2E.32.1: all fields but payload and mac_signature, by number, those of the session after those of the Record. */
export function protectedFields({ recordType, ...record }: UspRecord): Buffer {
  const text = [record.version, record.toId, record.fromId].map((field) => Buffer.from(field, "utf8"));
  const parts: Uint8Array[] = [...text, uint32(record.payloadSecurity), record.senderCert];
  if (recordType?.$case === "sessionContext") {
    const { sessionId, sequenceId, expectedId, retransmitId, payloadSarState, payloadrecSarState } = recordType.value;
    parts.push(...[sessionId, sequenceId, expectedId, retransmitId].map(uint64));
    parts.push(uint32(payloadSarState), uint32(payloadrecSarState));
  }
  return Buffer.concat(parts);
}

/** Signs Records in the name of an identity: `ECDSA_P256_SHA256_ASN1` (R-E2E.31). */
export class Signer {
  readonly #key: KeyObject;
  readonly #cert: Uint8Array;

  /** @throws Error if the key is none of P-256, or not that of the certificate */
  constructor({ cert, key }: Identity) {
    this.#key = createPrivateKey(key);
    if (this.#key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
      throw new Error("the key that signs Records has to be one of P-256 (R-E2E.31)");
    this.#cert = Buffer.from(leafOf(cert), "utf8");
    if (!new X509Certificate(this.#cert).checkPrivateKey(this.#key))
      throw new Error("the key is not that of the certificate");
  }

  /** Bytes that signing adds to a Record, at most. */
  get overhead(): number {
    return this.#cert.length + SIGNATURE_BYTES + 16;
  }

  sign(record: UspRecord): UspRecord {
    const named = { ...record, senderCert: this.#cert };
    return { ...named, macSignature: sign("sha256", protectedFields(named), this.#key) };
  }
}

/** Why the signature does not hold; `undefined` if it does. */
export function signatureFault(
  record: UspRecord,
  trust: Pick<Trust, "check">,
  /** Of the peer's certificate in the TLS session, where the Record names none. */
  known?: Uint8Array,
): string | undefined {
  const { senderCert, macSignature, fromId } = record;
  if (senderCert.length > MAX_CERTIFICATE_BYTES) return "sender_cert is too long";
  const source = senderCert.length > 0 ? senderCert : known;
  if (!source) return "it is signed and names no certificate";
  try {
    const certificate = new X509Certificate(source);
    if (!verify("sha256", protectedFields(record), certificate.publicKey, macSignature))
      return "the signature is not one of these fields";
    return trust.check([certificate.raw], fromId);
  } catch (error) {
    return `sender_cert can't be read: ${(error as Error).message}`;
  }
}

/** R-E2E.33 */
export function macOf(record: UspRecord, key: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(protectedFields(record)).digest();
}

export function macHolds(record: UspRecord, key: Uint8Array): boolean {
  const { macSignature } = record;
  return macSignature.length === MAC_BYTES && timingSafeEqual(macOf(record, key), macSignature);
}

export interface MtpProtection {
  /** TLS, or a way that never leaves the machine. */
  readonly isEncrypted: boolean;
  /** The certificate that the MTP showed holds the Record's from_id, or is the one stored for that Controller. */
  readonly namesSender: boolean;
  /** It is that of a broker trusted to vouch for those behind it (R-SEC.26). */
  readonly isTrustedBroker: boolean;
}

/** R-E2E.28: what the MTP protects needs no mac_signature; all else does (R-E2E.29, R-E2E.30). */
export function isProtectedByMtp({ isEncrypted, namesSender, isTrustedBroker }: MtpProtection): boolean {
  return isEncrypted && (namesSender || isTrustedBroker);
}

/** The first certificate of a PEM text, without what stands around it. */
function leafOf(pem: string): string {
  const leaf = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(pem)?.[0];
  if (leaf === undefined) throw new Error("there is no certificate in the PEM text");
  return `${leaf}\n`;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
