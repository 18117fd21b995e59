/**
 * X.509 certificates (RFC 5280): what one says, and whether one leads to another that is trusted. TLS checks what it is
 * shown by itself; this is for what TLS can't be asked: whose endpoint id it is, which authority vouches, which serial
 * number a revocation list names, and all of it while the device does not know what time it is.
 */
import { X509Certificate, type KeyObject } from "node:crypto";
import { derItems, hexOf, readDer, type Der } from "./der.ts";

export interface Certificate {
  readonly der: Uint8Array;
  /** SHA-256 over it, hexadecimal: two are the same exactly if this is. */
  readonly fingerprint: string;
  /** Hexadecimal, as in the certificate. */
  readonly serial: string;
  /** For people: `CN=…, O=…`. */
  readonly issuer: string;
  readonly subject: string;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Names of subjectAltName. */
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  /** USP endpoint ids of its URIs `urn:bbf:usp:id:…` (TR-369 R-SEC.0a), and `fqdn::…` of its DNS names (R-ARC.4a). */
  readonly endpointIds: readonly string[];
  readonly isAuthority: boolean;
  /** Most authorities between this one and a leaf. */
  readonly maxBelow: number;
  /** Object identifiers of extendedKeyUsage; empty: any. */
  readonly purposes: readonly string[];
  /** It makes a critical demand that is not understood here. */
  readonly isStrange: boolean;
  readonly signatureAlgorithm: string;
  /** Issuer and serial number: what revocation lists name. */
  readonly identity: string;
  readonly x509: X509Certificate;
}

/** More than any that is in use; one that is larger is not read. */
export const MAX_CERTIFICATE_BYTES = 16_384;
/** Longest way from a leaf to what is trusted. */
const MAX_CHAIN = 8;
/** Certificates of one PEM text that are read: the system's bundle has some 150. */
const MAX_PEM_CERTIFICATES = 512;

const URN = "urn:bbf:usp:id:";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ANY_PURPOSE = "2.5.29.37.0";

/** @throws Error in words where the bytes are no certificate */
export function readCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > MAX_CERTIFICATE_BYTES)
    throw new Error(`a certificate of ${bytes.length} bytes is more than is read`);
  try {
    const x509 = new X509Certificate(bytes);
    const der = new Uint8Array(x509.raw);
    return { ...factsOf(der, x509), der, x509 };
  } catch (error) {
    throw new Error(`no X.509 certificate: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** All certificates of a PEM text, or the one of DER bytes. @throws Error in words */
export function readCertificates(text: string | Uint8Array): Certificate[] {
  if (typeof text !== "string" && text[0] === 0x30) return [readCertificate(text)];
  return pemBlocks(text, "CERTIFICATE").map(readCertificate);
}

function pemBlocks(text: string | Uint8Array, label: string): Uint8Array[] {
  const pem = typeof text === "string" ? text : Buffer.from(text).toString("latin1");
  const pattern = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`, "g");
  const blocks: Uint8Array[] = [];
  for (const [, body] of pem.matchAll(pattern)) {
    if (blocks.length >= MAX_PEM_CERTIFICATES) break;
    blocks.push(Buffer.from(body as string, "base64"));
  }
  if (blocks.length === 0) throw new Error(`there is no ${label} in it`);
  return blocks;
}

function factsOf(der: Uint8Array, x509: X509Certificate): Omit<Certificate, "der" | "x509"> {
  const [body, algorithm] = derItems(readDer(der)) as [Der, Der];
  const fields = derItems(body).filter(({ tag }) => tag !== 0xa0);
  const [serial, , issuer] = fields as [Der, Der, Der];
  const extensions = fields.find(({ tag }) => tag === 0xa3);
  const names = { dnsNames: [] as string[], uris: [] as string[] };
  let isAuthority = false;
  let maxBelow = Infinity;
  let isStrange = false;
  for (const { id, isCritical, value } of extensions ? extensionsOf(extensions) : []) {
    if (id === "551d11") readNames(value, names);
    else if (id === "551d13") {
      const [authority, below] = derItems(readDer(value));
      isAuthority = authority?.tag === 0x01 && authority.content[0] !== 0;
      if (below) maxBelow = below.content.length === 1 ? (below.content[0] as number) : 0;
    } else if (isCritical && !UNDERSTOOD.has(id)) isStrange = true;
  }
  const text = (name: string) => name.split("\n").join(", ");
  return {
    fingerprint: x509.fingerprint256.replaceAll(":", ""),
    serial: hexOf(serial.content),
    issuer: text(x509.issuer),
    subject: text(x509.subject),
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    ...names,
    endpointIds: [
      ...names.uris.filter((uri) => uri.startsWith(URN)).map((uri) => uri.slice(URN.length)),
      ...names.dnsNames.map((name) => `fqdn::${name}`),
    ],
    isAuthority,
    maxBelow,
    purposes: x509.keyUsage ?? [],
    isStrange,
    signatureAlgorithm: hexOf((derItems(algorithm)[0] as Der).content),
    identity: `${hexOf(issuer.bytes)} ${hexOf(serial.content)}`,
  };
}

/** keyUsage and extendedKeyUsage, which OpenSSL and `purposes` judge, and certificatePolicies, which nobody asks about. */
const UNDERSTOOD = new Set(["551d0f", "551d25", "551d20"]);

function* extensionsOf(tagged: Der): IterableIterator<{ id: string; isCritical: boolean; value: Uint8Array }> {
  for (const extension of derItems(readDer(tagged.content))) {
    const [id, ...rest] = derItems(extension) as [Der, ...Der[]];
    const isCritical = rest[0]?.tag === 0x01 && rest[0].content[0] !== 0;
    yield { id: hexOf(id.content).toLowerCase(), isCritical, value: (rest.at(-1) as Der).content };
  }
}

