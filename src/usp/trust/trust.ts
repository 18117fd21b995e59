/** What the agent knows of certificates, shared with the objects layer. */
import type { Certificate } from "../../lib/certificate.ts";
import type { CertificateBook } from "./certificate-book.ts";
import type { Challenges } from "./challenges.ts";

/** Made before the tree, which shows it; filled by the agent. */
export interface Trust {
  readonly certificates: CertificateBook;
  readonly challenges: Challenges;
  /** What the configured revocation lists name: `Certificate.identity`. */
  readonly revoked?: () => ReadonlySet<string>;
  /** The system's authorities: they vouch for who is known, on connections that trust them. */
  readonly roots?: () => readonly Certificate[];
  /** InheritedRole of controllers, by row path without final dot: what the last connection brought. */
  readonly inherited: Map<string, readonly string[]>;
}
