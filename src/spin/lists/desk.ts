/**
 * Between the model, which says what lists there should be, and whoever fetches and reads them: sources in, states out.
 * No I/O.
 */
import type { ListFormat } from "./parse.ts";

export interface ListSource {
  /** Instance number of the row. */
  readonly number: number;
  readonly enable: boolean;
  /** http:, https: or file:; empty: `content` is the list. */
  readonly url: string;
  readonly content: string;
  readonly format: ListFormat;
  /** SHA-256 in lower-case hex that the content must have; empty: any. */
  readonly checksum: string;
  readonly refreshMs: number;
  /** Whether it may be fetched inside the home: the resident's and the configuration's may. */
  readonly mayBeLocal: boolean;
  /** Whether it may be a file of the gateway: the configuration's may. */
  readonly mayBeFile: boolean;
}

export type ListStatus = "Disabled" | "Loading" | "Enabled" | "Error" | "Error_Misconfigured";

export interface ListState {
  readonly status: ListStatus;
  /** In words; never a part of the content. */
  readonly reason: string;
  readonly entries: number;
  readonly unreadable: number;
  readonly passedOver: number;
  readonly checksum: string;
  /** Milliseconds since 1970; 0: never. */
  readonly lastUpdate: number;
}

export const NOT_LOADED: ListState = {
  status: "Loading",
  reason: "",
  entries: 0,
  unreadable: 0,
  passedOver: 0,
  checksum: "",
  lastUpdate: 0,
};

export class ListDesk {
  readonly #sources = new Map<number, ListSource>();
  readonly #states = new Map<number, ListState>();
  readonly #sourceListeners = new Set<(number: number) => void>();
  readonly #stateListeners = new Set<(number: number) => void>();
  readonly #refreshListeners = new Set<(number: number) => void>();

  get sources(): readonly ListSource[] {
    return [...this.#sources.values()];
  }

  source(number: number): ListSource | undefined {
    return this.#sources.get(number);
  }

  put(source: ListSource): void {
    this.#sources.set(source.number, source);
    for (const listener of this.#sourceListeners) listener(source.number);
  }

  remove(number: number): void {
    this.#sources.delete(number);
    this.#states.delete(number);
    for (const listener of this.#sourceListeners) listener(number);
  }

  refresh(number: number): void {
    for (const listener of this.#refreshListeners) listener(number);
  }

  state(number: number): ListState {
    const source = this.#sources.get(number);
    const state = this.#states.get(number) ?? NOT_LOADED;
    return source?.enable === false ? { ...state, status: "Disabled", reason: "" } : state;
  }

  tell(number: number, state: ListState): void {
    if (!this.#sources.has(number)) return;
    this.#states.set(number, state);
    for (const listener of this.#stateListeners) listener(number);
  }

  /** A source came, changed or went. */
  onSource(listener: (number: number) => void): void {
    this.#sourceListeners.add(listener);
  }

  onState(listener: (number: number) => void): void {
    this.#stateListeners.add(listener);
  }

  onRefresh(listener: (number: number) => void): void {
    this.#refreshListeners.add(listener);
  }
}
