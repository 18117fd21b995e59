/** Which interfaces are the LAN's: the network source says so, others who need it listen. */
export class Lan {
  #interfaces: ReadonlySet<string>;
  readonly #listeners = new Set<() => void>();

  constructor(interfaces: Iterable<string> = []) {
    this.#interfaces = new Set(interfaces);
  }

  get interfaces(): ReadonlySet<string> {
    return this.#interfaces;
  }

  set(names: Iterable<string>): void {
    const next = new Set(names);
    if (next.size === this.#interfaces.size && [...next].every((name) => this.#interfaces.has(name))) return;
    this.#interfaces = next;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` at each change until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
