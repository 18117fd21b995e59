/** The schemas as tables, by which the strict check walks (wire-check.ts), from the short text that they are generated as. */

export type FieldType = "string" | "bytes" | "bool" | "enum" | "uint64" | "fixed32" | "message";

export interface FieldTable {
  readonly number: number;
  readonly name: string;
  readonly type: FieldType;
  readonly repeated?: boolean;
  /** Index into the message's oneofs. */
  readonly oneof?: number;
  /** Greatest known value of an enum; all start at 0 and have no gaps. */
  readonly max?: number;
  /** Index into the tables. */
  readonly message?: number;
}

export interface MessageTable {
  readonly name: string;
  readonly oneofs: readonly string[];
  readonly fields: readonly FieldTable[];
}

/**
 * @param texts A message each: `NAME|ONEOF …|FIELD|FIELD …`, where a field is `NUMBER NAME TYPE` and what else is to say:
 * `r` repeated, `oN` in the oneof N, `xN` greatest value N of an enum, `mN` the message N
 */
export function messageTables(texts: readonly string[]): readonly MessageTable[] {
  return texts.map((text) => {
    const [name = "", oneofs = "", ...fields] = text.split("|");
    return { name, oneofs: oneofs.split(" ").filter(Boolean), fields: fields.map(fieldTable) };
  });
}

function fieldTable(text: string): FieldTable {
  const [number, name = "", type, ...more] = text.split(" ");
  const numberAfter = (letter: string) => {
    const found = more.find((each) => each.startsWith(letter));
    return found === undefined ? undefined : Number(found.slice(1));
  };
  const [oneof, max, message] = [numberAfter("o"), numberAfter("x"), numberAfter("m")];
  return {
    number: Number(number),
    name,
    type: type as FieldType,
    ...(more.includes("r") && { repeated: true }),
    ...(oneof !== undefined && { oneof }),
    ...(max !== undefined && { max }),
    ...(message !== undefined && { message }),
  };
}
