/**
 * When to try again: TR-369's back-off (R-MTP.2a, R-NOT.1, the same formula as TR-069's session retry). The n-th retry
 * waits a time drawn uniformly from [m·k^(n−1), m·k^n), which spreads a fleet that lost its broker at one moment.
 */
export interface RetryPolicy {
  /** m, in milliseconds: ConnectRetryTime, …RetryMinimumWaitInterval. */
  readonly minimumMs: number;
  /** k, dimensionless: ConnectRetryIntervalMultiplier is this times 1000. */
  readonly multiplier: number;
  /** Nothing waits longer: ConnectRetryMaxInterval. */
  readonly maximumMs: number;
}

/** The defaults of TR-181's MQTT.Client: 5 s, doubled, at most 30,720 s. */
export const STANDARD_RETRY: RetryPolicy = { minimumMs: 5_000, multiplier: 2, maximumMs: 30_720_000 };

/** From the tenth on, the window stays. */
const LAST_WINDOW = 10;

/**
 * The wait before retry `attempt` (1 for the first), in milliseconds.
 * @param random A number in [0, 1).
 */
export function retryDelay(policy: RetryPolicy, attempt: number, random: () => number = Math.random): number {
  const n = Math.min(Math.max(1, Math.trunc(attempt)), LAST_WINDOW);
  const from = policy.minimumMs * policy.multiplier ** (n - 1);
  const to = policy.minimumMs * policy.multiplier ** n;
  return Math.min(policy.maximumMs, from + random() * (to - from));
}
