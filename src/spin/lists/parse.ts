/**
 * Lists as they are published, read in a stream: hosts files, plain lists, CSV, and response policy zones
 * (draft-vixie-dnsop-dns-rpz). What can't be read is counted and does no harm to the rest. No text of a list ever stands
 * in an error.
 */
import { setImmediate as immediate } from "node:timers/promises";
import { parseAddress, parsePrefix, type Prefix } from "../../lib/address.ts";
import { canonicalDomain } from "../../lib/domain.ts";
import { ListBuilder, MAX_ENTRIES, type ListContent } from "./content.ts";

export const LIST_FORMATS = ["Plain", "Hosts", "CSV", "RPZ"] as const;
export type ListFormat = (typeof LIST_FORMATS)[number];

/** No format needs longer lines; what is longer is one entry that can't be read. */
const MAX_LINE = 4096;
/** So many lines are read before others get a turn: some 10 ms. */
const LINES_A_TURN = 4000;
/** And so many characters of them: a line may hold two thousand names. */
const LETTERS_A_TURN = 65_536;
/** Columns of a CSV line that are tried. */
const MAX_COLUMNS = 32;
const NEWLINE = 10;

export interface ParseOptions {
  readonly format: ListFormat;
  /** What may not be in a list. */
  readonly excluded: readonly Prefix[];
  readonly limit?: number;
  /** Bytes that the content may take. */
  readonly room?: number;
}

type LineReader = (line: string, builder: ListBuilder) => void;

export async function parseList(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { format, excluded, limit = MAX_ENTRIES, room = Infinity }: ParseOptions,
): Promise<ListContent> {
  const builder = new ListBuilder(excluded, limit, room);
  const read = readerOf(format);
  let lines = 0;
  let letters = 0;
  for await (const line of linesOf(chunks)) {
    if (line === undefined) builder.unreadable++;
    else read(line, builder);
    letters += line?.length ?? MAX_LINE;
    if (++lines < LINES_A_TURN && letters < LETTERS_A_TURN) continue;
    lines = letters = 0;
    await immediate();
  }
  return await builder.finish();
}

/** Lines without their ends; `undefined` for one that is too long. */
async function* linesOf(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string | undefined, void> {
  let rest = Buffer.alloc(0);
  let isSkipping = false;
  for await (const chunk of chunks) {
    const bytes =
      rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      if (isSkipping) isSkipping = false;
      else yield end - from > MAX_LINE ? undefined : bytes.toString("utf8", from, end);
      from = end + 1;
    }
    rest = Buffer.from(bytes.subarray(from));
    if (rest.length <= MAX_LINE) continue;
    if (!isSkipping) yield undefined;
    isSkipping = true;
    rest = Buffer.alloc(0);
  }
  if (rest.length > 0 && !isSkipping) yield rest.toString("utf8");
}

function readerOf(format: ListFormat): LineReader {
  switch (format) {
    case "Plain":
      return readPlain;
    case "Hosts":
      return readHosts;
    case "CSV":
      return readCsv;
    case "RPZ":
      return zoneReader();
  }
}

