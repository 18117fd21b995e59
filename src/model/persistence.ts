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

export class Persistence {
  readonly #store: Store;
  readonly #loaded = new Map<string, Document>();
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
    let document = this.#loaded.get(group);
    if (!document) {
      const loaded = this.#store.load(documentName(group));
      document = isDocument(loaded) ? loaded : {};
      this.#loaded.set(group, document);
    }
    return document[path];
  }

  /** The group's rows changed. */
  changed(group: string): void {
    const sections = this.#sections.get(group);
    if (!sections) return;
    const print = () => Object.fromEntries([...sections].map(([path, snapshot]) => [path, snapshot()]));
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

function isDocument(value: unknown): value is Document {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every(
      (section) => typeof section === "object" && section !== null && "rows" in section && "next" in section,
    )
  );
}
