/** What every handler is given, and how it fails. */
import type { Error_ParamError } from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { ParsedPath } from "../../model/path.ts";
import type { InstanceNode, Tree } from "../../model/tree.ts";
import { resolve, type Resolved } from "../../model/resolve.ts";
import type { PathCache } from "../path-cache.ts";
import { READ } from "../rights.ts";
import type { View } from "../view.ts";

export interface HandlerContext {
  readonly tree: Tree;
  /** The model as the one who asks sees it. */
  readonly view: View;
  readonly paths: PathCache;
  /** Greatest answer, in bytes, and what sets that bound. */
  readonly responseBytes: number;
  readonly absentDeleteFails: boolean;
}

/** Answered with an Error Message that names the parameters or objects at fault. */
export class MessageError extends UspError {
  constructor(
    code: number,
    message: string,
    readonly paramErrs: readonly Error_ParamError[] = [],
  ) {
    super(code, message);
  }
}

/** Paths of one Message that may turn out too big, each after much work. */
const MAX_REFUSED = 16;
/** Tags, lengths and the code of a result that is an error. */
const ERROR_OVERHEAD = 20;
/** Tags and lengths of one text or message on the wire. */
const ITEM_OVERHEAD = 6;

/** Not less than what a part of an answer takes on the wire: its texts, tags and lengths. */
export function wireBytes(part: unknown): number {
  if (typeof part === "string") return Buffer.byteLength(part) + ITEM_OVERHEAD;
  if (typeof part !== "object" || part === null) return ITEM_OVERHEAD;
  let bytes = ITEM_OVERHEAD;
  if (part instanceof Map) for (const [key, value] of part) bytes += ITEM_OVERHEAD + wireBytes(key) + wireBytes(value);
  else for (const value of Object.values(part)) bytes += wireBytes(value);
  return bytes;
}

/** Bytes that an answer may still grow by. */
export class Budget {
  readonly total: number;
  #left: number;
  #refused = 0;

  constructor(total: number) {
    this.total = total;
    this.#left = total;
  }

  get left(): number {
    return this.#left;
  }

  /**
   * A path's result is this error instead of what was taken since `left` was `before`.
   * @throws UspError 7005, of the whole Message, where not even that fits, or too many paths were too big
   */
  failed(before: number, path: string, { code, message }: UspError): void {
    this.#left = before;
    if (code === UspErrorCode.ResourcesExceeded && ++this.#refused > MAX_REFUSED) this.take(Infinity, path);
    this.take(ERROR_OVERHEAD + Buffer.byteLength(path) + Buffer.byteLength(message), path);
  }

  /** @throws UspError 7005 */
  take(bytes: number, path: string): void {
    this.#left -= bytes;
    if (this.#left < 0)
      throw new UspError(
        UspErrorCode.ResourcesExceeded,
        `the answer would exceed ${this.total} bytes; narrow it by max_depth or a search expression, or ask for fewer paths`,
        path,
      );
  }
}

/** Resolves the object part of a path; what the caller may not name is not there. @throws UspError 7008, 7026, 7005 */
export function resolveFor({ tree, view }: HandlerContext, path: ParsedPath): Resolved {
  const found = resolve(tree, path, view);
  if (found.object.parent !== undefined && !view.access.visible(found.object) && found.object !== tree.root)
    throw invalidPath(path.text);
  return found;
}

export function invalidPath(text: string): UspError {
  return new UspError(UspErrorCode.InvalidPath, `${text.slice(0, 128)} is not in the data model`, text);
}

export function absent(text: string): UspError {
  return new UspError(UspErrorCode.ObjectDoesNotExist, `${text.slice(0, 128)} does not exist`, text);
}

/** Whether the row may be named in a path. */
export function mayName(view: View, node: InstanceNode): boolean {
  return (view.access.at(node).object & READ) !== 0;
}

/** An UspError of any origin as one; what is not a controller's fault is thrown on. */
export function asUspError(error: unknown): UspError {
  if (error instanceof UspError) return error;
  throw error;
}
