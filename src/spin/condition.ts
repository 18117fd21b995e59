/** Status and CounterAccuracy of the whole, from the condition of its parts. */
import type { Clock } from "../lib/clock.ts";
import type { Health } from "./observation.ts";
import type { CounterAccuracy, SpinStatus } from "./types.ts";

/** An hour after something was lost and recovered, counters are called exact again. */
const ESTIMATED_MS = 60 * 60_000;

/** The name of the part that enforces; all others are sources. */
export const ENFORCER = "enforcer";

export interface ConditionOptions {
  readonly clock: Clock;
  readonly isEnabled: () => boolean;
  /** Sources, and the enforcer if there is one. */
  readonly parts: () => readonly { readonly name: string; readonly health: Health }[];
  /** Why the newest policy is not in force; empty if it is. */
  readonly rulesError: () => string;
  /** Whether any rule can be in force. */
  readonly isEnforcing: () => boolean;
  /** Why rules of an earlier life are unknown while the kernel still obeys them; empty if they are not. */
  readonly rulesHeld: () => string;
  /** Why the state can't be saved at present; empty if it can. */
  readonly saveError: () => string;
  readonly isOffloaded: () => boolean;
  readonly changed: () => void;
  /** What a part says of itself changed. */
  readonly partChanged: () => void;
}

export class Condition {
  readonly #options: ConditionOptions;
  #lostAt = -Infinity;
  #parts = "";
  status: SpinStatus = "Starting";
  reason = "";
  accuracy: CounterAccuracy = "Exact";

  constructor(options: ConditionOptions) {
    this.#options = options;
  }

  /** Something was missed; a dump recovers what it can. */
  lost(): void {
    this.#lostAt = this.#options.clock.monotonic();
    this.update();
  }

  update(): void {
    const { clock, isOffloaded, changed, partChanged } = this.#options;
    const parts = this.#options.parts();
    const said = parts.map(({ health }) => `${health.status} ${health.backend} ${health.lastError}`).join("\n");
    if (said !== this.#parts) {
      this.#parts = said;
      partChanged();
    }
    const isEstimated = clock.monotonic() - this.#lostAt < ESTIMATED_MS;
    const accuracy = isOffloaded() ? "Partial" : isEstimated ? "Estimated" : "Exact";
    const [status, reason] = this.#judge(parts);
    if (accuracy === this.accuracy && status === this.status && reason === this.reason) return;
    this.accuracy = accuracy;
    this.status = status;
    this.reason = reason;
    changed();
  }

  #judge(all: ReturnType<ConditionOptions["parts"]>): [SpinStatus, string] {
    const { isEnabled, isEnforcing, rulesError, rulesHeld, saveError } = this.#options;
    if (!isEnabled()) return ["Disabled", "Enable is false."];
    const inTrouble = all.filter(({ health }) => health.status === "Error" || health.status === "Degraded");
    const words = inTrouble.map(
      ({ name, health }) =>
        `${name}${health.backend && ` (${health.backend})`}: ${health.lastError || health.status.toLowerCase()}`,
    );
    if (rulesError() !== "") words.push(`rules are not in force: ${rulesError()}`);
    if (saveError() !== "") words.push(`state can't be saved: ${saveError()}`);
    if (rulesHeld() !== "") words.unshift(rulesHeld());
    const isBlind = isWhollyInError(all.filter(({ name }) => name !== ENFORCER));
    const isPowerless = isWhollyInError(all.filter(({ name }) => name === ENFORCER));
    const isStuck = rulesError() !== "" && !isEnforcing();
    if (rulesHeld() !== "" || isBlind || isPowerless || isStuck) return ["Error", words.join("; ")];
    if (words.length > 0) return ["Degraded", words.join("; ")];
    const starting = all.find(({ health }) => health.status === "Starting");
    return starting ? ["Starting", `${starting.name} is starting.`] : ["Running", ""];
  }
}

/** One source that fails leaves the rest of use: Degraded. Those that have nothing to read here count for nothing. */
function isWhollyInError(parts: readonly { readonly health: Health }[]): boolean {
  const active = parts.filter(({ health }) => health.status !== "Disabled");
  return active.length > 0 && active.every(({ health }) => health.status === "Error");
}
