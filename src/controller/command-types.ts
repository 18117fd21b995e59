/** Which commands are asynchronous, asked once for each kind of object. */
import { UspError } from "../lib/usp-error.ts";
import type { SupportedOutcome } from "./outcome.ts";

export class CommandTypes {
  readonly #ask: (paths: string[]) => Promise<SupportedOutcome[]>;
  readonly #known = new Map<string, boolean>();

  constructor(ask: (paths: string[]) => Promise<SupportedOutcome[]>) {
    this.#ask = ask;
  }

  /** Whether the command at the path, which may search, ends later than its answer. Unknown ones might. */
  async isAsync(command: string): Promise<boolean> {
    const supported = supportedPath(command);
    const known = this.#known.get(supported);
    if (known !== undefined) return known;
    const object = supported.slice(0, supported.lastIndexOf(".") + 1);
    try {
      const [outcome] = await this.#ask([object]);
      if (outcome?.error !== undefined) return true;
      for (const { path, commands } of outcome?.objects ?? []) {
        for (const { name, type } of commands) this.#known.set(path + name, type !== "sync");
      }
    } catch (error) {
      if (!(error instanceof UspError)) throw error;
    }
    return this.#known.get(supported) ?? true;
  }
}

/** `Device.A.[X=="a.b"].C()` and `Device.A.3.C()` → `Device.A.{i}.C()`. */
export function supportedPath(path: string): string {
  return path.replace(/\.\[(?:"[^"]*"|[^\]"])*\]/g, ".{i}").replace(/\.(?:\*|\d+)(?=\.)/g, ".{i}");
}
