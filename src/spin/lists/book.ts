/**
 * Lists (`Device.X_SPIN.List.{i}.`) as the rest of SPIN sees them: which there are, what they hold, and whether the kernel
 * holds it too. The book has no I/O; who fetches (src/gateway/lists.ts) puts content in, who enforces takes it out.
 */
import { holdsAddress, type ListContent } from "./content.ts";

export interface ListSettings {
  /** Instance number of the row. */
  readonly number: number;
  readonly enable: boolean;
}

/** What a rule on a list comes to. */
export interface ResolvedList {
  readonly number: number;
  /** `off`: disabled. `waiting`: not yet loaded. `refused`: it can't be had, whatever one waits. */
  readonly state: "ready" | "off" | "waiting" | "refused";
  /** In words, where it is not ready. */
  readonly reason: string;
  readonly hasAddresses: boolean;
  /** What stands for its names among a rule's domains; empty: it has none. Another one with each content. */
  readonly token: string;
}

interface Row {
  settings: ListSettings;
  content: ListContent | undefined;
  revision: number;
  /** Why there is no content, in words. */
  why: string;
  /** The kernel's: whether it holds the addresses, and why it never will, in words. */
  isPlaced: boolean;
  refusal: string;
}

const REFERENCE = /List\.(\d+)\.?$/;
const TOKEN = /^list:(\d+):/;

export class ListBook {
  readonly #rows = new Map<number, Row>();
  readonly #listeners = new Set<(number: number) => void>();
  #revision = 0;
  /** Whether addresses have to be placed before a rule on them holds: where somebody enforces. */
  needsPlacing = false;

  /** Called after each change of a list, synchronously. */
  onChange(listener: (number: number) => void): void {
    this.#listeners.add(listener);
  }

  put(settings: ListSettings): void {
    const row = this.#rows.get(settings.number);
    if (row?.settings.enable === settings.enable) return;
    if (row) row.settings = settings;
    else
      this.#rows.set(settings.number, {
        settings,
        content: undefined,
        revision: 0,
        why: "",
        isPlaced: false,
        refusal: "",
      });
    this.#changed(settings.number);
  }

  remove(number: number): void {
    if (this.#rows.delete(number)) this.#changed(number);
  }

  /** Its content, or why there is none, in words. */
  fill(number: number, content: ListContent | undefined, why = ""): void {
    const row = this.#rows.get(number);
    if (!row || (row.content === content && row.why === why)) return;
    if (row.content !== content) {
      row.revision = ++this.#revision;
      row.refusal = "";
    }
    row.content = content;
    row.why = why;
    this.#changed(number);
  }

  /** The kernel holds the list's addresses; or not (any more), and why not in words, if not for good. */
  placed(number: number, isPlaced: boolean, refusal = ""): void {
    const row = this.#rows.get(number);
    if (!row || (row.isPlaced === isPlaced && row.refusal === refusal)) return;
    row.isPlaced = isPlaced;
    row.refusal = refusal;
    this.#changed(number);
  }

  content(number: number): ListContent | undefined {
    return this.#rows.get(number)?.content;
  }

  /** Counts changes of what lists hold. */
  get revision(): number {
    return this.#revision;
  }

  get numbers(): readonly number[] {
    return [...this.#rows.keys()];
  }

  /** For rules: what a reference of a DestinationList means; `undefined` while there is no such list. */
  resolve(reference: string): ResolvedList | undefined {
    const number = numberOf(reference);
    const row = this.#rows.get(number);
    if (!row) return undefined;
    const { settings, content, revision, why, isPlaced, refusal } = row;
    const hasAddresses = content !== undefined && content.v4.length + content.v6.length > 0;
    const token = content !== undefined && content.names.size > 0 ? `list:${number}:${revision}` : "";
    const as = (state: ResolvedList["state"], reason: string) => ({ number, state, reason, hasAddresses, token });
    if (!settings.enable) return as("off", "it is disabled");
    if (!content) return as("waiting", why === "" ? "it is not loaded yet" : why);
    if (hasAddresses && this.needsPlacing) {
      if (refusal !== "") return as("refused", refusal);
      if (!isPlaced) return as("waiting", "its addresses are on their way to the kernel");
    }
    return as("ready", "");
  }

  /** Whether the address (four words at `offset`) is in the list. */
  holds(number: number, words: ArrayLike<number>, offset: number): boolean {
    const content = this.content(number);
    return content !== undefined && holdsAddress(content, words, offset);
  }

  /** Whether a token stands for a list that has one of the names, or one above it. */
  tokenHolds(token: string, names: readonly string[]): boolean {
    const content = this.content(Number(TOKEN.exec(token)?.[1] ?? -1));
    return content !== undefined && names.some((name) => content.names.match(name) !== "");
  }

  /** The enabled lists in which an address or a name is, without those of `except`. */
  *listing(
    what: { readonly words: ArrayLike<number>; readonly offset: number } | { readonly name: string },
    except: ReadonlySet<number>,
  ): Iterable<{ number: number; entry: string }> {
    for (const [number, { settings, content }] of this.#rows) {
      if (!settings.enable || !content || except.has(number)) continue;
      if ("name" in what) {
        const entry = content.names.match(what.name);
        if (entry !== "") yield { number, entry };
      } else if (holdsAddress(content, what.words, what.offset)) yield { number, entry: "" };
    }
  }

  #changed(number: number): void {
    for (const listener of this.#listeners) listener(number);
  }
}

/** The row that a reference names; -1: none. */
export function numberOf(reference: string): number {
  return Number(REFERENCE.exec(reference)?.[1] ?? -1);
}

export function isListToken(domain: string): boolean {
  return TOKEN.test(domain);
}
