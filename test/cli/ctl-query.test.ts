/** `ctl query`, `ctl dns` and `ctl resolve`: what is asked for, and how the answers read. */
import { ROOT } from "../../datamodel/spin.ts";
import { Exit, type WordContext } from "../../src/cli/ctl-io.ts";
import { UsageError, type WordOptions } from "../../src/cli/ctl-options.ts";
import { dns, query, timeOf } from "../../src/cli/ctl-query.ts";
import { resolve } from "../../src/cli/ctl-resolve.ts";
import type { Controller } from "../../src/controller/controller.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const CAMERA = "02:00:00:00:00:01";

/** A controller of a home with a camera, that answers commands so, one page after the other. */
function context(args: readonly string[], options: WordOptions, ...pages: Readonly<Record<string, string>>[]) {
  const asked: [command: string, input: Readonly<Record<string, string>>][] = [];
  const said: string[] = [];
  const params = new Map([
    ["PhysAddress", CAMERA],
    ["Name", "Camera"],
    ["Alias", "cpe-1"],
  ]);
  const controller = {
    get: () => Promise.resolve([{ objects: [{ path: `${ROOT}Device.1.`, params }] }]),
    supported: () => Promise.resolve([]),
    run: (command: string, input: Readonly<Record<string, string>>) => {
      asked.push([command, input]);
      return Promise.resolve(new Map(Object.entries(pages[asked.length - 1] ?? {})));
    },
  } as unknown as Controller;
  const io = {
    out: (text: string) => void said.push(text),
    err: (text: string) => void said.push(text),
    env: {},
    signal: new AbortController().signal,
    now: () => NOW,
  };
  const word = { controller, controllerId: "self::spin-ctl", args, options, io } as unknown as WordContext;
  return { word, asked, text: () => said.join("") };
}

describe("query", () => {
  test("asks for a kind, a device, a time and a destination, and goes on over empty pages", async () => {
    const row = {
      "Row.1.Start": "2026-03-01T11:00:00Z",
      "Row.1.End": "2026-03-01T11:30:00Z",
      "Row.1.PhysAddress": CAMERA,
      "Row.1.Initiator": "Device",
      "Row.1.Address": "198.51.100.7",
      "Row.1.Port": "443",
      "Row.1.Protocol": "6",
      "Row.1.Domain": "www.example\u001b[2J",
      "Row.1.PacketsSent": "12",
      "Row.1.PacketsReceived": "0",
      "Row.1.Rule": `${ROOT}Rule.3`,
      NextCursor: "",
    };
    const { word, asked, text } = context(
      ["blocked", "camera"],
      { since: "2h", until: "2026-03-01T11:30", to: "example" },
      { NextCursor: "b.1.2" },
      row,
    );
    expect(await query(word)).toBe(Exit.Ok);
    const input = {
      Kind: "Blocked",
      PhysAddress: CAMERA,
      Since: "2026-03-01T10:00:00Z",
      Until: "2026-03-01T11:30:00Z",
      Destination: "example",
      Limit: "20",
    };
    expect(asked).toEqual([
      [`${ROOT}Query()`, input],
      [`${ROOT}Query()`, { ...input, Cursor: "b.1.2" }],
    ]);
    expect(text()).toMatch(/Camera +→ +www\.example\S* +198\.51\.100\.7 +tcp\/443 +12 +3/);
    expect(text()).not.toContain("\u001b");
  });

  test("without a kind asks for flows, and says where nothing is remembered", async () => {
    const { word, asked, text } = context(["camera"], {}, {});
    expect(await query(word)).toBe(Exit.Ok);
    expect(asked[0]?.[1]).toEqual({ Kind: "Flows", PhysAddress: CAMERA, Limit: "20" });
    expect(text()).toBe("nothing that is remembered\n");
  });

  test.each([
    [["flows", "camera", "laptop"], {}],
    [["toaster"], {}],
    [[], { since: "yesterday" }],
    [[], { until: "2026-13-45" }],
    [[], { limit: "0" }],
    [[], { limit: "many" }],
  ])("%j %j is misuse", async (args, options) => {
    await expect(async () => query(context(args, options).word)).rejects.toThrow(UsageError);
  });
});

