/**
 * TLS of every MTP, in one place, for both ends: versions, trust anchors, client certificates, revocation lists, whose name
 * the peer must bear, and the words for each way in which it fails.
 */
import { constants, createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, checkServerIdentity, rootCertificates } from "node:tls";
import type {
  ConnectionOptions,
  PeerCertificate,
  SecureContextOptions,
  Server,
  TLSSocket,
  TlsOptions as NodeTlsOptions,
} from "node:tls";
import {
  certificateFault,
  judgeChain,
  knownTime,
  readCertificate,
  readCertificates,
  readRevoked,
  type Certificate,
  type ChainRules,
} from "../lib/certificate.ts";
import { MtpError } from "./error.ts";

type Pem = string | Buffer;
type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** What both ends have. PEM text or DER bytes each. */
export interface TlsMaterial {
  /** Trust anchors; absent: the system's roots. */
  readonly ca?: Pem | readonly Pem[];
  /** Revocation lists: a certificate that one of them names is refused, wherever it stands in the chain. */
  readonly crl?: Pem | readonly Pem[];
  readonly cert?: Pem;
  readonly key?: Pem;
  readonly passphrase?: string;
  /** Milliseconds since 1970; before 2020 it is unknown and dates do not count (TR-369 R-MTP.2). Default: the system's. */
  readonly now?: () => number;
  /** Default: 1.2 to 1.3. */
  readonly minVersion?: TlsVersion;
  readonly maxVersion?: TlsVersion;
}

export interface TlsOptions extends TlsMaterial {
  /** Name expected in the peer's certificate, where it differs from the host. */
  readonly serverName?: string;
  /** Endpoint id of the peer: its certificate may name this instead of the host (R-SEC.0a). */
  readonly endpointId?: string;
  /** False takes any certificate: for a laboratory. */
  readonly verify?: boolean;
}

export interface TlsServerOptions extends TlsMaterial {
  readonly cert: Pem;
  readonly key: Pem;
  /** Of peers. A certificate that is shown is judged, whether or not one is required. */
  readonly clientCertificates: "none" | "request" | "require";
  /**
   * Lets certificates of authorities in that are not known here, where whoever takes the connection judges them (trust on
   * first use). Dates and revocation count all the same. Asked for each connection. Default: no.
   */
  readonly anyIssuer?: () => boolean;
}

export function clientContext(host: string, port: number, tls: TlsOptions): ConnectionOptions {
  const name = tls.serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  return {
    host,
    port,
    ...contextOf(tls),
    ...(tls.ca === undefined ? {} : { ca: tls.ca as Pem | Pem[] }),
    ...(name === undefined ? {} : { servername: name }),
    // Without the time OpenSSL's last word hides all others; then `judgeServer` decides alone.
    rejectUnauthorized: tls.verify !== false && timeOf(tls) !== undefined,
    checkServerIdentity: (_, peer) => nameFault(tls.serverName ?? host, tls.endpointId, peer),
  };
}

/**
 * Options of `tls.createServer` and `https.createServer`. Whoever uses them calls `judgeClient` on each new connection;
 * `tlsServer` does.
 */
export function serverContext(tls: TlsServerOptions): NodeTlsOptions {
  return {
    ...contextOf(tls),
    ...(tls.ca === undefined ? {} : { ca: tls.ca as Pem | Pem[] }),
    requestCert: tls.clientCertificates !== "none",
    rejectUnauthorized: false,
    honorCipherOrder: true,
    handshakeTimeout: HANDSHAKE_MS,
  };
}

/**
 * A server that hands over connections whose peer has passed; `refused` is told of the others, in words.
 * Listening and closing are the caller's.
 */
export function tlsServer(
  tls: TlsServerOptions,
  accept: (socket: TLSSocket, chain: readonly Uint8Array[]) => void,
  refused: (error: MtpError) => void,
): Server {
  const server = createServer(serverContext(tls));
  server.on("secureConnection", (socket) => {
    const peer = `${socket.remoteAddress ?? "a peer"}`;
    try {
      accept(socket, judgeClient(socket, tls));
    } catch (error) {
      socket.on("error", () => undefined);
      socket.destroy();
      refused(error instanceof MtpError ? error : new MtpError("tls", `${peer}: ${String(error)}`, { cause: error }));
    }
  });
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
    const why = tlsReason(error) ?? (error.message === "" ? (error.code ?? "TLS failed") : error.message);
    refused(new MtpError("tls", `${socket.remoteAddress ?? "a peer"}: ${why}`, { cause: error }));
  });
  return server;
}

/**
 * Whether a server's peer may come in.
 * @returns its certificates, leaf first, DER; none if it showed none and need not
 * @throws MtpError tls, in words
 */
