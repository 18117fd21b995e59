/**
 * Whether the one at the other end of a connection is the controller that its Record says, and what its certificate
 * brings it (TR-369 §"Authentication and Authorization", R-SEC.0a, .6 to .10a, .22, .25). Facts in, verdict out.
 */
import { certificateFault, judgeChain, type Certificate, type ChainRules } from "../../lib/certificate.ts";

export type AllowedUses = "MTP-only" | "MTP-and-USP" | "MTP-and-broker";

/** A row of `ControllerTrust.Credential.{i}.`. */
export interface Credential {
  readonly fingerprint: string;
  readonly uses: AllowedUses;
  /** Instance paths without final dot. */
  readonly roles: readonly string[];
  readonly enabled: boolean;
}

export interface TrustFacts {
  /** What `LocalAgent.Certificate.{i}.` holds. */
  readonly certificates: readonly { readonly certificate: Certificate; readonly enabled: boolean }[];
  readonly credentials: readonly Credential[];
  /** Authorities besides, that vouch for who is known, where `Peer.trustsSystem`; many, so asked last. */
  readonly roots?: () => readonly Certificate[];
  /** TOFUAllowed */
  readonly firstUse: boolean;
  readonly rules: Pick<ChainRules, "now" | "revoked">;
}

/** The other end, as the connection shows it. */
export interface Peer {
  /** Its certificates, leaf first; empty where it showed none; absent where there is no TLS. */
  readonly chain: readonly Certificate[] | undefined;
  /** MQTT and STOMP: the certificate is the broker's, not the sender's. */
  readonly isBroker: boolean;
  /** The agent dialled it, and TLS found there whom it meant. */
  readonly isDialled: boolean;
  /** On this machine, where the file system says who may connect. */
  readonly isLocal: boolean;
  /** Whether the system's authorities vouch there; default false, as within sessions. */
  readonly trustsSystem?: boolean;
}

/** Who a Record says that it is from. */
export interface Claim {
  readonly endpointId: string;
  /** Whether the controller has a row. */
  readonly isKnown: boolean;
  /** Fingerprints of the certificates that its Credential names. */
  readonly stored: readonly string[];
}

export type Verdict =
  | { readonly kind: "admitted" }
  /** Not known yet, and to be given a row, with that certificate kept for it; an authority with a role may vouch. */
  | { readonly kind: "first use"; readonly keep: Certificate | undefined; readonly isVouchedFor: boolean }
  /** Its certificate was revoked or taken out of use. */
  | { readonly kind: "banned"; readonly why: string }
  | { readonly kind: "refused"; readonly why: string };

const ADMITTED: Verdict = { kind: "admitted" };
const firstUse = (keep?: Certificate, isVouchedFor = false): Verdict => ({ kind: "first use", keep, isVouchedFor });
const refused = (why: string): Verdict => ({ kind: "refused", why });

export function judgePeer(claim: Claim, peer: Peer, trust: TrustFacts): Verdict {
  const { chain, isBroker, isDialled, isLocal } = peer;
  const { endpointId, isKnown, stored } = claim;
  const [leaf] = chain ?? [];
  if (!chain || !leaf) {
    if (!isKnown) return refused("nothing vouches for it");
    if (stored.length > 0 && !isBroker && !isLocal) return refused("a certificate is kept for it, and it shows none");
    return ADMITTED;
  }
  const fault = chainFault(chain, trust);
  if (fault) return fault;
  if (isBroker) {
    if (isKnown) return ADMITTED;
    const isTrustedBroker = credentialOf(chain, trust)?.uses === "MTP-and-broker";
    if (!isTrustedBroker) return refused("no broker vouches for it (AllowedUses MTP-and-broker)");
    return trust.firstUse ? firstUse() : refused("it is not known, and TOFUAllowed is false");
  }
  const isNamed = leaf.endpointIds.includes(endpointId);
  if (!isNamed && !(isDialled && !leaf.uris.some(isEndpointUri)))
    return refused(`its certificate is of ${leaf.endpointIds.join(", ") || "nobody with an endpoint id"}`);
  if (stored.length > 0)
    return stored.includes(leaf.fingerprint) ? ADMITTED : refused("it shows another certificate than is kept for it");
  const credential = credentialOf(chain, trust);
  const rules: ChainRules = { ...trust.rules, purpose: purposeOf(peer) };
  const judged = judgeChain(chain, anchorsOf(trust, "MTP-and-USP"), rules);
  if (judged.anchor && isKnown) return ADMITTED;
  if (judged.anchor && credential?.uses === "MTP-and-USP") return firstUse(undefined, true);
  if (isKnown && peer.trustsSystem && trust.roots && judgeChain(chain, trust.roots(), rules).anchor) return ADMITTED;
  // TLS has found there whom the row names.
  if (isDialled && isKnown) return ADMITTED;
  if (isKnown) return refused(judged.fault ?? "nobody vouches for it");
  return trust.firstUse ? firstUse(leaf) : refused("it is not known, and TOFUAllowed is false");
}

/** InheritedRole: instance paths of the roles that the certificate brings; of a broker, to all who come through it. */
export function inheritedRoles(peer: Peer, trust: TrustFacts): readonly string[] {
  const { chain, isBroker } = peer;
  if (!chain || chain.length === 0 || chainFault(chain, trust)) return [];
  const credential = credentialOf(chain, trust);
  return credential?.uses === (isBroker ? "MTP-and-broker" : "MTP-and-USP") ? credential.roles : [];
}

/** Whether the certificate is that of a broker that vouches for those who come through it (R-SEC.26). */
export function isTrustedBroker({ chain, isBroker }: Peer, trust: TrustFacts): boolean {
  if (!isBroker || !chain || chain.length === 0 || chainFault(chain, trust)) return false;
  return credentialOf(chain, trust)?.uses === "MTP-and-broker";
}

/** The credential of the nearest certificate that vouches for the chain, itself included; the first match alone counts. */
function credentialOf(chain: readonly Certificate[], trust: TrustFacts): Credential | undefined {
  const rules = { ...trust.rules, purpose: "either" } as const;
  const { anchor } = judgeChain(chain, anchorsOf(trust), rules);
  return anchor && trust.credentials.find(({ fingerprint }) => fingerprint === anchor.fingerprint);
}

/** Certificates that vouch: those in use, unless their credential is not, or is for less. */
function anchorsOf({ certificates, credentials }: TrustFacts, use?: AllowedUses): Certificate[] {
  return certificates.flatMap(({ certificate, enabled }) => {
    const credential = credentials.find(({ fingerprint }) => fingerprint === certificate.fingerprint);
    const counts = enabled && (!credential || (credential.enabled && (use === undefined || credential.uses === use)));
    return counts ? [certificate] : [];
  });
}

/** Revoked, or taken out of use (`Certificate.{i}.Enable`), or past its time. */
function chainFault(chain: readonly Certificate[], { certificates, rules }: TrustFacts): Verdict | undefined {
  for (const certificate of chain) {
    const known = certificates.find((other) => other.certificate.fingerprint === certificate.fingerprint);
    if (known && !known.enabled)
      return { kind: "banned", why: `the certificate of ${certificate.subject} is disabled` };
    const fault = certificateFault(certificate, { ...rules, purpose: "either" });
    if (fault) return { kind: fault.isRevoked ? "banned" : "refused", why: fault.fault };
  }
  return undefined;
}

const purposeOf = ({ isDialled }: Peer) => (isDialled ? "server" : "client");
const isEndpointUri = (uri: string) => uri.startsWith("urn:bbf:usp:id:");
