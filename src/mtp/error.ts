/** What went wrong with a connection, in a class of causes that code can act on and words that an operator can. */
export type MtpErrorKind =
  | "dns" // the host's name is not known
  | "unreachable" // nobody answers there: refused, no route, timed out
  | "tls"
  | "version" // the broker does not speak this version of the protocol
  | "credentials"
  | "client-id"
  | "rejected" // for another reason that the broker gave
  | "subscribe" // no topic to listen on, or none granted
  | "closed" // an established connection ended
  | "too-large" // more than the broker accepts
  | "congested" // too much waits to be sent already
  | "address" // the destination is no topic that one can publish to
  | "aborted";

/** By name, not by class: each file of the bundle that speaks a protocol has the class for itself. */
export function isMtpError(error: unknown): error is MtpError {
  return error instanceof Error && error.name === "MtpError";
}

export class MtpError extends Error {
  override readonly name = "MtpError";
  constructor(
    readonly kind: MtpErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
