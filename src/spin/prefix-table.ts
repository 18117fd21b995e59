/**
 * Prefixes of one address family, each with what was said about it, cut into disjoint segments: an nftables interval set
 * refuses overlaps, and merged neighbours can't be taken apart again. Prefixes nest or are apart, never more; so a change
 * concerns only the outermost prefix around it, and a table of ten thousand changes in microseconds.
 */
import { isIPv4 } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";

/** Addresses from `from` to `to`, inclusive, as numbers of their family's width. */
export interface Span {
  readonly family: 4 | 6;
  readonly from: bigint;
  readonly to: bigint;
}

/** A prefix of the table and what was said about it, by whom. */
export interface PrefixNode<E> {
  readonly span: Span;
  readonly entries: Map<string, E>;
}

interface Segment<C> {
  readonly from: bigint;
  readonly to: bigint;
  readonly cells: readonly C[];
}

interface Root<C> {
  readonly from: bigint;
  readonly to: bigint;
  readonly segments: readonly Segment<C>[];
}

/** What a segment becomes; `covering` holds the prefixes around it, the outermost first. */
export type CellMaker<E, C> = (from: bigint, to: bigint, covering: readonly PrefixNode<E>[]) => readonly C[];

export class PrefixTable<E, C> {
  readonly #nodes: PrefixNode<E>[] = [];
  #roots: Root<C>[] = [];
  readonly #touched: Span[] = [];

  get isEmpty(): boolean {
    return this.#nodes.length === 0;
  }

  /** Says something about a prefix, in the place of what the same contributor said before. */
  put(span: Span, contributor: string, entry: E): void {
    const at = this.#position(span);
    let node = this.#nodes[at];
    if (!node || !isSame(node.span, span)) {
      node = { span, entries: new Map() };
      this.#nodes.splice(at, 0, node);
    }
    node.entries.set(contributor, entry);
    this.#touched.push(span);
  }

  /** Takes back what a contributor said. */
  remove(span: Span, contributor: string): void {
    const at = this.#position(span);
    const node = this.#nodes[at];
    if (!node || !isSame(node.span, span) || !node.entries.delete(contributor)) return;
    if (node.entries.size === 0) this.#nodes.splice(at, 1);
    this.#touched.push(span);
  }

  /** What was said about a prefix by a contributor. */
  get(span: Span, contributor: string): E | undefined {
    const node = this.#nodes[this.#position(span)];
    return node && isSame(node.span, span) ? node.entries.get(contributor) : undefined;
  }

  /** Has what covers a prefix computed anew, although nobody said anything new. */
  touch(span: Span): void {
    this.#touched.push(span);
  }

