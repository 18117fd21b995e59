/** PORT: who an endpoint is to others, and how it tells who they are. Given from outside; the agent's trust code is behind it. */

/** Certificate and key of the endpoint's own: P-256, its endpoint id in the subjectAltName (R-SEC.0a). */
export interface Identity {
  /** PEM, leaf first; certificates of authorities may follow. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface Trust {
  readonly identity?: Identity;
  /** Whether the non-payload fields of each Record are signed where no TLS session protects them (R-E2E.29). */
  readonly signs?: boolean;
  /**
   * Why the certificates are not those of that endpoint, for an operator; `undefined` if they are.
   * @param chain DER, leaf first; empty if none was shown.
   */
  check(chain: readonly Uint8Array[], endpointId: string): string | undefined;
}

/** R-SEC.0a: how an endpoint id stands in a certificate. */
export const ENDPOINT_URN = "urn:bbf:usp:id:";
