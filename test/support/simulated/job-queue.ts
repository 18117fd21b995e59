/** What is to be done when, earliest first. */
export class JobQueue {
  readonly #heap: { readonly at: number; readonly order: number; readonly work: () => void }[] = [];
  #order = 0;

  add(at: number, work: () => void): void {
    const heap = this.#heap;
    heap.push({ at, order: this.#order++, work });
    for (let child = heap.length - 1; child > 0;) {
      const parent = (child - 1) >> 1;
      if (!this.#isBefore(child, parent)) return;
      this.#swap(child, parent);
      child = parent;
    }
  }

  /** The earliest that is due; it is taken out. */
  due(now: number): (() => void) | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (!first || first.at > now) return undefined;
    const last = heap.pop() as typeof first;
    if (heap.length > 0) {
      heap[0] = last;
      for (let parent = 0; ;) {
        let least = parent;
        for (const child of [2 * parent + 1, 2 * parent + 2])
          if (child < heap.length && this.#isBefore(child, least)) least = child;
        if (least === parent) break;
        this.#swap(parent, least);
        parent = least;
      }
    }
    return first.work;
  }

  #isBefore(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (!one || !other) return false;
    return one.at < other.at || (one.at === other.at && one.order < other.order);
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    [heap[a], heap[b]] = [heap[b] as never, heap[a] as never];
  }
}