  /** Recomputes what changed since the last call. A cell may come back equal to one that is gone. */
  update(make: CellMaker<E, C>): { gone: C[]; come: C[] } {
    const gone: C[] = [];
    const come: C[] = [];
    const done: Span[] = [];
    for (const span of this.#touched.splice(0).sort((a, b) => compare(a, b))) {
      const last = done.at(-1);
      if (last && last.from <= span.from && last.to >= span.to) continue;
      done.push(this.#rebuild(span, make, gone, come));
    }
    return { gone, come };
  }

  /** The cells whose segment holds the address. */
  find(address: bigint): readonly C[] {
    const root = this.#roots[lastStartingBy(this.#roots, address)];
    if (!root || root.to < address) return [];
    const segment = root.segments[lastStartingBy(root.segments, address)];
    return segment && segment.to >= address ? segment.cells : [];
  }

  /** Recomputes around `span`; returns the span that was recomputed. */
  #rebuild(span: Span, make: CellMaker<E, C>, gone: C[], come: C[]): Span {
    let { from, to } = span;
    // The outermost prefix around the span, if any, comes first among those that reach it.
    const outermost = this.#outermost(span);
    if (outermost) ({ from, to } = outermost);
    let first = lastStartingBy(this.#roots, from);
    if (first < 0 || (this.#roots[first] as Root<C>).to < from) first++;
    let end = first;
    for (; end < this.#roots.length && (this.#roots[end] as Root<C>).from <= to; end++) {
      const root = this.#roots[end] as Root<C>;
      if (root.from < from) from = root.from;
      if (root.to > to) to = root.to;
      for (const segment of root.segments) gone.push(...segment.cells);
    }
    const roots = this.#sweep(from, to, make);
    for (const root of roots) for (const segment of root.segments) come.push(...segment.cells);
    this.#roots.splice(first, end - first, ...roots);
    return { family: span.family, from, to };
  }

  #sweep(from: bigint, to: bigint, make: CellMaker<E, C>): Root<C>[] {
    const roots: Root<C>[] = [];
    const stack: PrefixNode<E>[] = [];
    let segments: Segment<C>[] = [];
    let cursor = from;
    const emit = (last: bigint) => {
      if (cursor <= last) segments.push({ from: cursor, to: last, cells: make(cursor, last, stack) });
      cursor = last + 1n;
    };
    const close = () => {
      const node = stack.at(-1) as PrefixNode<E>;
      emit(node.span.to);
      stack.pop();
      if (stack.length > 0) return;
      // A copy, because V8 keeps room for sixteen more in an array that grew.
      roots.push({ from: node.span.from, to: node.span.to, segments: segments.slice() });
      segments = [];
    };
    let at = this.#firstFrom(from);
    for (; at < this.#nodes.length; at++) {
      const node = this.#nodes[at] as PrefixNode<E>;
      if (node.span.from > to) break;
      while (stack.length > 0 && (stack.at(-1) as PrefixNode<E>).span.to < node.span.from) close();
      if (stack.length > 0) emit(node.span.from - 1n);
      cursor = node.span.from;
      stack.push(node);
    }
    while (stack.length > 0) close();
    return roots;
  }

  #outermost(span: Span): Span | undefined {
    // Enclosing prefixes start at the span with more and more trailing bits cleared.
    const width = span.family === 4 ? 32n : 128n;
    for (let free = width; free >= 0n; free--) {
      const from = (span.from >> free) << free;
      const to = from + (1n << free) - 1n;
      if (to < span.to) break;
      const candidate = { family: span.family, from, to };
      const node = this.#nodes[this.#position(candidate)];
      if (node && isSame(node.span, candidate)) return candidate;
    }
    return undefined;
  }

  #firstFrom(from: bigint): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#nodes[middle] as PrefixNode<E>).span.from < from) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #position(span: Span): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare((this.#nodes[middle] as PrefixNode<E>).span, span) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The addresses of a prefix. */
export function spanOf(prefix: Prefix): Span {
  const family = prefix.bits >= 96 && isIPv4(prefix.words) ? 4 : 6;
  const from = addressNumber(prefix.words, family);
  return { family, from, to: from + (1n << BigInt(128 - prefix.bits)) - 1n };
}

/** Every address of a family. */
export function wholeSpan(family: 4 | 6): Span {
  return { family, from: 0n, to: (1n << (family === 4 ? 32n : 128n)) - 1n };
}

/** The words of an address (src/lib/address.ts) as a number of its family's width. */
export function addressNumber(words: ArrayLike<number>, family: 4 | 6, offset = 0): bigint {
  const word = (i: number) => BigInt(words[offset + i] as number);
  return family === 4 ? word(3) : (word(0) << 96n) | (word(1) << 64n) | (word(2) << 32n) | word(3);
}

/** The spans without those that lie inside another. */
export function outermostSpans(spans: readonly Span[]): Span[] {
  const kept: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.family - b.family || compare(a, b))) {
    const last = kept.at(-1);
    if (!last || last.family !== span.family || last.to < span.from) kept.push(span);
  }
  return kept;
}

function isSame(a: Span, b: Span): boolean {
  return a.from === b.from && a.to === b.to;
}

/** By start; of those with the same start, the longer first. */
function compare(a: Span, b: Span): number {
  if (a.from !== b.from) return a.from < b.from ? -1 : 1;
  return a.to === b.to ? 0 : a.to > b.to ? -1 : 1;
}

/** The index of the last one that starts at or before the address; −1 if none does. */
function lastStartingBy(sorted: readonly { readonly from: bigint }[], address: bigint): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as { from: bigint }).from <= address) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
