/** Text for people: tables, amounts, times. What devices chose themselves is escaped, so that it can't act on a terminal. */

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** Columns as wide as their content, two blanks apart, no blanks at the ends of lines. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(escapeText));
  const widths = columns.map(({ title }, at) => Math.max(title.length, ...cells.map((row) => width(row[at] ?? ""))));
  const line = (row: readonly string[]) =>
    columns
      .map(({ align }, at) => {
        const cell = row[at] ?? "";
        const pad = " ".repeat((widths[at] ?? 0) - width(cell));
        return align === "right" ? pad + cell : cell + pad;
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...cells.map(line)].join("\n");
}

/** Where the right column of a manual begins, and where its lines end at the latest: terminals are seldom narrower. */
const MANUAL_LEFT = 32;
const MANUAL_WIDTH = 96;

/** What there is, and what it does: the right column broken at blanks, below the left where that is long. */
export function manual(entries: readonly (readonly [left: string, right: string])[]): string {
  const left = Math.min(MANUAL_LEFT, Math.max(...entries.map((entry) => width(entry[0]) + 4)));
  return entries
    .flatMap(([name, help]) => {
      const lines = [""];
      for (const word of help.split(" ")) {
        const line = lines.at(-1) as string;
        if (line === "") lines[lines.length - 1] = word;
        else if (left + width(line) + 1 + width(word) <= MANUAL_WIDTH) lines[lines.length - 1] = `${line} ${word}`;
        else lines.push(word);
      }
      const start = `  ${name}`;
      const fits = width(start) + 2 <= left;
      const rest = lines.map((line, at) => (fits && at === 0 ? start.padEnd(left) : " ".repeat(left)) + line);
      return fits ? rest : [start, ...rest];
    })
    .join("\n");
}

function width(text: string): number {
  return [...text].length;
}

/** Control characters, and those that reorder text, as `\u{…}`. */
export function escapeText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`);
}

/** `1.2 MB`: three digits, decimal units. */
export function amount(value: number, unit: string): string {
  const prefixes = ["", "k", "M", "G", "T", "P", "E"];
  let at = 0;
  let scaled = value;
  while (scaled >= 999.5 && at < prefixes.length - 1) {
    scaled /= 1000;
    at++;
  }
  const digits = at === 0 || scaled >= 99.95 ? 0 : 1;
  return `${scaled.toFixed(digits)} ${prefixes[at] ?? ""}${unit}`;
}

/** The same with line breaks kept: for what is whole lines. Doing it twice changes nothing. */
export function escapeLines(text: string): string {
  return text.split("\n").map(escapeText).join("\n");
}

/** What a screen of that size shows of a text: neither lines that wrap nor lines that scroll. */
export function fit(text: string, { columns, rows }: { readonly columns: number; readonly rows: number }): string {
  const lines = text.split("\n").slice(0, rows - 1);
  return lines.map((line) => [...line].slice(0, columns).join("").trimEnd()).join("\n");
}

/** A whole number with its thousands apart: `1,234,567`. */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** How long ago, in the greatest whole unit; `never` for TR-106's Unknown Time. */
export function ago(dateTime: string, now: number): string {
  const then = Date.parse(dateTime);
  if (Number.isNaN(then) || dateTime.startsWith("0001-")) return "never";
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 5) return "now";
  for (const [size, unit] of [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

/** `1h30m` → seconds; units s, m, h, d, w. `undefined` if it is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+[smhdw])+$/.test(text)) return undefined;
  const sizes: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smhdw])/g))
    seconds += Number(count) * (sizes[unit as string] as number);
  return Number.isSafeInteger(seconds) && seconds > 0 ? seconds : undefined;
}
