import { Gateway, PHONE, CAMERA, refusal, ROOT, rule, run, tryDelete } from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.start({ secured: ["Operator"] });
});
afterEach(() => gateway.stop());

type Row = Record<string, string>;

const query = (args: Record<string, string>) => run(gateway.as("Operator"), `${ROOT}Query()`, args);
const rowsOf = (outputs: Record<string, string>): Row[] => {
  const rows: Row[] = [];
  for (const [name, text] of Object.entries(outputs)) {
    const [table, number, column] = name.split(".");
    if (table === "Row") (rows[Number(number) - 1] ??= {})[column as string] = text;
  }
  return rows;
};
const ports = async (args: Record<string, string>) =>
  rowsOf(await query({ Kind: "Flows", ...args })).map(({ Port }) => Number(Port));

/** So many flows of the phone, one a second, to the ports 1000, 1001 … */
async function flows(count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) {
    const flow = { id: 100 + i, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 30000 + i, port: 1000 + i };
    gateway.flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    await gateway.after(1000);
  }
}

describe("Query(Flows)", () => {
  test("answers the newest first, with all columns of a flow and no others", async () => {
    gateway.withTraffic();
    const outputs = await query({ Kind: "Flows" });
    expect(outputs).toMatchObject({ NextCursor: "", Truncated: "false" });
    const rows = rowsOf(outputs);
    expect(rows.map(({ Address }) => Address)).toEqual(["198.51.100.8", "198.51.100.7"]);
    expect(rows[1]).toEqual({
      Start: "2026-01-01T00:00:00Z",
      End: "0001-01-01T00:00:00Z",
      PhysAddress: PHONE,
      Initiator: "Device",
      Address: "198.51.100.7",
      Port: "443",
      Protocol: "6",
      Domain: "secret.example",
      DomainSource: "DNS",
      BytesSent: "1000",
      BytesReceived: "3000",
      PacketsSent: "10",
      PacketsReceived: "20",
    });
  });

  test("says when a flow ended", async () => {
    gateway.withTraffic();
    await gateway.after(5000);
    const flow = { id: 2, from: "192.0.2.11", to: "198.51.100.8", sourcePort: 40002 };
    gateway.flows({ ...flow, event: "End", counters: [2, 200, 2, 300] });
    const [row] = rowsOf(await query({ Kind: "Flows", Destination: "198.51.100.8" }));
    expect(row).toMatchObject({ End: "2026-01-01T00:00:05Z", BytesSent: "200" });
  });

  test("of one device", async () => {
    gateway.withTraffic();
    expect(await ports({ PhysAddress: PHONE })).toHaveLength(2);
    expect(await ports({ PhysAddress: PHONE.toLowerCase() })).toHaveLength(2);
    expect(await ports({ PhysAddress: CAMERA })).toEqual([]);
    expect(await ports({ PhysAddress: "02:00:00:00:77:77" })).toEqual([]);
    expect(await ports({ PhysAddress: "" })).toHaveLength(2);
  });

  test.each([
    ["198.51.100.7", 1],
    ["198.51.100.0/24", 2],
    ["198.51.100.8/30", 1],
    ["203.0.113.0/24", 0],
    ["secret.example", 1],
    ["Secret.Example.", 1],
    ["example", 1],
    ["cret.example", 0],
    ["2001:db8::/32", 0],
    ["::/0", 0],
    ["", 2],
  ])("to the destination %s finds %i", async (Destination, count) => {
    gateway.withTraffic();
    expect(await ports({ Destination })).toHaveLength(count);
  });

  test("between times finds what was alive then", async () => {
    gateway.withDevices();
    await flows(3);
    for (const id of [100, 101])
      gateway.flows({
        id,
        event: "End",
        from: "192.0.2.11",
        to: "198.51.100.7",
        sourcePort: 30000 + id - 100,
        port: 900 + id,
        time: Date.UTC(2026, 0, 1, 0, 0, id === 100 ? 1 : 3),
        counters: [1, 60, 0, 0],
      });
    expect(await ports({ Until: "2026-01-01T00:00:00Z" })).toEqual([1000]);
    expect(await ports({ Until: "2026-01-01T00:00:01Z" })).toEqual([1001, 1000]);
    expect(await ports({ Since: "2026-01-01T00:00:02Z" })).toEqual([1002, 1001]);
    expect(await ports({ Since: "2026-01-01T00:00:04Z", Until: "2026-01-01T01:00:00Z" })).not.toContain(1000);
    expect(await ports({ Since: "0001-01-01T00:00:00Z", Until: "0001-01-01T00:00:00Z" })).toHaveLength(3);
  });
});

