/** Parsed paths of late, so that a path that is asked for again and again is parsed once. */
import { parsePath, type ParsedPath } from "../model/path.ts";

const MAX_PATHS = 1024;

export class PathCache {
  readonly #parsed = new Map<string, ParsedPath>();

  /** @throws UspError 7008 */
  parse(text: string): ParsedPath {
    const known = this.#parsed.get(text);
    if (known) return known;
    const parsed = parsePath(text);
    // The oldest goes; one that is in use comes back at once.
    if (this.#parsed.size >= MAX_PATHS)
      for (const oldest of this.#parsed.keys()) if (this.#parsed.delete(oldest)) break;
    this.#parsed.set(text, parsed);
    return parsed;
  }
}
