/**
 * Where stored rows live between two starts: one document a group, a group being a stored object with all stored objects
 * below it, so that a row and its parts are written together. A write is due when a transaction commits; all that are due
 * at the same time share an fsync (src/lib/store.ts).
 */
import type { Store } from "../lib/store.ts";

/** What a stored object puts into its group's document. */
export interface Section {
  /** Last instance number given, by the parent's key. */
  readonly next: Readonly<Record<string, number>>;
  /** Texts of the parameters, by row key: instance numbers joined by dots; a single object has its parent's key. */
  readonly rows: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

type Document = Record<string, Section>;

/** `missing`: never saved, or deleted; `unreadable`: it was no document of ours and is set aside, with an error logged. */
export type Found = "kept" | "missing" | "unreadable";

export class Persistence {
  readonly #store: Store;
  readonly #loaded = new Map<string, Document>();
  readonly #found = new Map<string, Found>();
  readonly #sections = new Map<string, Map<string, () => Section>>();
  #saving: Promise<void> = Promise.resolve();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Takes part: gives back what was saved, and is asked for `snapshot` whenever the group is written. */
  join(group: string, path: string, snapshot: () => Section): Section | undefined {
    const sections = this.#sections.get(group) ?? new Map<string, () => Section>();
    sections.set(path, snapshot);
    this.#sections.set(group, sections);
    const document = this.#loaded.get(group) ?? this.#load(group);
    return document[path];
  }

  /** What the start found of a group; the path of its topmost stored object names it. */
  found(group: string): Found {
    return this.#found.get(group) ?? "missing";
  }

  #load(group: string): Document {
    const name = documentName(group);
    const isThere = this.#store.has(name);
    const loaded = isThere ? this.#store.load(name) : undefined;
    const wrong = loaded === undefined ? undefined : wrongIn(loaded);
    if (wrong !== undefined) this.#store.setAside(name, wrong);
    const document = loaded === undefined || wrong !== undefined ? {} : (loaded as Document);
    this.#found.set(group, !isThere ? "missing" : loaded === undefined || wrong !== undefined ? "unreadable" : "kept");
    this.#loaded.set(group, document);
    return document;
  }

  /** The group's rows changed. */
  changed(group: string): void {
    const sections = this.#sections.get(group);
    if (!sections) return;
    // What was saved of objects that have not joined (yet: a save may be due while the tree is built) stays as it is.
    const print = () => ({
      ...this.#loaded.get(group),
      ...Object.fromEntries([...sections].map(([path, snapshot]) => [path, snapshot()])),
    });
    const saved = this.#store.save(documentName(group), print);
    saved.catch(() => undefined); // told to whoever awaits `saved()`
    this.include(saved);
  }

  /** A change that is kept elsewhere counts as well. */
  include(saved: Promise<void>): void {
    this.#saving = Promise.all([this.#saving.catch(() => undefined), saved]).then(() => undefined);
    this.#saving.catch(() => undefined);
  }

  /** Resolves when every change up to now is on disk; rejects with the disk's error. */
  saved(): Promise<void> {
    return this.#saving;
  }
}

const documentName = (group: string) =>
  `model-${group.replaceAll(".{i}", "").slice(0, -1).toLowerCase().replaceAll(".", "-")}`;

/** Why it is no document of ours, in words; `undefined` if it is one. A part taken for the whole would lose the rest. */
function wrongIn(value: unknown): string | undefined {
  if (!isRecord(value)) return "not an object";
  const sections = Object.entries(value);
  if (sections.length === 0) return "empty";
  for (const [path, section] of sections) {
    const wrong = isRecord(section) ? wrongInSection(section, path.split("{i}").length - 1) : "not an object";
    if (wrong !== undefined) return `${path}: ${wrong}`;
  }
  return undefined;
}

function wrongInSection({ next, rows }: Readonly<Record<string, unknown>>, depth: number): string | undefined {
  if (!isRecord(next) || !isRecord(rows)) return "next or rows is missing";
  for (const [key, number] of Object.entries(next))
    if (!isKey(key, depth - 1) || !Number.isSafeInteger(number) || (number as number) < 0)
      return `next of ${JSON.stringify(key)} is no number`;
  for (const [key, texts] of Object.entries(rows)) {
    if (!isKey(key, depth)) return `${JSON.stringify(key)} is no row`;
    if (!isRecord(texts) || !Object.values(texts).every((text) => typeof text === "string"))
      return `row ${JSON.stringify(key)} has values that are no texts`;
  }
  return undefined;
}

/** Whether a row key has that many instance numbers. */
function isKey(key: string, depth: number): boolean {
  if (depth <= 0) return depth === 0 && key === "";
  const numbers = key.split(".");
  return numbers.length === depth && numbers.every((number) => /^[1-9]\d*$/.test(number));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
