/** Contacts with entries of lists, for the detector: who asked for a listed name, or began a flow to a listed address. */
import { printAddress } from "../../lib/address.ts";
import type { ListedPeer } from "../detect/listed-peer.ts";
import type { RuleBook } from "../rules.ts";
import { numberOf, type ListBook } from "./book.ts";

export interface ContactsOptions {
  readonly lists: ListBook;
  readonly rules: () => RuleBook;
  readonly detector: () => ListedPeer;
}

export class Contacts {
  readonly #options: ContactsOptions;
  #excepted: { readonly version: number; readonly numbers: ReadonlySet<number> } = { version: -1, numbers: new Set() };

  constructor(options: ContactsOptions) {
    this.#options = options;
  }

  asked(slot: number, name: string, time: number): void {
    const { lists, detector } = this.#options;
    if (lists.numbers.length === 0) return;
    for (const { number, entry } of lists.listing({ name }, this.#except()))
      return detector().contact(slot, time, () => `${name === entry ? name : `${name} (${entry})`} on List.${number}`);
  }

  /** A flow began. `words` are the peer's address, at `offset`. */
  began(slot: number, words: ArrayLike<number>, offset: number, port: number, time: number): void {
    const { lists, detector } = this.#options;
    if (lists.numbers.length === 0) return;
    for (const { number } of lists.listing({ words, offset }, this.#except()))
      return detector().contact(slot, time, () => `${printAddress(words, offset)} port ${port} on List.${number}`);
  }

  /** Lists that an enabled Allow rule names: what somebody permits is no surprise. */
  #except(): ReadonlySet<number> {
    const rules = this.#options.rules();
    if (this.#excepted.version !== rules.version) {
      const allowed = rules.list().filter(({ enable, action }) => enable && action === "Allow");
      const numbers = new Set(
        allowed.flatMap(({ destinations }) => (destinations === "*" ? [] : destinations.lists.map(numberOf))),
      );
      this.#excepted = { version: rules.version, numbers };
    }
    return this.#excepted.numbers;
  }
}
