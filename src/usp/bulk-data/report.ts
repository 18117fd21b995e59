/**
 * What a report holds: the values that a profile's references name, as far as its owner may read them now. Secured and
 * hidden values are as a Get by the owner would show them; what it may not read is as if it were not there.
 */
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { compileMatcher, type Matcher } from "../../model/matcher.ts";
import { parsePath, type ParsedPath } from "../../model/path.ts";
import { resolve } from "../../model/resolve.ts";
import type { ModelTree } from "../../model/implementation.ts";
import type { InstanceNode, SupportedObject, SupportedParam } from "../../model/tree.ts";
import { READ } from "../rights.ts";
import type { View } from "../view.ts";

/** One value. */
export interface Entry {
  /** Its name in the report; no two are alike. */
  readonly name: string;
  readonly param: SupportedParam;
  /** Instance path of its object, with final dot. */
  readonly path: string;
  readonly text: string;
}

export interface Report {
  /** Milliseconds since 1970. */
  readonly collectedAt: number;
  readonly entries: readonly Entry[];
  /** What it takes in memory and, about, on the wire. */
  readonly bytes: number;
}

/** A row of `Profile.{i}.Parameter.{i}.`. */
export interface ReportReference {
  readonly name: string;
  readonly path: string;
  readonly exclude: boolean;
}

/** Names that the encodings give to the time of collection. */
const RESERVED = ["CollectionTime", "ReportTimestamp"];
/** Of an entry, besides its texts. */
const ENTRY_BYTES = 16;

/**
 * Reads what the references name. A reference that the model does not have (any more) gives nothing.
 * @throws UspError 7005 where it would be more than `maxBytes`, or more rows than one path may name
 */
export function collect(view: View, references: readonly ReportReference[], now: number, maxBytes: number): Report {
  const excluded = references.filter(({ exclude }) => exclude).flatMap(({ path }) => matcherOf(view, path) ?? []);
  const collector = new Collector(view, excluded, maxBytes);
  for (const { name, path, exclude } of references) if (!exclude && path !== "") collector.take(name, path);
  return { collectedAt: now, entries: collector.entries, bytes: collector.bytes };
}

/** Of a report that waited: what the owner may still read. Privacy may have been asked for since. */
export function stillAllowed(view: View, report: Report): Report {
  let bytes = 0;
  const entries = report.entries.filter((entry) => {
    const allowed = mayStillRead(view, entry);
    if (allowed) bytes += sizeOf(entry);
    return allowed;
  });
  return { ...report, entries, bytes };
}

/** @throws UspError 7008, 7026 where the supported model has no such parameter or object */
export function checkReference(tree: ModelTree, text: string, kinds: readonly ("parameter" | "object")[]): void {
  const path = parsePath(text);
  const { leafKind } = path;
  if (leafKind === "command" || leafKind === "event" || !kinds.includes(leafKind))
    throw new UspError(UspErrorCode.InvalidPath, `${text} is not the path of a ${kinds.join(" or ")}`, text);
  const { object, leaf, isTable } = compileMatcher(tree, path);
  if (leaf !== undefined && (isTable || !object.params.has(leaf)))
    throw new UspError(UspErrorCode.InvalidPath, `${text} is not in the data model`, text);
}

class Collector {
  readonly entries: Entry[] = [];
  bytes = 0;
  readonly #view: View;
  readonly #excluded: readonly Matcher[];
  readonly #maxBytes: number;
  readonly #names = new Set(RESERVED);

  constructor(view: View, excluded: readonly Matcher[], maxBytes: number) {
    this.#view = view;
    this.#excluded = excluded;
    this.#maxBytes = maxBytes;
  }

