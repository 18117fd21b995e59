/**
 * OpenWrt's configuration syntax (UCI), so that one file serves a gateway's `/etc/config` and any other Linux:
 *
 *     config mqtt 'operator'
 *             option host 'broker.example'
 *             list topic 'usp/v1'
 */

export interface UciSection {
  readonly type: string;
  /** Empty for an anonymous section. */
  readonly name: string;
  readonly line: number;
  readonly options: ReadonlyMap<string, UciOption>;
}

export interface UciOption {
  readonly values: readonly string[];
  /** Written with `list`. */
  readonly isList: boolean;
  readonly line: number;
}

export class UciError extends Error {
  override readonly name = "UciError";
}

const WORD = /^[A-Za-z0-9_-]+$/;

/** @throws UciError naming the line */
export function parseUci(text: string): UciSection[] {
  const sections: { type: string; name: string; line: number; options: Map<string, UciOption> }[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const words = splitWords(raw, line);
    const [keyword, name, value] = words;
    if (keyword === undefined) continue;
    if (keyword === "package") continue;
    if (keyword === "config") {
      if (name === undefined || !WORD.test(name) || words.length > 3)
        throw new UciError(`line ${line}: expected: config TYPE ['NAME']`);
      sections.push({ type: name, name: value ?? "", line, options: new Map() });
      continue;
    }
    if (keyword !== "option" && keyword !== "list")
      throw new UciError(`line ${line}: ${JSON.stringify(keyword.slice(0, 40))} is not config, option or list`);
    if (name === undefined || !WORD.test(name) || value === undefined || words.length > 3)
      throw new UciError(`line ${line}: expected: ${keyword} NAME 'VALUE'`);
    const section = sections.at(-1);
    if (!section) throw new UciError(`line ${line}: ${keyword} ${name} stands before any config line`);
    const existing = section.options.get(name);
    if (existing && (keyword === "option" || !existing.isList))
      throw new UciError(`line ${line}: ${name} is set twice (first on line ${existing.line})`);
    section.options.set(name, {
      values: [...(existing?.values ?? []), value],
      isList: keyword === "list",
      line: existing?.line ?? line,
    });
  }
  return sections;
}

/** Words of a line: bare, 'single' or "double" quoted; `#` begins a comment. */
function splitWords(text: string, line: number): string[] {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (text[at] === " " || text[at] === "\t") at++;
    if (at >= text.length || text[at] === "#") return words;
    let word = "";
    while (at < text.length && text[at] !== " " && text[at] !== "\t") {
      const c = text[at++] as string;
      if (c === "'" || c === '"') {
        const end = text.indexOf(c, at);
        if (end < 0) throw new UciError(`line ${line}: a quote is not closed`);
        word += text.slice(at, end);
        at = end + 1;
      } else word += c;
    }
    words.push(word);
  }
}
