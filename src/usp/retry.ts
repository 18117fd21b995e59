/**
 * When to try again: TR-369's back-off, one formula for notifications (R-NOT.1) and every MTP (R-MQTT.33, R-WS.20). The
 * n-th wait is drawn from [m·k^(n-1), m·k^n), which spreads a fleet that lost its broker at one moment; from the tenth on
 * the window stays.
 */
export interface RetryPolicy {
  /** m, in milliseconds: ConnectRetryTime, USPNotifRetryMinimumWaitInterval. */
  readonly minimumMs: number;
  /** k: the multiplier parameters are this times 1000. */
  readonly multiplier: number;
  /** Nothing waits longer: ConnectRetryMaxInterval. */
  readonly maximumMs: number;
  /** The window that stays; default the tenth. 1: every wait is drawn from the first (R-UDS.10). */
  readonly lastWindow?: number;
  /** Waits are drawn from [0, m·k^(n-1)) instead: of STOMP (ServerRetryInitialInterval). */
  readonly fromZero?: boolean;
}

const LAST_WINDOW = 10;

/** Milliseconds before retry `attempt` (1 for the first). `random` is in [0, 1). */
export function retryDelay(policy: RetryPolicy, attempt: number, random: number): number {
  const { minimumMs, multiplier, maximumMs, lastWindow = LAST_WINDOW, fromZero = false } = policy;
  const from = minimumMs * multiplier ** (Math.min(Math.max(attempt, 1), lastWindow) - 1);
  if (fromZero) return random * Math.min(maximumMs, from);
  return Math.min(maximumMs, from + random * from * (multiplier - 1));
}