test("dns needs a device, and shows answers as people know them", async () => {
  await expect(async () => dns(context([], {}).word)).rejects.toThrow(UsageError);
  const rows = {
    "Row.1.Time": "2026-03-01T11:59:00Z",
    "Row.1.PhysAddress": CAMERA,
    "Row.1.Name": "www.example",
    "Row.1.Type": "A",
    "Row.1.Answers": "198.51.100.7,198.51.100.8",
    "Row.1.AnswerCount": "9",
    "Row.1.TTL": "60",
    "Row.1.ResultCode": "0",
    "Row.1.Count": "4",
    "Row.2.Name": "nowhere.example",
    "Row.2.Type": "AAAA",
    "Row.2.ResultCode": "3",
    "Row.2.Count": "1",
    "Row.3.Name": "silent.example",
    "Row.3.Type": "A",
    "Row.3.Count": "1",
  };
  const { word, text } = context(["camera"], {}, rows);
  expect(await dns(word)).toBe(Exit.Ok);
  expect(text()).toMatch(/www\.example +A +198\.51\.100\.7, 198\.51\.100\.8 and 7 more +60 s +4/);
  expect(text()).toMatch(/nowhere\.example +AAAA +NXDOMAIN/);
  expect(text()).toMatch(/silent\.example +A +none seen/);
});

describe("resolve", () => {
  const report = { time: "2026-03-01 11:00", address: "203.0.113.2", port: "50001" };

  test("asks what the report says, and names the device", async () => {
    const found = { Found: "true", Device: `${ROOT}Device.1`, FlowCount: "1", Blocked: "true" };
    const { word, asked, text } = context(
      [],
      { ...report, to: "2001:DB8::7", "to-port": "25", protocol: "udp" },
      found,
    );
    expect(await resolve(word)).toBe(Exit.Ok);
    expect(asked).toEqual([
      [
        `${ROOT}ResolveIncident()`,
        {
          Time: "2026-03-01T11:00:00Z",
          Tolerance: "30",
          Protocol: "17",
          SourceAddress: "203.0.113.2",
          SourcePort: "50001",
          DestinationAddress: "2001:db8::7",
          DestinationPort: "25",
        },
      ],
    ]);
    expect(text()).toBe(`Camera (${CAMERA}), by 1 flow; a rule blocks it now\n`);
  });

  test.each([
    [{ Found: "false", FlowCount: "0" }, "nothing that is remembered"],
    [{ Found: "false", FlowCount: "7" }, "7 flows of several devices"],
    [{ Found: "true", Device: "", FlowCount: "2" }, "forgotten since, by 2 flows"],
  ])("%j reads as that", async (found, words) => {
    const { word, text } = context([], report, found);
    await resolve(word);
    expect(text()).toContain(words);
  });

  test.each([
    [{}],
    [{ ...report, address: "home" }],
    [{ ...report, port: "0" }],
    [{ ...report, port: "65536" }],
    [{ ...report, time: "soon" }],
    [{ ...report, tolerance: "1x" }],
    [{ ...report, protocol: "smtp" }],
    [{ ...report, to: "example.com" }],
  ])("%j is misuse", async (options: WordOptions) => {
    await expect(resolve(context([], options).word)).rejects.toThrow(UsageError);
  });
});

test.each([
  ["90m", "2026-03-01T10:30:00Z"],
  ["2026-02-28", "2026-02-28T00:00:00Z"],
  ["2026-02-28T18:00", "2026-02-28T18:00:00Z"],
  ["2026-02-28 18:00:05", "2026-02-28T18:00:05Z"],
  ["2026-02-28T18:00:05Z", "2026-02-28T18:00:05Z"],
  ["2026-02-28T18:00:05+02:00", "2026-02-28T16:00:05Z"],
])("%s is %s", (given, time) => expect(timeOf("since", given, NOW)).toBe(time));
