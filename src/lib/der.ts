/** ASN.1 DER, as far as certificates and revocation lists need it: tags, lengths, and what is inside. */

export interface Der {
  /** The identifier octet: 0x30 a sequence, 0x02 an integer … Only tags of one octet occur in X.509. */
  readonly tag: number;
  /** The element whole, with its head. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array;
}

/** @throws RangeError where the bytes hold no element */
export function readDer(bytes: Uint8Array, at = 0): Der {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw new RangeError("no DER");
  let length = first;
  let start = at + 2;
  if (first & 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new RangeError("a length that DER does not have");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? NaN);
    start += count;
  }
  const end = start + length;
  if (!(end <= bytes.length)) throw new RangeError("the element ends too early");
  return { tag, bytes: bytes.subarray(at, end), content: bytes.subarray(start, end) };
}

/** The elements inside another. @throws RangeError */
export function derItems({ content }: Der): Der[] {
  const items: Der[] = [];
  for (let at = 0; at < content.length;) {
    const item = readDer(content, at);
    items.push(item);
    at += item.bytes.length;
  }
  return items;
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").toUpperCase();