describe("a page", () => {
  beforeEach(async () => {
    gateway.withDevices();
    await flows(7);
  });

  test("ends at Limit and says that more follows", async () => {
    const first = await query({ Kind: "Flows", Limit: "3" });
    expect(rowsOf(first).map(({ Port }) => Port)).toEqual(["1006", "1005", "1004"]);
    expect(first["Truncated"]).toBe("true");
    expect(first["NextCursor"]).not.toBe("");
    const second = await query({ Kind: "Flows", Limit: "3", Cursor: first["NextCursor"] as string });
    expect(rowsOf(second).map(({ Port }) => Port)).toEqual(["1003", "1002", "1001"]);
    const last = await query({ Kind: "Flows", Limit: "3", Cursor: second["NextCursor"] as string });
    expect(rowsOf(last).map(({ Port }) => Port)).toEqual(["1000"]);
    expect(last).toMatchObject({ Truncated: "false", NextCursor: "" });
  });

  test("that holds exactly all is not truncated", async () => {
    expect(await query({ Kind: "Flows", Limit: "7" })).toMatchObject({ Truncated: "false", NextCursor: "" });
  });

  test("follows the one before while rows come, end and go", async () => {
    const first = await query({ Kind: "Flows", Limit: "3" });
    await flows(2, 7);
    gateway.flows({
      id: 104,
      event: "End",
      from: "192.0.2.11",
      to: "198.51.100.7",
      sourcePort: 30004,
      port: 1004,
      counters: [2, 120, 0, 0],
    });
    const ended = { id: 102, event: "End", from: "192.0.2.11", to: "198.51.100.7" } as const;
    gateway.flows({ ...ended, sourcePort: 30002, port: 1002, counters: [2, 120, 0, 0] });
    const rest = await query({ Kind: "Flows", Cursor: first["NextCursor"] as string });
    expect(rowsOf(rest).map(({ Port }) => Port)).toEqual(["1003", "1002", "1001", "1000"]);
  });

  test("of Destinations follows as well", async () => {
    const seen: string[] = [];
    let Cursor = "";
    do {
      const outputs = await query({ Kind: "Destinations", Limit: "2", Cursor });
      seen.push(...rowsOf(outputs).map(({ Port }) => Port as string));
      Cursor = outputs["NextCursor"] as string;
      await flows(1, seen.length + 10);
    } while (Cursor !== "");
    expect(seen).toEqual(["1006", "1005", "1004", "1003", "1002", "1001", "1000"]);
  });

  test("of a device that was forgotten meanwhile holds nothing of it", async () => {
    const first = await query({ Kind: "Flows", Limit: "3" });
    await tryDelete(gateway.as("Operator"), gateway.device(PHONE));
    expect(rowsOf(await query({ Kind: "Flows", Cursor: first["NextCursor"] as string }))).toEqual([]);
  });
});

