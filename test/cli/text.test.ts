import { printJson } from "../../src/cli/json.ts";
import { ago, amount, countText, escapeText, fit, parseDuration, table } from "../../src/cli/text.ts";

const EVIL = "a\u001b[2J\u009b31m\u202eb\u{e0041}\n";

describe("what devices and controllers chose", () => {
  test("is escaped in tables, which stay straight", () => {
    const lines = table(
      [{ title: "NAME" }, { title: "N", align: "right" }],
      [
        [EVIL, "1"],
        ["b", "22"],
      ],
    ).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[1]).toBe("a\\u{1b}[2J\\u{9b}31m\\u{202e}b\\u{e0041}\\u{a}   1");
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });

  test("is escaped in JSON, as names and as values, and reads back as it was", () => {
    for (const number of [7, 18446744073709551615n])
      for (const compact of [true, false]) {
        const text = printJson({ [EVIL]: [EVIL, "plain ü", number, true], Empty: [{}, []] }, compact);

        expect(text.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e\u{e0041}]/u);
        expect(text).toContain(String(number));
        expect(JSON.parse(text)).toEqual({ [EVIL]: [EVIL, "plain ü", Number(number), true], Empty: [{}, []] });
      }
  });

  test("is laid out alike with and without numbers past 2^53", () => {
    const value = (number: number | bigint) => ({ Device: [{ Name: "a", Stats: { BytesSent: number }, Empty: [] }] });
    for (const compact of [true, false])
      expect(printJson(value(2n ** 63n), compact)).toBe(
        printJson(value(7), compact).replace("7", "9223372036854775808"),
      );
  });

  test("is left alone where it is harmless", () => {
    expect(escapeText("Küche – 台所")).toBe("Küche – 台所");
  });
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [999_499, "999 kB"],
  [999_500, "1.0 MB"],
  [1.5e18, "1.5 EB"],
])("%d bytes are %s", (bytes, text) => {
  expect(amount(bytes, "B")).toBe(text);
});

test.each([
  ["90s", 90],
  ["1h30m", 5400],
  ["2w", 1_209_600],
  ["0s", undefined],
  ["1", undefined],
  ["h", undefined],
  ["-1h", undefined],
])("the duration %s is %s seconds", (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds);
});

test("times are told in the greatest whole unit", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  expect(ago("2026-03-01T12:00:00Z", now)).toBe("now");
  expect(ago("2026-03-01T11:59:01Z", now)).toBe("59 s ago");
  expect(ago("2026-02-27T11:00:00Z", now)).toBe("2 d ago");
  expect(ago("0001-01-01T00:00:00Z", now)).toBe("never");
});

test("thousands stand apart", () => {
  expect(countText(1_234_567)).toBe("1,234,567");
  expect(countText(12)).toBe("12");
});

test("a picture fits the screen", () => {
  expect(fit("abcdef\n😀😀😀  x\nghi\njkl", { columns: 4, rows: 4 })).toBe("abcd\n😀😀😀\nghi");
});