/** An address, a prefix, a range of addresses or a name a line; `#` and `;` begin a comment. */
function readPlain(line: string, builder: ListBuilder): void {
  const text = withoutComment(line, /[#;]/);
  if (text === "") return;
  const [entry = "", ...more] = text.split(/\s+/);
  if (more.length > 0 || !take(entry, builder)) builder.unreadable++;
}

/** Names of the machine itself, which hosts files begin with. */
const OWN_NAMES = new Set([
  "localhost",
  "localhost.localdomain",
  "local",
  "broadcasthost",
  "ip6-localhost",
  "ip6-loopback",
  "ip6-localnet",
  "ip6-mcastprefix",
  "ip6-allnodes",
  "ip6-allrouters",
  "ip6-allhosts",
  "0.0.0.0",
]);

/** An address, which says nothing, and names that are meant (hosts(5)). */
function readHosts(line: string, builder: ListBuilder): void {
  const text = withoutComment(line, /#/);
  if (text === "") return;
  const [address = "", ...names] = text.split(/\s+/);
  if (names.length === 0 || !parseAddress(address.replace(/%.*$/, ""))) return void builder.unreadable++;
  for (const name of names) {
    if (OWN_NAMES.has(name.toLowerCase())) continue;
    if (!takeName(name, builder)) builder.unreadable++;
  }
}

/** The first column that is an address, a prefix or a name with a dot; `"` quotes, comma, semicolon or tab divide. */
function readCsv(line: string, builder: ListBuilder): void {
  if (/^\s*(#.*)?$/.test(line)) return;
  const columns = columnsOf(line);
  if (!columns.some((column) => take(column, builder))) builder.unreadable++;
}

function columnsOf(line: string): string[] {
  const columns: string[] = [];
  let column = "";
  let isQuoted = false;
  for (const letter of line) {
    if (letter === '"') isQuoted = !isQuoted;
    else if (!isQuoted && (letter === "," || letter === ";" || letter === "\t")) {
      columns.push(column.trim());
      column = "";
      if (columns.length === MAX_COLUMNS) return columns;
    } else column += letter;
  }
  columns.push(column.trim());
  return columns;
}

/**
 * A response policy zone: names and `rpz-ip` triggers, whatever is to be answered for them, but for `rpz-passthru.`, which
 * excepts. A name without `*` is taken with what is below it, as all names of lists are.
 */
function zoneReader(): LineReader {
  let origin = "";
  let owner = "";
  let depth = 0;
  return (line, builder) => {
    const text = withoutComment(line, /;/, false);
    if (text.trim() === "") return;
    const wasInside = depth > 0;
    depth = Math.max(0, depth + count(text, "(") - count(text, ")"));
    // The rest of a record that goes over several lines: of SOA, which is no entry.
    if (wasInside) return;
    const words = text.trim().split(/\s+/);
    const [first = ""] = words;
    if (first.toUpperCase() === "$ORIGIN") return void (origin = zoneName(words[1] ?? "", ""));
    if (first.startsWith("$")) return;
    if (!/^\s/.test(text)) owner = zoneName(words.shift() ?? "", origin);
    const [type = "", data = ""] = recordOf(words);
    if (!["CNAME", "A", "AAAA", "TXT"].includes(type)) {
      if (!["SOA", "NS"].includes(type)) builder.unreadable++;
      return;
    }
    if (/^rpz-passthru\.?$/i.test(data)) return void builder.passedOver++;
    takeTrigger(owner, builder);
  };
}

/** The owner without the zone's name. `@` is the zone itself. */
function zoneName(text: string, origin: string): string {
  const name = text.toLowerCase();
  if (name === "@") return "";
  if (!name.endsWith(".")) return name;
  const absolute = name.slice(0, -1);
  if (origin !== "" && absolute === origin) return "";
  return origin !== "" && absolute.endsWith(`.${origin}`) ? absolute.slice(0, -origin.length - 1) : absolute;
}

/** Type and data of a record, after TTL and class. */
function recordOf(words: readonly string[]): readonly string[] {
  let at = 0;
  while (at < 2 && /^(\d+[smhdw]?|IN|CH|HS)$/i.test(words[at] ?? "")) at++;
  return [(words[at] ?? "").toUpperCase(), words[at + 1] ?? ""];
}

function takeTrigger(owner: string, builder: ListBuilder): void {
  const [, labels, kind] = /^(.+)\.rpz-(ip|client-ip|nsip|nsdname)(?:\..*)?$/.exec(owner) ?? [];
  if (kind === undefined) return void (takeName(owner, builder) || builder.unreadable++);
  const prefix = kind === "ip" ? triggerPrefix((labels as string).split(".")) : undefined;
  if (prefix) builder.prefix(prefix);
  // The other triggers are about resolvers: a gateway has nothing to do for them.
  else if (kind === "ip") builder.unreadable++;
  else builder.passedOver++;
}

/** `24.0.2.0.192`: the length, then the address from its end; `zz` is IPv6's `::`. */
function triggerPrefix([length = "", ...parts]: readonly string[]): Prefix | undefined {
  const reversed = [...parts].reverse();
  if (!/^\d+$/.test(length)) return undefined;
  if (parts.length === 4 && parts.every((part) => /^\d+$/.test(part)))
    return parsePrefix(`${reversed.join(".")}/${length}`);
  const text = reversed.map((part) => (part === "zz" ? "" : part)).join(":");
  const address = text.replace(/^:/, "::").replace(/:$/, "::").replace(/:{3,}/, "::");
  return parsePrefix(`${address}/${length}`);
}

function take(entry: string, builder: ListBuilder): boolean {
  const text = entry.replace(/^\[(.*)\]$/, "$1");
  const prefix = parsePrefix(text);
  if (prefix) builder.prefix(prefix);
  else if (!takeRange(text, builder)) return text.includes(".") && takeName(text, builder);
  return true;
}

/** `192.0.2.0-192.0.2.255`, as the prefixes that it is made of. */
function takeRange(text: string, builder: ListBuilder): boolean {
  const dash = text.indexOf("-");
  const [from, to] = dash < 0 ? [] : [parseAddress(text.slice(0, dash)), parseAddress(text.slice(dash + 1))];
  if (!from || !to || from[2] !== to[2] || from[0] !== 0 || from[1] !== 0 || to[0] !== 0 || to[1] !== 0) return false;
  const last = to[3] as number;
  for (let at = from[3] as number; at <= last;) {
    let size = 1;
    while (size < 0x80000000 && at % (2 * size) === 0 && at + 2 * size - 1 <= last) size *= 2;
    builder.prefix({ words: Uint32Array.of(0, 0, from[2] as number, at), bits: 128 - Math.log2(size) });
    at += size;
  }
  return true;
}

/** `*.` and a leading dot mean what names of lists mean anyway: with all below. */
function takeName(text: string, builder: ListBuilder): boolean {
  const name = canonicalDomain(text.replace(/^\*?\./, ""));
  // A last label of digits is a mistyped address.
  if (name === undefined || /(^|\.)\d+$/.test(name)) return false;
  builder.name(name);
  return true;
}

function withoutComment(line: string, mark: RegExp, trims = true): string {
  const at = line.search(mark);
  const text = at < 0 ? line : line.slice(0, at);
  return trims ? text.trim() : text.trimEnd();
}

function count(text: string, letter: string): number {
  let found = 0;
  for (const each of text) if (each === letter) found++;
  return found;
}