describe("Query(Destinations)", () => {
  test("sums up flows by device, peer, protocol and port", async () => {
    gateway.withTraffic();
    await gateway.after(1000);
    const flow = { id: 9, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40009 };
    gateway.flows({ ...flow, event: "New" }).flows({ ...flow, counters: [1, 40, 1, 50] });
    const rows = rowsOf(await query({ Kind: "Destinations", Destination: "secret.example" }));
    expect(rows).toEqual([
      {
        PhysAddress: PHONE,
        Address: "198.51.100.7",
        Port: "443",
        Protocol: "6",
        Domain: "secret.example",
        DomainSource: "DNS",
        BytesSent: "1040",
        BytesReceived: "3050",
        PacketsSent: "11",
        PacketsReceived: "21",
        Flows: "2",
        FirstSeen: "2026-01-01T00:00:00Z",
        LastSeen: "2026-01-01T00:00:01Z",
        Blocked: "false",
      },
    ]);
  });

  test("says what a rule in force blocks", async () => {
    gateway.withTraffic();
    await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "secret.example" });
    await gateway.settled();
    const rows = rowsOf(await query({ Kind: "Destinations" }));
    expect(Object.fromEntries(rows.map(({ Address, Blocked }) => [Address, Blocked]))).toEqual({
      "198.51.100.7": "true",
      "198.51.100.8": "false",
    });
  });
});

describe("an argument that is none", () => {
  test.each([
    [{}, "Kind is missing"],
    [{ Kind: "Everything" }, "Everything"],
    [{ Kind: "" }, "Kind"],
    [{ Kind: "Flows", PhysAddress: "phone" }, "PhysAddress"],
    [{ Kind: "Flows", Since: "yesterday" }, "Since"],
    [{ Kind: "Flows", Until: "2026-13-01T00:00:00Z" }, "Until"],
    [{ Kind: "Flows", Since: "2026-01-02T00:00:00Z", Until: "2026-01-01T00:00:00Z" }, "Since is after Until"],
    [{ Kind: "Flows", Destination: "198.51.100.0/40" }, "198.51.100.0/40"],
    [{ Kind: "Flows", Destination: "exa mple" }, "exa mple"],
    [{ Kind: "Flows", Destination: "x".repeat(261) }, "Destination"],
    [{ Kind: "Flows", Limit: "0" }, "Limit"],
    [{ Kind: "Flows", Limit: "501" }, "Limit"],
    [{ Kind: "Flows", Limit: "-1" }, "Limit"],
    [{ Kind: "Flows", Limit: "many" }, "Limit"],
    [{ Kind: "Flows", Limit: "" }, "Limit"],
    [{ Kind: "Flows", Cursor: "next" }, "Cursor"],
    [{ Kind: "Flows", Cursor: "x".repeat(257) }, "Cursor"],
  ])("is refused in words: %j", async (args, words) => {
    const error = await refusal(gateway.as("Operator"), `${ROOT}Query()`, args);
    expect(error).toEqual({ errCode: 7027, errMsg: expect.stringContaining(words) as string });
  });

  test("of another Kind's cursor, or of one from before a restart, is refused", async () => {
    gateway.withTraffic();
    const { NextCursor = "" } = await query({ Kind: "Flows", Limit: "1" });
    expect(NextCursor).not.toBe("");
    const ask = (Kind: string) => refusal(gateway.as("Operator"), `${ROOT}Query()`, { Kind, Cursor: NextCursor });
    expect(await ask("Destinations")).toMatchObject({
      errCode: 7027,
      errMsg: expect.stringContaining("Kind") as string,
    });
    gateway = await gateway.restart({ secured: ["Operator"] });
    expect(await ask("Flows")).toMatchObject({ errCode: 7027, errMsg: expect.stringContaining("restarted") as string });
  });

  test("that is not known is left out", async () => {
    gateway.withTraffic();
    expect(rowsOf(await query({ Kind: "Flows", Colour: "red" }))).toHaveLength(2);
  });

  test.each([
    ["1", 1],
    ["500", 2],
  ])("Limit %s is one", async (Limit, count) => {
    gateway.withTraffic();
    expect(await ports({ Limit })).toHaveLength(count);
  });
});