export function judgeClient(socket: TLSSocket, tls: TlsServerOptions): readonly Uint8Array[] {
  const chain = peerChain(socket);
  const peer = socket.remoteAddress ?? "a peer";
  if (chain.length === 0) {
    if (tls.clientCertificates !== "require") return [];
    throw new MtpError("tls", `${peer}: it shows no client certificate, and one is required`);
  }
  const certificates = chain.map(readCertificate);
  const rules = rulesOf(tls, "client");
  const isAnyIssuer = tls.anyIssuer?.() ?? false;
  const { fault } = isAnyIssuer
    ? (certificates.map((certificate) => certificateFault(certificate, rules)).find((found) => found) ?? {})
    : judgeChain(certificates, anchorsOf(tls), rules);
  const why = fault ?? (isAnyIssuer ? undefined : opensslFault(socket, tls));
  if (why === undefined) return chain;
  throw new MtpError("tls", `${peer}: ${why}`);
}

/** Whether a client's peer is the one that was meant, as far as OpenSSL has not said so. @throws MtpError tls, in words */
export function judgeServer(socket: TLSSocket, host: string, peer: string, tls: TlsOptions): void {
  if (tls.verify === false) return;
  const isTimeKnown = timeOf(tls) !== undefined;
  if (isTimeKnown && tls.crl === undefined) return;
  const chain = peerChain(socket).map(readCertificate);
  const { fault } = judgeChain(chain, anchorsOf(tls), rulesOf(tls, "server"));
  const wrongName = nameFault(tls.serverName ?? host, tls.endpointId, socket.getPeerCertificate());
  const why = fault ?? (wrongName && tlsReason(wrongName));
  if (why !== undefined) throw new MtpError("tls", `${peer}: ${why}`);
}

/** Certificates that the other end showed, with what was known to be above them; leaf first, DER. */
export function peerChain(socket: TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  // Without a certificate there is an empty object.
  let at: Partial<PeerCertificate> & { issuerCertificate?: PeerCertificate } = socket.getPeerCertificate(true) ?? {};
  while (at.raw && chain.length < MAX_CHAIN) {
    const { raw } = at;
    if (chain.some((known) => raw.equals(known))) break;
    chain.push(raw);
    at = at.issuerCertificate ?? {};
  }
  return chain;
}

const MAX_CHAIN = 10;
/** A peer that does not finish its handshake holds a socket no longer than this. */
const HANDSHAKE_MS = 10_000;

/** @throws MtpError tls, where certificate and key are of no use: OpenSSL's own words name neither, or come late. */
function contextOf(tls: TlsMaterial): SecureContextOptions {
  checkPair(tls);
  return {
    minVersion: tls.minVersion ?? "TLSv1.2",
    maxVersion: tls.maxVersion ?? "TLSv1.3",
    // R-MTP: no renegotiation; and a resumed session would not show its certificates again.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
    ...(tls.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
  };
}

function checkPair({ cert, key, passphrase }: TlsMaterial): void {
  if (cert === undefined || key === undefined) return;
  const certificate = readable("certificate", () => new X509Certificate(cert));
  const withWords = passphrase === undefined ? key : { key, passphrase };
  const own = readable("key of our certificate", () => createPrivateKey(withWords));
  if (certificate.checkPrivateKey(own)) return;
  const subject = certificate.subject?.replaceAll("\n", ", ") || "no name";
  throw new MtpError("tls", `the key is not that of the certificate, which is of ${subject}`);
}

function readable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new MtpError("tls", `our TLS can't start: the ${what} can't be read: ${(cause as Error).message}`, { cause });
  }
}

const timeOf = ({ now }: TlsMaterial): number | undefined => knownTime((now ?? Date.now)());

function rulesOf(tls: TlsMaterial, purpose: ChainRules["purpose"]): ChainRules {
  const now = timeOf(tls);
  const revoked = new Set(listOf(tls.crl).flatMap((list) => [...readRevoked(list)]));
  return { purpose, revoked, ...(now === undefined ? {} : { now }) };
}

function anchorsOf({ ca }: TlsMaterial): Certificate[] {
  return (ca === undefined ? rootCertificates : listOf(ca)).flatMap(readCertificates);
}

const listOf = (pem: Pem | readonly Pem[] | undefined): readonly Pem[] =>
  pem === undefined ? [] : typeof pem === "string" || Buffer.isBuffer(pem) ? [pem] : pem;

/** What OpenSSL found wrong besides; without the time its last word is about dates, and hides all others. */
function opensslFault(socket: TLSSocket, tls: TlsMaterial): string | undefined {
  const code = socket.authorizationError as Error | string | undefined;
  if (!code || timeOf(tls) === undefined) return undefined;
  return REASONS[String(code)] ?? String(code);
}

