/** When reports are due. Of the wall clock, so that a restart keeps the beat; a clock that jumps is noticed. */
import { createHash } from "node:crypto";

/** The first moment after `now` that is whole intervals away from `phase`; all in milliseconds since 1970. */
export function nextDue(now: number, intervalMs: number, phase: number): number {
  const since = (((now - phase) % intervalMs) + intervalMs) % intervalMs;
  return now + intervalMs - since;
}

/**
 * Where nobody said when: a moment of the interval that differs from agent to agent, so that a fleet does not report all
 * at once, and stays over restarts.
 */
export function ownPhase(endpointId: string, profile: string, intervalMs: number): number {
  return createHash("sha256").update(`${endpointId} ${profile}`).digest().readUIntBE(0, 6) % intervalMs;
}
