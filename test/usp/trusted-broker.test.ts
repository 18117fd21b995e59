/** What makes a broker one that vouches for from_id (R-SEC.26), so that Records through it need no signature (R-E2E.28). */
import { X509Certificate } from "node:crypto";
import { readCertificate } from "../../src/lib/certificate.ts";
import { isTrustedBroker, type AllowedUses, type Peer } from "../../src/usp/trust/judge.ts";
import { makeAuthority } from "../session/support.ts";

const authority = makeAuthority();
afterAll(() => authority.remove());
const read = (pem: string) => readCertificate(new X509Certificate(pem).raw);
const anchor = read(authority.pem);
const broker = read(authority.identity("fqdn::broker.example").cert);
const trust = (uses: AllowedUses, enabled = true) => ({
  certificates: [{ certificate: anchor, enabled: true }],
  credentials: [{ fingerprint: anchor.fingerprint, uses, roles: [], enabled }],
  firstUse: false,
  rules: {},
});
const peer = (change: Partial<Peer> = {}): Peer => ({
  chain: [broker],
  isBroker: true,
  isDialled: false,
  isLocal: false,
  ...change,
});

test.each<[string, Peer, ReturnType<typeof trust>, boolean]>([
  ["one whose credential says so", peer(), trust("MTP-and-broker"), true],
  ["one whose credential is for less", peer(), trust("MTP-only"), false],
  ["one that is a controller", peer({ isBroker: false }), trust("MTP-and-broker"), false],
  ["one without TLS", peer({ chain: undefined }), trust("MTP-and-broker"), false],
  ["one that shows nothing", peer({ chain: [] }), trust("MTP-and-broker"), false],
  ["one whose credential is disabled", peer(), trust("MTP-and-broker", false), false],
])("%s: %#", (_, of, facts, expected) => {
  expect(isTrustedBroker(of, facts)).toBe(expected);
});
