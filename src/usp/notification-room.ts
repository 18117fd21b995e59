/**
 * What notifications hold in memory until they are taken or answered: measured, and bounded for all controllers together.
 * Where there is too much, the controller that holds most gives way, so that one that answers loses nothing to those that
 * do not.
 */

export interface Holder {
  readonly heldBytes: number;
  /** Lets go of the oldest; `false` if there is nothing to let go of. */
  giveWay(): boolean;
}

/** Of one beside its texts: with Node 20 it is 500 while it waits and 1,400 while it is unanswered, timer and all. */
const ENTRY_BYTES = 1_000;

export class NotificationRoom {
  readonly #limit: number;
  readonly #holders = new Set<Holder>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    let sum = 0;
    for (const { heldBytes } of this.#holders) sum += heldBytes;
    return sum;
  }

  add(holder: Holder): void {
    this.#holders.add(holder);
  }

  remove(holder: Holder): void {
    this.#holders.delete(holder);
  }

  fit(): void {
    while (this.bytes > this.#limit) if (!this.#greatest()?.giveWay()) return;
  }

  #greatest(): Holder | undefined {
    let greatest: Holder | undefined;
    for (const holder of this.#holders) if (holder.heldBytes > (greatest?.heldBytes ?? 0)) greatest = holder;
    return greatest;
  }
}

/** Of a happening with that content: a change of the model, or what is told of it. */
export const heldBytes = (content: object): number => ENTRY_BYTES + textBytes(content);

/** Of all texts in plain data, as UTF-8. */
export function textBytes(content: unknown): number {
  if (typeof content === "string") return Buffer.byteLength(content);
  if (typeof content !== "object" || content === null) return 0;
  let sum = 0;
  for (const part of content instanceof Map ? [...content].flat() : Object.values(content)) sum += textBytes(part);
  return sum;
}
