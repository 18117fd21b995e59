/** What the kernel, or the helper, answered a request with. */
import { getSystemErrorName } from "node:util";

export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  /** `ENOENT` … */
  readonly code: string;
  constructor(
    what: string,
    /** Positive, as in errno.h. */
    readonly errno: number,
    /** Of the message at fault in the transaction. */
    readonly index?: number,
    detail = "",
  ) {
    const code = errorCode(errno);
    const where = index === undefined ? "" : ` in message ${index}`;
    super(`${what}: ${code}${where}${detail === "" ? "" : `: ${detail}`}`);
    this.code = code;
  }
}

function errorCode(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}