  take(name: string, text: string): void {
    const path = asFound(() => parsePath(text));
    const found = path && asFound(() => resolve(this.#view.tree, path, this.#view));
    if (!path || !found) return;
    for (const node of found.nodes) {
      const prefix = name === "" ? undefined : [name, ...numbersOfWildcards(path, node)].join(".");
      if (path.leafKind === "parameter") {
        const param = found.isTable ? undefined : found.object.params.get(path.leaf as string);
        if (param && this.#view.access.at(node).readable.includes(param)) this.#add(node, param, prefix);
      } else if (path.leafKind === "object") {
        const base = found.isTable ? `${node.path}${found.object.name}.` : node.path;
        const roots = found.isTable ? this.#rows(node, found.object) : [node];
        for (const root of roots) this.#below(root, prefix, base.length);
      }
    }
  }

  #below(node: InstanceNode, prefix: string | undefined, baseLength: number): void {
    const { access, tree } = this.#view;
    for (const param of access.at(node).readable) {
      const name = prefix === undefined ? undefined : `${prefix}.${node.path.slice(baseLength)}${param.name}`;
      this.#add(node, param, name);
    }
    for (const child of node.object.children.values()) {
      if (!access.visible(child)) continue;
      if (child.schema.isTable) for (const row of this.#rows(node, child)) this.#below(row, prefix, baseLength);
      else {
        const single = tree.single(node, child);
        if (single) this.#below(single, prefix, baseLength);
      }
    }
  }

  #rows(parent: InstanceNode, table: SupportedObject): Iterable<InstanceNode> {
    return this.#view.canSeeRows(table) ? this.#view.tree.rows(parent, table) : [];
  }

  /** A name that is taken already gives way to the full path; what has that name already is there already. */
  #add(node: InstanceNode, param: SupportedParam, wanted: string | undefined): void {
    if (this.#excluded.some((matcher) => isExcluded(matcher, node, param))) return;
    const full = `${node.path}${param.name}`;
    const name = wanted === undefined || this.#names.has(wanted) ? full : wanted;
    if (this.#names.has(name)) return;
    this.#names.add(name);
    const entry = { name, param, path: node.path, text: this.#view.text(node, param) };
    this.bytes += sizeOf(entry);
    if (this.bytes > this.#maxBytes)
      throw new UspError(
        UspErrorCode.ResourcesExceeded,
        `the report would exceed ${this.#maxBytes} bytes; name less in Parameter, or take out some by Exclude`,
      );
    this.entries.push(entry);
  }
}

const sizeOf = ({ name, text }: Entry): number => name.length + Buffer.byteLength(text) + ENTRY_BYTES;

function isExcluded(matcher: Matcher, node: InstanceNode, { name }: SupportedParam): boolean {
  if (matcher.leafKind === "parameter")
    return matcher.leaf === name && matcher.object === node.object && matcher.matches(node);
  return matcher.leafKind === "object" && isWithin(node.object, matcher.object) && matcher.matches(node);
}

function isWithin(object: SupportedObject, ancestor: SupportedObject): boolean {
  for (let at: SupportedObject | undefined = object; at; at = at.parent) if (at === ancestor) return true;
  return false;
}

/** R-BULK.9: instance numbers where the path has a wildcard or a search, from left to right. */
function numbersOfWildcards({ segments }: ParsedPath, node: InstanceNode): number[] {
  const numbers: number[] = [];
  for (let at: InstanceNode | undefined = node; at; at = at.parent)
    if (at.object.schema.isTable) numbers.unshift(at.instance);
  // Where a reference was followed the path's own numbers are not the row's: all of the row's tell it apart.
  if (segments.some(({ kind }) => kind === "follow")) return numbers;
  const picks = segments.filter(({ kind }) => kind === "instance" || kind === "wildcard" || kind === "search");
  return numbers.filter((_, i) => picks[i]?.kind !== "instance");
}

function mayStillRead(view: View, { path, param, text }: Entry): boolean {
  const node = view.tree.at(path);
  const access = node ? view.access.at(node) : view.access.atPath(param.object, path);
  if ((access.param(param.name) & READ) === 0) return false;
  for (let at: SupportedObject | undefined = param.object; at; at = at.parent)
    if (at.schema.isTable && !view.canSeeRows(at)) return false;
  // Of a secured value whose row is gone nobody can say any more who may see it.
  return !param.schema.secured || text === "" || (node !== undefined && view.shows(node, param));
}

function matcherOf(view: View, text: string): Matcher | undefined {
  return text === "" ? undefined : asFound(() => compileMatcher(view.tree, parsePath(text), view));
}

/** `undefined` for what the model does not have. @throws UspError 7005 */
function asFound<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof UspError) || error.code === UspErrorCode.ResourcesExceeded) throw error;
    return undefined;
  }
}
