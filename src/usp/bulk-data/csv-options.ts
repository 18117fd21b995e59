/**
 * What CSV may be written with. A controller chooses it, and by MQTT the report goes where others listen: with any text as
 * separator a report would be whatever bytes the controller likes, a USP Record in another's name among them.
 */
const FIELD_SEPARATORS: ReadonlySet<string> = new Set([",", ";", "\t", "|"]);
const ROW_SEPARATORS: ReadonlySet<string> = new Set(["\r\n", "\n"]);

const RULES = {
  FieldSeparator: { isFit: (text: string) => FIELD_SEPARATORS.has(text), fits: "a comma, semicolon, tab or |" },
  RowSeparator: { isFit: (text: string) => ROW_SEPARATORS.has(text), fits: "&#13;&#10; or &#10;" },
  EscapeCharacter: { isFit: (text: string) => /^[!-~]$/.test(text), fits: "one printable character of ASCII" },
} as const;

export type CsvOption = keyof typeof RULES;

/** The characters that a parameter stands for; `undefined` where CSV is not written with them. */
export function csvOption(name: CsvOption, text: string): string | undefined {
  const meant = unescape(text);
  return RULES[name].isFit(meant) ? meant : undefined;
}

/** What the parameter may be, in words. */
export const csvOptionFits = (name: CsvOption): string => RULES[name].fits;

/** Numeric character references and the named quote, as TR-369's examples write separators. */
function unescape(text: string): string {
  return text
    .replaceAll(/&#(\d{1,3});/g, (_, code: string) => String.fromCharCode(Number(code)))
    .replaceAll("&quot;", '"');
}
