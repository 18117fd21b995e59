import { encode, type CsvEncoding, type Encoding, type JsonEncoding } from "../../../src/usp/bulk-data/encode.ts";
import type { Entry, Report } from "../../../src/usp/bulk-data/report.ts";
import { boolean, dateTime, list, statsCounter64, string, unsignedInt } from "../../../datamodel/values.ts";

/** TR-369 annex A.6: what reports look like. https://usp.technology/specification/ (Bulk Data Collection) */

const TIME = Date.UTC(2013, 2, 29, 2, 59, 9, 700);
const TYPES = {
  string: string(),
  number: unsignedInt(),
  counter: statsCounter64,
  boolean,
  list: list(string()),
  dateTime,
};

function entry(name: string, text: string, type: keyof typeof TYPES = "string"): Entry {
  return { name, text, path: "Device.", param: { schema: { type: TYPES[type] } } as unknown as Entry["param"] };
}
const report = (entries: readonly Entry[], collectedAt = TIME): Report => ({ collectedAt, entries, bytes: 0 });
const json = (options: Partial<JsonEncoding> = {}): Encoding => ({
  type: "JSON",
  format: "ObjectHierarchy",
  timestamp: "Unix-Epoch",
  ...options,
});
const csv = (options: Partial<CsvEncoding> = {}): Encoding => ({
  type: "CSV",
  format: "ParameterPerRow",
  timestamp: "Unix-Epoch",
  fieldSeparator: ",",
  rowSeparator: "\r\n",
  escape: '"',
  ...options,
});

const MOCA = [
  entry("Device.MoCA.Interface.1.Stats.BroadPktSent", "25248", "counter"),
  entry("Device.MoCA.Interface.1.Stats.BytesSent", "7682161", "counter"),
  entry("Device.MoCA.Interface.2.Stats.BroadPktSent", "93247", "counter"),
];

