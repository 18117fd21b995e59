/** What was given to TLS and is not taken yet: one Message after the other, as TLS numbers its records too. */
import type { Clock } from "../lib/clock.ts";
import type { SecureChannel } from "./secure.ts";
import type { Session } from "./session.ts";

/** TLS encrypts as fast as it is asked, or never again. */
const STUCK_MS = 30_000;

export class Encryption {
  readonly #clock: Clock;
  #bytes = 0;
  /** Since when it has taken nothing of that. */
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** When it will take nothing more, by the monotonic clock; Infinity: it has nothing to take. */
  get stuckAt(): number {
    return this.#bytes > 0 ? this.#since + STUCK_MS : Infinity;
  }

  /** @param done Called with the TLS records; without, if the session ended before. */
  add(
    session: Session,
    channel: SecureChannel,
    message: Uint8Array,
    { isCurrent, done }: { isCurrent: () => boolean; done: (units: readonly Uint8Array[] | undefined) => void },
  ): void {
    if (this.#bytes === 0) this.#since = this.#clock.monotonic();
    this.#bytes += message.length;
    session.sending = session.sending.then(async () => {
      const units = isCurrent() ? await channel.send(message).catch(() => undefined) : undefined;
      this.#bytes -= message.length;
      this.#since = this.#clock.monotonic();
      done(isCurrent() ? units : undefined);
    });
  }
}
