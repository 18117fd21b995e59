/** Paths and expressions from the outside: whatever comes, the parser gives a path or says 7008, and what it takes it keeps. */
import fc from "fast-check";
import { UspError } from "../../src/lib/usp-error.ts";
import { parseExpression } from "../../src/model/expression.ts";
import { parsePath, type ParsedPath, type Segment } from "../../src/model/path.ts";

const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,12}$/);
const operator = fc.constantFrom("==", "!=", "~=", "<", ">", "<=", ">=");
const escaped = fc.string({ maxLength: 12 }).map((text) => text.replaceAll("%", "%25").replaceAll('"', "%22"));
const literal = fc.oneof(
  escaped.map((text) => `"${text}"`),
  fc.integer().map(String),
  fc.constantFrom("true", "false", "1", "0"),
);
const blank = fc.constantFrom("", " ");
const comparison = fc
  .tuple(fc.array(name, { minLength: 1, maxLength: 3 }), blank, operator, blank, literal)
  .map(([steps, before, op, after, value]) => `${steps.join(".")}${before}${op}${after}${value}`);
const expression = fc.array(comparison, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("&&"));
const follow = fc.tuple(name, fc.constantFrom("", "#1", "#23", "#*")).map(([param, item]) => `${param}${item}+`);
const segment = fc.oneof(
  name,
  fc.integer({ min: 1, max: 4_294_967_295 }).map(String),
  fc.constant("*"),
  expression.map((text) => `[${text}]`),
  follow,
);
const leaf = fc.oneof(
  fc.constant(""),
  name,
  name.map((text) => `${text}()`),
  name.map((text) => `${text}!`),
);
const path = fc
  .tuple(fc.array(segment, { maxLength: 8 }), leaf)
  .map(([segments, last]) => ["Device", ...segments, last].join("."));

/** What the path was made from, again. */
function print({ segments, leaf: last, leafKind }: ParsedPath): string {
  return [...segments.map(printSegment), leafKind === "object" ? "" : (last as string)].join(".");
}

function printSegment(part: Segment): string {
  switch (part.kind) {
    case "name":
      return part.name;
    case "instance":
      return `${part.instance}`;
    case "wildcard":
      return "*";
    case "follow":
      return part.item === 1 ? `${part.name}+` : `${part.name}#${part.item}+`;
    case "search":
      return `[${part.expression
        .map(({ path: steps, operator: op, literal: text, quoted }) => {
          const value = quoted ? `"${text.replaceAll("%", "%25").replaceAll('"', "%22")}"` : text;
          return `${steps.map((step) => step.name).join(".")}${op}${value}`;
        })
        .join("&&")}]`;
  }
}

/** Without the blanks and abbreviations that mean nothing. */
const plain = (text: string): string => print(parsePath(text));

test("what the grammar makes is taken, and says the same when it is printed and read again", () => {
  fc.assert(
    fc.property(path, (text) => {
      expect(plain(plain(text))).toBe(plain(text));
      expect(parsePath(text).isSearch).toBe(parsePath(plain(text)).isSearch);
    }),
  );
});

test("a path without blanks or abbreviations is what was read", () => {
  const exact = fc
    .tuple(fc.array(fc.oneof(name, fc.integer({ min: 1, max: 99 }).map(String)), { maxLength: 8 }), leaf)
    .map(([segments, last]) => ["Device", ...segments, last].join("."));
  fc.assert(fc.property(exact, (text) => plain(text) === text));
});

test("anything else is refused with 7008, and nothing throws otherwise", () => {
  const noise = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom(...'Device.[]"&=!<>~*#+()%1a '), maxLength: 60 }),
    fc
      .tuple(path, fc.nat(200), fc.string({ maxLength: 3 }))
      .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at)),
  );
  fc.assert(
    fc.property(noise, (text) => {
      try {
        parsePath(text);
      } catch (error) {
        expect(error).toBeInstanceOf(UspError);
        expect((error as UspError).code).toBe(7008);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("escapes in a literal are read back", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const [only] = parseExpression(`A=="${text.replaceAll("%", "%25").replaceAll('"', "%22")}"`, "p");
      expect(only?.literal).toBe(text);
    }),
  );
});

test.each([
  "",
  " ",
  "&&",
  "A",
  "A==",
  "==1",
  "A=1",
  "A==1||B==2",
  "A==1&&",
  "A == 1 2",
  'A=="x',
  "A+==1",
  "1==A",
  "A.==1",
])("the expression %j is none", (text) => expect(() => parseExpression(text, "p")).toThrow(UspError));

test("depth, length and number of comparisons are bounded", () => {
  const refuses = (text: string) => expect(() => parsePath(text)).toThrow(expect.objectContaining({ code: 7008 }));
  refuses(`Device.${"A.".repeat(100)}`);
  refuses(`Device.${"A".repeat(5_000)}`);
  refuses(`Device.A.[${Array.from({ length: 17 }, () => "B==1").join("&&")}].`);
});
