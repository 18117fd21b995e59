/** Tables and figures for people. */

/**
 * A titled table. A heading that begins with `>` is of a column that is aligned to the right. `left` rows are said to be
 * left out.
 */
export function table(
  title: string,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  left = 0,
): string {
  if (rows.length === 0) return `\n${title}: none\n`;
  const isRight = headings.map((heading) => heading.startsWith(">"));
  const all = [headings.map((heading) => heading.replace(/^>/, "")), ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? "")].length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => (isRight[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  const more = left > 0 ? `… and ${countText(left)} more\n` : "";
  return `\n${title}\n${lines.join("\n")}\n${more}`;
}

/** Bytes in decimal units, as providers count them: `999 B`, `1.5 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

/** A whole number with its thousands apart: `1,234,567`. */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
