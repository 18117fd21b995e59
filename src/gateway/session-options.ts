/** What sessions need that the configuration names: the agent's certificate, and what is signed. */
import { readFileSync } from "node:fs";
import type { AgentConfig } from "../config/agent.ts";
import type { Log } from "../lib/log.ts";
import type { Identity } from "../session/identity.ts";
import { Signer } from "../session/integrity.ts";
import { SessionStates, type SessionOptions } from "../usp/session-states.ts";

/** A certificate that can't be used is told of; the agent goes on without it, and refuses what needs it. */
export function sessionOptions(agent: AgentConfig, log: Log): SessionOptions {
  const identity = identityOf(agent, log);
  return {
    states: new SessionStates(identity !== undefined),
    integrityRequired: agent.require_signatures,
    trust: { ...(identity ? { identity } : {}), signs: agent.sign_records },
  };
}

function identityOf(
  { session_cert_file: certFile, session_key_file: keyFile }: AgentConfig,
  log: Log,
): Identity | undefined {
  if (certFile === "") return undefined;
  try {
    const identity = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
    void new Signer(identity); // throws where they are of no use
    return identity;
  } catch (error) {
    log.error(`there are no secured sessions: session_cert_file ${certFile}, session_key_file ${keyFile}`, error);
    return undefined;
  }
}
