/** Stands where no enforcer can: every rule then says in its Status that nobody enforces it, and why. */
import type { ApplyReport, Enforcer, Hits, Policy } from "../spin/ruleset.ts";

/** @param isTrouble whether SPIN's own Status should tell: not where the configuration wants it so */
export function noEnforcer(why: string, isTrouble: boolean): Enforcer {
  const refused = `Not enforced: ${why}.`;
  const nobody: Hits = { rules: new Map(), devices: new Map() };
  return {
    health: {
      backend: "none",
      status: isTrouble ? "Degraded" : "Disabled",
      observations: 0,
      lost: 0,
      resyncs: 0,
      decodeErrors: 0,
      lastError: isTrouble ? `rules can't be enforced: ${why}` : "",
    },
    start: () => Promise.resolve(),
    apply: ({ rules }: Policy): Promise<ApplyReport> =>
      Promise.resolve({ refused: new Map(rules.map(({ id }) => [id, refused])) }),
    addresses: () => Promise.resolve(),
    hits: () => Promise.resolve(nobody),
    cut: () => Promise.resolve(),
    lost: { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }) },
    close: () => Promise.resolve(),
  };
}