function readNames(value: Uint8Array, names: { dnsNames: string[]; uris: string[] }): void {
  for (const { tag, content } of derItems(readDer(value))) {
    const text = Buffer.from(content).toString("latin1");
    if (tag === 0x82) names.dnsNames.push(text.toLowerCase());
    else if (tag === 0x86) names.uris.push(text);
  }
}

/** Certificates that a list revokes, by `Certificate.identity`. @throws Error in words where the text is no such list */
export function readRevoked(text: string | Uint8Array): Set<string> {
  const lists = typeof text !== "string" && text[0] === 0x30 ? [text] : pemBlocks(text, "X509 CRL");
  const revoked = new Set<string>();
  for (const bytes of lists) {
    try {
      const fields = derItems(derItems(readDer(bytes))[0] as Der);
      if (fields[0]?.tag === 0x02) fields.shift();
      const issuer = hexOf((fields[1] as Der).bytes);
      // After two times, the second optional: the list, where anything is revoked.
      const list = fields.slice(2).find(({ tag }) => tag === 0x30);
      for (const entry of list ? derItems(list) : [])
        revoked.add(`${issuer} ${hexOf((derItems(entry)[0] as Der).content)}`);
    } catch (error) {
      throw new Error("no revocation list", { cause: error });
    }
  }
  return revoked;
}

/** SHA-1 and MD5 with RSA or ECDSA: signatures that can be forged. */
const WEAK = new Set(["2A864886F70D010104", "2A864886F70D010105", "2A8648CE3D0401", "2B0E03021D"]);
const MIN_RSA_BITS = 2048;

export interface ChainRules {
  /** What the leaf is shown for; `either` where TLS has judged that. */
  readonly purpose: "client" | "server" | "either";
  /** Milliseconds since 1970; absent while nobody knows (TR-369 R-MTP.2, R-SEC.19): then dates do not count. */
  readonly now?: number;
  readonly revoked?: ReadonlySet<string>;
}

export type ChainVerdict =
  | { readonly anchor: Certificate; readonly fault?: undefined }
  /** Why not, and whether that is because something in it was revoked. */
  | { readonly fault: string; readonly isRevoked: boolean; readonly anchor?: undefined };

/**
 * Whether the first certificate leads, by the others, to one that is trusted; a leaf may be trusted itself. The nearest
 * one counts (R-SEC.25).
 */
export function judgeChain(
  chain: readonly Certificate[],
  anchors: readonly Certificate[],
  rules: ChainRules,
): ChainVerdict {
  const no = (fault: string, isRevoked = false): ChainVerdict => ({ fault, isRevoked });
  let at = chain[0];
  if (!at) return no("it shows no certificate");
  if (!isFor(at, rules.purpose)) return no(`its certificate is not for a ${rules.purpose}`);
  for (let below = 0; below < MAX_CHAIN; below++) {
    const certificate: Certificate = at;
    const fault = certificateFault(certificate, rules);
    if (fault !== undefined) return fault;
    const trusted = anchors.find(({ fingerprint }) => fingerprint === certificate.fingerprint);
    if (trusted) return { anchor: trusted };
    const issuers = [...anchors, ...chain].filter((other) => vouches(other, certificate, below));
    const anchor = issuers.find((other) => anchors.includes(other));
    if (anchor) return certificateFault(anchor, rules) ?? { anchor };
    const next = issuers.find(({ fingerprint }) => fingerprint !== certificate.fingerprint);
    if (!next) {
      if (certificate.issuer === certificate.subject)
        return no(`${certificate.subject} is self-signed and not trusted`);
      return no(`${certificate.issuer}, which issued it, is not trusted`);
    }
    at = next;
  }
  return no(`the chain is longer than ${MAX_CHAIN} certificates`);
}

function isFor({ purposes }: Certificate, purpose: ChainRules["purpose"]): boolean {
  if (purpose === "either" || purposes.length === 0 || purposes.includes(ANY_PURPOSE)) return true;
  return purposes.includes(purpose === "client" ? CLIENT_AUTH : SERVER_AUTH);
}

/** What is wrong with one by itself: dates, revocation. */
export function certificateFault(
  certificate: Certificate,
  { now, revoked }: ChainRules,
): (ChainVerdict & { readonly fault: string }) | undefined {
  const { subject, identity, serial, notBefore, notAfter, isStrange } = certificate;
  const no = (fault: string, isRevoked = false) => ({ fault: `the certificate of ${subject} ${fault}`, isRevoked });
  if (revoked?.has(identity) === true) return no(`is revoked (serial number ${serial})`, true);
  if (now !== undefined && now < notBefore) return no(`is not valid before ${new Date(notBefore).toISOString()}`);
  if (now !== undefined && now > notAfter) return no(`has expired on ${new Date(notAfter).toISOString()}`);
  if (isStrange) return no("makes a critical demand that is not understood");
  return undefined;
}

/** Whether `issuer`, with that many authorities below it, signed the other. */
function vouches(issuer: Certificate, certificate: Certificate, authoritiesBelow: number): boolean {
  return (
    issuer.isAuthority &&
    issuer.maxBelow >= authoritiesBelow &&
    certificate.x509.checkIssued(issuer.x509) &&
    !WEAK.has(certificate.signatureAlgorithm) &&
    isStrong(issuer.x509.publicKey) &&
    certificate.x509.verify(issuer.x509.publicKey)
  );
}

function isStrong({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType !== "rsa" || (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS;
}

/** Before any device of ours was made: a clock that says so has not been set. */
const EARLIEST = Date.UTC(2020, 0, 1);

/** The time, where the device knows it. */
export const knownTime = (nowMs: number): number | undefined => (nowMs < EARLIEST ? undefined : nowMs);