/** By host name, wildcards included (RFC 6125), or by endpoint id. */
function nameFault(name: string, endpointId: string | undefined, peer: PeerCertificate): Error | undefined {
  const fault = checkServerIdentity(name, peer);
  // Node's list ends empty where no name is of the kind that was looked for.
  if (fault?.message.endsWith("list: ")) fault.message += namesOf(peer);
  if (!fault || endpointId === undefined) return fault;
  if (peer.raw && readCertificate(peer.raw).endpointIds.includes(endpointId)) return undefined;
  fault.message += `, nor ${endpointId}`;
  return fault;
}

const namesOf = ({ subjectaltname, subject }: PeerCertificate): string =>
  (subjectaltname ?? (subject?.CN === undefined ? "it names nobody" : `it has CN: ${subject.CN}`)).slice(0, 256);

/** Why TLS failed, in words; `undefined` where the code is none that is known. */
export function tlsReason({ code = "", message }: NodeJS.ErrnoException): string | undefined {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `the peer's certificate is for another name: ${message.replace(/^.*(?:altnames: |cert's (?=CN))/, "")}`;
  const alert = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_(.*)$/.exec(code)?.[1];
  return (alert === undefined ? undefined : ALERTS[alert]) ?? REASONS[code.replace(/^ERR_SSL_/, "")];
}

/** OpenSSL's codes of verification and of the handshake, without their prefix. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the peer's certificate, or one above it, has expired",
  CERT_NOT_YET_VALID: "the peer's certificate, or one above it, is not yet valid; is the time right?",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the peer's certificate is self-signed and not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "the peer's certificate is of an authority that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT: "the peer's certificate is of an authority that is not known",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the peer's certificate is of an authority that is not known",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the peer's certificate is of an authority that is not known",
  CERT_REVOKED: "the peer's certificate is revoked",
  CERT_SIGNATURE_FAILURE: "the peer's certificate is not signed by whom it names",
  CERT_UNTRUSTED: "the peer's certificate is not trusted for this",
  CERT_REJECTED: "the peer's certificate is not for this",
  INVALID_PURPOSE: "the peer's certificate is not for this",
  INVALID_CA: "the peer's certificate was issued by one that is no authority",
  PATH_LENGTH_EXCEEDED: "the peer's certificate is further below its authority than that allows",
  CERT_CHAIN_TOO_LONG: "the peer's certificate is too far below an authority",
  EE_KEY_TOO_SMALL: "the key of the peer's certificate is too small",
  CA_KEY_TOO_SMALL: "the key of an authority of the peer is too small",
  CA_MD_TOO_WEAK: "a signature of the peer's certificates is too weak",
  PEER_DID_NOT_RETURN_A_CERTIFICATE: "the peer shows no certificate, and one is required",
  UNSUPPORTED_PROTOCOL: "the peer's TLS is too old: 1.2 is the least",
  VERSION_TOO_LOW: "the peer's TLS is too old: 1.2 is the least",
  WRONG_SSL_VERSION: "the peer's TLS is of another version",
  WRONG_VERSION_NUMBER: "the peer does not speak TLS there",
  HTTP_REQUEST: "the peer does not speak TLS there",
  PACKET_LENGTH_TOO_LONG: "the peer does not speak TLS there",
  NO_SHARED_CIPHER: "there is no cipher that both ends have",
  NO_CIPHERS_AVAILABLE: "there is no cipher that both ends have",
  NO_SUITABLE_SIGNATURE_ALGORITHM: "there is no signature algorithm that both ends have",
  ERR_TLS_HANDSHAKE_TIMEOUT: "the peer did not finish its handshake in time",
};

/** What the other end says of us (RFC 8446 §6.2). */
const ALERTS: Readonly<Record<string, string>> = {
  CERTIFICATE_REQUIRED: "the peer wants a client certificate, and none was shown",
  HANDSHAKE_FAILURE: "the peer refuses the handshake: no cipher that both ends have, or it wants a client certificate",
  BAD_CERTIFICATE: "the peer refuses our certificate",
  UNSUPPORTED_CERTIFICATE: "the peer refuses our certificate: it is of a kind that it does not take",
  CERTIFICATE_REVOKED: "the peer refuses our certificate: it is revoked",
  CERTIFICATE_EXPIRED: "the peer refuses our certificate: it has expired",
  CERTIFICATE_UNKNOWN: "the peer refuses our certificate",
  UNKNOWN_CA: "the peer refuses our certificate: its authority is not known there",
  ACCESS_DENIED: "the peer takes our certificate but lets us not in",
  DECRYPT_ERROR: "the peer could not check our certificate's signature",
  PROTOCOL_VERSION: "the peer takes no TLS version from 1.2 up",
  INSUFFICIENT_SECURITY: "the peer wants stronger ciphers than there are here",
};
