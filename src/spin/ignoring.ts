/**
 * Rules of Action Ignore: what they cover is left out of reports (Query(), TopDestinations). It is counted, kept, resolved
 * for an abuse report, watched by the detectors and stopped by other rules as if they were not there.
 */
import { parseAddress } from "../lib/address.ts";
import type { ListBook } from "./lists/book.ts";
import type { PolicyRule } from "./ruleset.ts";
import type { RuleBook } from "./rules.ts";
import { Verdicts } from "./verdict.ts";

/** What a row of a report is about. */
export interface Reported {
  readonly mac: number;
  /** Canonical text; empty: none. */
  readonly address: string;
  /** Empty: none. */
  readonly name: string;
  readonly protocol: number;
  /** Of the peer. */
  readonly port: number;
}

/** Of a row without an address: no prefix that a rule names holds it. */
const NO_ADDRESS = new Uint32Array(4);

export class Ignoring {
  readonly #rules: RuleBook;
  readonly #lists: ListBook;
  #version = -1;
  #verdicts: Verdicts | undefined;

  constructor(rules: RuleBook, lists: ListBook) {
    this.#rules = rules;
    this.#lists = lists;
  }

  hides({ mac, address, name, protocol, port }: Reported): boolean {
    if (this.#version !== this.#rules.version) {
      this.#version = this.#rules.version;
      const ignored = this.#rules.ignored();
      // As if they blocked: what is then stopped is what they cover.
      const covering = ignored.map((rule): PolicyRule => ({ ...rule, action: "Block" }));
      this.#verdicts = covering.length === 0 ? undefined : new Verdicts({ rules: covering }, undefined, this.#lists);
    }
    if (!this.#verdicts) return false;
    const words = parseAddress(address) ?? NO_ADDRESS;
    const names = name === "" ? [] : [name];
    return this.#verdicts.blocks({ mac, words, offset: 0, names, protocol, port });
  }
}
