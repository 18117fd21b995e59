/** One session of those with a peer. */
import type { Record_PayloadSecurity } from "../../proto/generated/usp-record.ts";
import type { SessionContext } from "./context.ts";
import type { Sealed } from "./seal.ts";
import type { SecureChannel } from "./secure.ts";

export interface Session extends Sealed {
  readonly context: SessionContext;
  readonly isOurs: boolean;
  readonly openedAt: number;
  /** Of the peer's first Record. */
  digest: string;
  isUp: boolean;
  /** Messages that TLS has not taken yet. */
  sending: Promise<void>;
  recalledAt: number;
}

export interface Opening {
  readonly context: SessionContext;
  readonly channel: SecureChannel | undefined;
  readonly security: Record_PayloadSecurity;
  readonly isOurs: boolean;
  /** By the monotonic clock. */
  readonly openedAt: number;
}

export const newSession = (opening: Opening): Session => ({
  ...opening,
  digest: "",
  isUp: false,
  sending: Promise.resolve(),
  recalledAt: opening.openedAt,
});
