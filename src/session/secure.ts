/**
 * Payload security (TR-369 "TLS Payload Encapsulation"): Node's TLS over a stream that goes nowhere. What it writes becomes
 * the payloads of session Records, and the payloads that came are what it reads. It reads at once: what was put in comes
 * out decrypted before `receive` returns.
 */
import { constants } from "node:crypto";
import { Duplex } from "node:stream";
import {
  connect,
  createSecureContext,
  TLSSocket,
  type DetailedPeerCertificate,
  type SecureContextOptions,
} from "node:tls";
import type { Identity } from "./identity.ts";
import type { MacKeys } from "./integrity.ts";

export interface SecureParts {
  readonly identity: Identity;
  /** Default: 1.2 or newer. */
  readonly versions?: TlsVersions;
  /** R-E2E "Session Handshake": who opened the session is the client. */
  readonly isClient: boolean;
  /** Why the peer's chain (DER, leaf first) is not accepted. */
  readonly check: (chain: readonly Uint8Array[]) => string | undefined;
  /** Handshake and other TLS records to send that carry no Message. */
  readonly onFlight: (units: readonly Uint8Array[], isHandshake: boolean) => void;
  readonly onSecure: () => void;
  /** Once; the alert, if there is one to send, was handed to `onFlight` before. */
  readonly onFailed: (reason: string) => void;
}

export type TlsVersions = Pick<SecureContextOptions, "minVersion" | "maxVersion">;

/** R-E2E.36, R-E2E.37 */
const EXPORTER = { label: "EXPORTER-BBF-USP-Record", bytes: 64, context: Buffer.alloc(0) };
/** Authorities in a chain; a longer one is not walked. */
const MAX_CHAIN = 8;

export class SecureChannel {
  readonly #parts: SecureParts;
  readonly #socket: TLSSocket;
  readonly #wire: Duplex;
  #written: Buffer[] = [];
  #read: Buffer[] = [];
  #keys: MacKeys | undefined;
  #peerCertificate: Uint8Array | undefined;
  /** Ends a `send` that TLS will never finish. */
  #abandon: (error: Error) => void = () => undefined;
  #isHandshake = true;
  #isSending = false;
  #isFlushing = false;
  #isOver = false;

  constructor(parts: SecureParts) {
    this.#parts = parts;
    this.#wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        this.#written.push(chunk);
        if (!this.#isSending) this.#flushSoon();
        done();
      },
    });
    const secureContext = contextOf(parts.identity, parts.versions);
    // Whether the chain is good is for `check`: the authorities that count are those of the model, not of the system.
    const socket = parts.isClient
      ? connect({ socket: this.#wire, secureContext, rejectUnauthorized: false })
      : new TLSSocket(this.#wire, { isServer: true, secureContext, requestCert: true, rejectUnauthorized: false });
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read.push(chunk));
    socket.on("error", (error) => this.#fail(error.message));
    socket.on("end", () => this.#fail("the peer ended the TLS session"));
    // Node says it again when the peer tries to negotiate anew.
    socket.once("secure", () => this.#secured());
  }

  /** Of the Records, once the handshake is over. */
  get keys(): MacKeys | undefined {
    return this.#keys;
  }

  get peerCertificate(): Uint8Array | undefined {
    return this.#peerCertificate;
  }

  /** Version and cipher, once it is secure. */
  get cipher(): string | undefined {
    return this.#keys && `${this.#socket.getProtocol()} ${this.#socket.getCipher().name}`;
  }

  /** Takes TLS records; what could be decrypted of them. */
  receive(bytes: Uint8Array): Uint8Array {
    this.#wire.push(bytes);
    const plain = this.#read;
    this.#read = [];
    return plain.length === 1 ? (plain[0] as Buffer) : Buffer.concat(plain);
  }

  /** The TLS records that a Message becomes. One at a time. */
  async send(message: Uint8Array): Promise<Uint8Array[]> {
    this.#flush();
    this.#isSending = true;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#abandon = reject;
        this.#socket.write(message, (error) => (error ? reject(error) : resolve()));
      });
      return this.#takeWritten();
    } finally {
      this.#isSending = false;
    }
  }

  close(): void {
    this.#isOver = true;
    this.#abandon(new Error("the TLS session ended"));
    this.#socket.destroy();
    this.#wire.destroy();
  }

  #secured(): void {
    const chain = chainOf(this.#socket.getPeerCertificate(true));
    const reason = chain.length === 0 ? "the peer shows no certificate" : this.#parts.check(chain);
    if (reason !== undefined) {
      // The only alert that Node sends when asked: close_notify.
      this.#socket.end();
      setImmediate(() => this.#fail(reason));
      return;
    }
    const { bytes, label, context } = EXPORTER;
    const material = this.#socket.exportKeyingMaterial(bytes, label, context);
    const [client, server] = [material.subarray(0, bytes / 2), material.subarray(bytes / 2)];
    this.#peerCertificate = chain[0];
    this.#keys = this.#parts.isClient ? { mine: client, theirs: server } : { mine: server, theirs: client };
    // The last flight of the handshake leaves before anything that needs its end.
    // What a server of 1.3 writes now, session tickets, is no part of the handshake any more.
    if (!this.#parts.isClient && this.#socket.getProtocol() === "TLSv1.3") this.#isHandshake = false;
    setImmediate(() => {
      if (this.#isOver) return;
      this.#flush();
      this.#isHandshake = false;
      this.#parts.onSecure();
    });
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      if (!this.#isSending) this.#flush();
    });
  }

  #flush(): void {
    if (this.#isOver) return;
    const units = this.#takeWritten();
    if (units.length > 0) this.#parts.onFlight(units, this.#isHandshake);
  }

  #takeWritten(): Uint8Array[] {
    const bytes = Buffer.concat(this.#written);
    this.#written = [];
    return tlsRecords(bytes);
  }

  #fail(reason: string): void {
    if (this.#isOver) return;
    this.#flush();
    this.close();
    this.#parts.onFailed(`TLS: ${reason}`);
  }
}

/** "When using TLS12 there will be a payload field for each encrypted TLS record." */
export function tlsRecords(bytes: Buffer): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = at + 5 <= bytes.length ? 5 + bytes.readUInt16BE(at + 3) : bytes.length - at;
    records.push(bytes.subarray(at, at + length));
    at += length;
  }
  return records;
}

/** R-E2E.40, R-E2E.40a, R-E2E.40b, R-E2E.42 */
function contextOf({ cert, key }: Identity, versions: TlsVersions = {}) {
  return createSecureContext({
    cert,
    key,
    minVersion: "TLSv1.2",
    ...versions,
    ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
    ecdhCurve: "P-256",
    sigalgs: "ecdsa_secp256r1_sha256",
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
  });
}

function chainOf(leaf: DetailedPeerCertificate | Record<string, never>): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let each = leaf as DetailedPeerCertificate | undefined; each?.raw && chain.length < MAX_CHAIN;) {
    chain.push(each.raw);
    each = each.issuerCertificate === each ? undefined : each.issuerCertificate;
  }
  return chain;
}