describe("a report in JSON", () => {
  it("nests as the objects do", () => {
    expect(encode([report(MOCA)], json())).toBe(
      '{"Report":[{"CollectionTime":1364525949,"Device":{"MoCA":{"Interface":{' +
        '"1":{"Stats":{"BroadPktSent":25248,"BytesSent":7682161}},"2":{"Stats":{"BroadPktSent":93247}}}}}}]}',
    );
  });

  it("names each value by its path where that is asked for", () => {
    expect(encode([report(MOCA)], json({ format: "NameValuePair" }))).toBe(
      '{"Report":[{"CollectionTime":1364525949,"Device.MoCA.Interface.1.Stats.BroadPktSent":25248,' +
        '"Device.MoCA.Interface.1.Stats.BytesSent":7682161,"Device.MoCA.Interface.2.Stats.BroadPktSent":93247}]}',
    );
  });

  it.each([
    ["ISO-8601's", "ISO-8601", '{"Report":[{"CollectionTime":"2013-03-29T02:59:09Z","a":1}]}'],
    ["no", "None", '{"Report":[{"a":1}]}'],
  ] as const)("has %s time", (_, timestamp, text) => {
    expect(encode([report([entry("a", "1", "number")])], json({ timestamp }))).toBe(text);
  });

  it("writes numbers and booleans as such, lists and all else as strings", () => {
    const entries = [
      entry("n", "4294967295", "number"),
      entry("b", "true", "boolean"),
      entry("l", "1,2", "list"),
      entry("d", "2026-01-31T12:00:00Z", "dateTime"),
      entry("s", "12", "string"),
    ];
    expect(encode([report(entries)], json({ timestamp: "None" }))).toBe(
      '{"Report":[{"n":4294967295,"b":true,"l":"1,2","d":"2026-01-31T12:00:00Z","s":"12"}]}',
    );
  });

  it("puts reports that failed before the newest", () => {
    const text = encode([report([entry("a", "1", "number")], 1000), report([entry("a", "2", "number")], 2000)], json());
    expect(text).toBe('{"Report":[{"CollectionTime":1,"a":1},{"CollectionTime":2,"a":2}]}');
  });

  it("keeps each value whatever the names: prototypes, a value where an object is to be", () => {
    const entries = [
      entry("__proto__.polluted", "1", "number"),
      entry("constructor", "2", "number"),
      entry("a", "3", "number"),
      entry("a.b", "4", "number"),
      entry("c.d", "5", "number"),
      entry("c", "6", "number"),
      entry('"\n\u2028', 'x"\\\u0000\ud800', "string"),
    ];
    const text = encode([report(entries)], json({ timestamp: "None" }));
    const [parsed] = (JSON.parse(text) as { Report: Record<string, unknown>[] }).Report;
    expect(Object.keys(parsed as object)).toEqual(["__proto__", "constructor", "a", "a.b", "c", '"\n\u2028']);
    expect(Object.getOwnPropertyDescriptor(parsed, "__proto__")?.value).toEqual({ polluted: 1 });
    expect(parsed).toMatchObject({ constructor: 2, a: 3, "a.b": 4, c: { d: 5, "": 6 } });
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe("a report in CSV", () => {
  it("has a row a parameter, with name, value and base type (R-BULK.12, R-BULK.13)", () => {
    const entries = [...MOCA.slice(0, 1), entry("L", "a,b", "list")];
    expect(encode([report(entries)], csv())).toBe(
      "ReportTimestamp,ParameterName,ParameterValue,ParameterType\r\n" +
        "1364525949,Device.MoCA.Interface.1.Stats.BroadPktSent,25248,unsignedLong\r\n" +
        '1364525949,L,"a,b",string\r\n',
    );
  });

  it("has a column a parameter, one header, a row a report; gaps where a report has no such value", () => {
    const first = report([entry("A", "1", "number"), entry("B", "2", "number")], 1000);
    const second = report([entry("A", "3", "number"), entry("C", "4", "number")], 2000);
    expect(encode([first, second], csv({ format: "ParameterPerColumn" }))).toBe(
      "ReportTimestamp,A,B,C\r\n1,1,2,\r\n2,3,,4\r\n",
    );
  });

  it.each([
    ["ISO-8601", "ReportTimestamp,A\r\n2013-03-29T02:59:09Z,1\r\n"],
    ["None", "A\r\n1\r\n"],
  ] as const)("has time as %s", (timestamp, text) => {
    const encoding = csv({ format: "ParameterPerColumn", timestamp });
    expect(encode([report([entry("A", "1", "number")])], encoding)).toBe(text);
  });

  it("uses the separators that are set", () => {
    const encoding = csv({ format: "ParameterPerColumn", fieldSeparator: ";", rowSeparator: "\n", timestamp: "None" });
    expect(encode([report([entry("A", "1,5"), entry("B", "x;y")])], encoding)).toBe('A;B\n1,5;"x;y"\n');
  });

  it.each([
    ["a double quote doubled (RFC 4180)", '"', 'say "hi"', '"say ""hi"""'],
    ["a double quote behind a backslash", "\\", 'a"b\\c', '"a\\"b\\\\c"'],
    ["a line break inside quotes", '"', "a\nb\rc", '"a\nb\rc"'],
    ["nothing where nothing need be", '"', "=plain text", "=plain text"],
  ])("has %s", (_, escape, text, written) => {
    const encoding = csv({ format: "ParameterPerColumn", timestamp: "None", escape });
    expect(encode([report([entry("A", text)])], encoding)).toBe(`A\r\n${written}\r\n`);
  });

  // By MQTT a report may come to where Records are awaited. https://usp.technology/specification/ (R-MTP)
  it("has no control characters but tabs and line breaks, and those within quotes alone: bytes can't be chosen", () => {
    const encoding = csv({ format: "ParameterPerColumn", timestamp: "None" });
    expect(encode([report([entry("A\u0012b", "\u001a\u0000x\u007f")])], encoding)).toBe(
      '"A\ufffdb"\r\n"\ufffd\ufffdx\ufffd"\r\n',
    );
    expect(encode([report([entry("A", "b\tc")])], encoding)).toBe('A\r\n"b\tc"\r\n');
  });
});
