/** Options of sessions with controllers, end to end: of the agent, and of each controller. */
import { bool, file, oneOf } from "./option.ts";

export const agentSessionOptions = {
  session_cert_file: file(
    "PEM file of the agent's certificate (P-256, its endpoint id in it) for secured sessions and signed Records.",
  ),
  session_key_file: file("PEM file of its key."),
  sign_records: bool("Sign the fields of Records that neither their MTP nor a secured session protects.", false),
  require_signatures: bool(
    "Ignore Records that nothing protects: not TLS with the sender's own certificate, no secured session, no signature.",
    false,
  ),
} as const;

export const controllerSessionOptions = {
  session: oneOf(
    "Sessions with it, end to end: what E2ESession.SessionMode begins as.",
    "Allow",
    "Require",
    "Allow",
    "Forbid",
  ),
  session_security: oneOf(
    "How payloads of sessions are secured that the agent opens, and with Require of all.",
    "TLS",
    "Plaintext",
    "TLS",
  ),
} as const;

/** Why the options make no sense together. */
export function sessionFault(
  agent: { session_cert_file: string; session_key_file: string; sign_records: boolean },
  controllers: readonly { name: string; session: string; session_security: string }[],
): string | undefined {
  const hasCertificate = agent.session_cert_file !== "";
  if (hasCertificate !== (agent.session_key_file !== ""))
    return "agent needs both of session_cert_file and session_key_file, or none";
  if (agent.sign_records && !hasCertificate) return "agent option sign_records needs option session_cert_file";
  const name = controllers.find((each) => each.session === "Require" && each.session_security === "TLS")?.name;
  if (name === undefined || hasCertificate) return undefined;
  return `controller '${name}' option session is "Require": agent needs session_cert_file, or set session_security 'Plaintext'`;
}
