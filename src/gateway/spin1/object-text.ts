/** Cuts a stream of bytes into the JSON objects in it, by their braces; bounded, and each byte looked at once. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Objects that came at once and wait. */
const MAX_WAITING = 64;

export class ObjectText {
  /** Why no more can be taken, in words. */
  fault: string | undefined;
  readonly #limit: number;
  readonly #ready: string[] = [];
  #chunks: Buffer[] = [];
  #bytes = 0;
  #depth = 0;
  #inString = false;
  #isEscaped = false;

  /** @param limit Bytes that one object may have */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Buffer): void {
    let from = this.#depth > 0 ? 0 : -1;
    for (let at = 0; at < chunk.length && this.fault === undefined; at++) {
      const byte = chunk[at] as number;
      if (this.#depth === 0) {
        if (byte === OPEN) {
          from = at;
          this.#depth = 1;
        } else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
          this.fault = "Invalid Request: a JSON object is wanted";
        }
      } else if (this.#isEscaped) this.#isEscaped = false;
      else if (this.#inString) {
        if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN) this.#depth++;
      else if (byte === CLOSE && --this.#depth === 0) {
        this.#keep(chunk.subarray(from, at + 1));
        from = -1;
        this.#end();
      }
    }
    if (from >= 0 && this.fault === undefined) this.#keep(chunk.subarray(from));
  }

  /** The next whole object. */
  take(): string | undefined {
    return this.#ready.shift();
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#limit) this.fault = `Invalid Request: longer than ${this.#limit} bytes`;
    else this.#chunks.push(part);
  }

  #end(): void {
    if (this.fault !== undefined) return;
    if (this.#ready.length >= MAX_WAITING) this.fault = `Invalid Request: more than ${MAX_WAITING} at once`;
    else this.#ready.push(Buffer.concat(this.#chunks).toString("utf8"));
    this.#chunks = [];
    this.#bytes = 0;
  }
}
