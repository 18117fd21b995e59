/** Profiles made by controllers, at a real collector. https://usp.technology/specification/ (Bulk Data Collection) */
import type { Peer } from "../support.ts";
import { addRole, addRow, removeRow, setParams, operation, setOne, subscribe, until, deletion } from "../support.ts";
import {
  addProfile,
  addRowBy,
  bulkWorld,
  Collector,
  JumpingClock,
  PROFILES,
  warnings,
  type BulkWorld,
} from "./support.ts";

let collector: Collector;
let world: BulkWorld;

beforeEach(async () => {
  collector = await Collector.start();
});
afterEach(async () => {
  await world.stop();
  await collector.stop();
});

const force = (peer: Peer, path: string) => peer.response(operation(`${path}ForceCollection()`), "operateResp");
const http = (values: Readonly<Record<string, string>> = {}) => ({
  Protocol: "HTTP",
  "HTTP.URL": collector.url(),
  ...values,
});
const parsed = (i = 0) =>
  (JSON.parse(collector.requests[i]?.text ?? "{}") as { Report: Record<string, unknown>[] }).Report;

async function one(peer: Peer, path: string) {
  const before = collector.requests.length;
  await force(peer, path);
  await until(() => collector.requests.length > before, "a report");
  return collector.requests[before]!;
}

/** Three rooms, the second deleted: instance numbers 1 and 3. */
async function rooms(options: Parameters<typeof bulkWorld>[0] = {}) {
  world = await bulkWorld(options);
  for (const Name of ["hall", "attic", "cellar"])
    addRow(world.tree, "Device.House.Room.", { Name, Secret: `s-${Name}` });
  removeRow(world.tree, "Device.House.Room.2.");
  addRow(world.tree, "Device.House.Room.1.Chair.", { Legs: "3" });
}

describe("what a report holds", () => {
  const nameValue = { "JSONEncoding.ReportFormat": "NameValuePair", "JSONEncoding.ReportTimestamp": "None" };
  const values = async (...references: string[]) => {
    const path = await addProfile(world.admin, http(nameValue), references);
    await one(world.admin, path);
    return parsed()[0];
  };

  it("is one parameter, by its path", async () => {
    await rooms();
    expect(await values("Device.House.Size")).toEqual({ "Device.House.Size": 42 });
  });

  it("is a parameter of all rows, where there is a wildcard", async () => {
    await rooms();
    expect(await values("Device.House.Room.*.Name")).toEqual({
      "Device.House.Room.1.Name": "hall",
      "Device.House.Room.3.Name": "cellar",
    });
  });

  it("is of the rows that a search finds", async () => {
    await rooms();
    expect(await values('Device.House.Room.[Name=="cellar"].Name')).toEqual({ "Device.House.Room.3.Name": "cellar" });
  });

  it("bears another name, with the instance numbers that wildcards stand for (R-BULK.9)", async () => {
    await rooms();
    expect(await values("N=Device.House.Room.*.Name", "L=Device.House.Room.1.Chair.*.Legs")).toEqual({
      "N.1": "hall",
      "N.3": "cellar",
      "L.1": 3,
    });
  });

  it("is all below an object, named by what lies below it (R-BULK.10)", async () => {
    await rooms();
    expect(
      await values("L=Device.House.Room.*.Lamp.", "G=Device.House.Garden.", "C=Device.House.Room.1.Chair."),
    ).toEqual({
      "L.1.Colour": "white",
      "L.3.Colour": "white",
      "G.Trees": 0,
      "C.1.Legs": 3,
      "C.1.Rooms": "",
    });
  });

  it("lacks what is excluded: parameters and objects, wildcards too", async () => {
    await rooms();
    const report = await values(
      "Device.House.Room.",
      "-Device.House.Room.*.Chair.",
      "-Device.House.Room.*.Lamp.",
      "-Device.House.Room.1.Name",
      "-Device.House.Room.*.Secret",
      "-Device.House.Room.*.Alias",
    );
    expect(Object.keys(report!)).toEqual([
      ...["Warm", "Floor", "Fixed", "Opened", "Beside", "ChairNumberOfEntries"].map(
        (name) => `Device.House.Room.1.${name}`,
      ),
      ...["Name", "Warm", "Floor", "Fixed", "Opened", "Beside", "ChairNumberOfEntries"].map(
        (name) => `Device.House.Room.3.${name}`,
      ),
    ]);
  });

  it("falls back to the full path where a name is taken, CollectionTime among them", async () => {
    await rooms();
    expect(await values("X=Device.House.Size", "X=Device.House.Name", "CollectionTime=Device.House.Meter")).toEqual({
      X: 42,
      "Device.House.Name": "",
      "Device.House.Meter": 7,
    });
  });

  it("is nothing where no row is", async () => {
    await rooms();
    expect(await values("Device.House.Cat.*.Mood", "Device.House.Room.2.Name", "Device.House.Size")).toEqual({
      "Device.House.Size": 42,
    });
  });

  it("can only name what the data model has", async () => {
    await rooms();
    const path = await addRowBy(world.admin, PROFILES, { ReportingInterval: "60" });
    for (const Reference of [
      "Device.Nothing",
      "Device.House.Room.1.Nope",
      "Device.House.Ping()",
      "Device.House.Rang!",
      "]",
    ])
      await expect(addRowBy(world.admin, `${path}Parameter.`, { Reference })).rejects.toThrow(/^expected addResp/);
  });

  it("10,000 parameters go; more than the bound is refused as a whole, and said", async () => {
    const { log, lines } = warnings();
    await rooms({ reportBytes: 700_000, log });
    for (let i = 0; i < 998; i++) addRow(world.tree, "Device.House.Room.", { Name: `r${i}` });
    const path = await addProfile(world.admin, http(nameValue), ["R=Device.House.Room."]);
    const request = await one(world.admin, path);
    expect(Object.keys(parsed()[0]!).length).toBeGreaterThan(10_000);
    expect(request.bytes).toBeLessThan(700_000);
    await addRowBy(world.admin, `${path}Parameter.`, { Reference: "Device.House.Room.*." });
    await force(world.admin, path);
    await until(() => lines.length > 0, "a warning");
    expect(lines[0]).toContain("exceed 700000 bytes");
    expect(collector.requests).toHaveLength(1);
    expect(await world.admin.get("Device.BulkData.Status")).toEqual({ "Device.BulkData.Status": "Error" });
  });
});

describe("whose report it is", () => {
  const guest = (tree: BulkWorld["tree"]) =>
    addRole(tree, "Guest", [
      { Targets: "Device.BulkData.", Param: "rw-n", Obj: "rw-n", InstantiatedObj: "rw-n", CommandEvent: "r-xn" },
      {
        Targets: "Device.LocalAgent.Subscription.",
        Param: "rw-n",
        Obj: "rw-n",
        InstantiatedObj: "rw-n",
        CommandEvent: "r-xn",
      },
      { Targets: "Device.House.Room.", Param: "r---", Obj: "r---", InstantiatedObj: "r---" },
      { Targets: "Device.House.Room.*.Floor", Param: "----" },
    ]);

  it("holds nothing that its owner may not Get, and secured values as it would get them: empty", async () => {
    await rooms();
    const peer = world.peer("self::guest", guest(world.tree));
    const path = await addProfile(peer, http({ "JSONEncoding.ReportFormat": "NameValuePair" }), [
      "Device.House.Size",
      "Device.House.",
      "Device.House.Room.1.Secret",
      "Device.House.Room.1.Name",
      "Device.House.Room.1.Floor",
      "Device.LocalAgent.",
    ]);
    await one(peer, path);
    const report = parsed()[0]!;
    const got = await peer.get("Device.House.", "Device.LocalAgent.Subscription.");
    expect(report["Device.House.Room.1.Secret"]).toBe("");
    expect(report["Device.House.Room.1.Name"]).toBe("hall");
    expect(report).not.toHaveProperty(["Device.House.Size"]);
    expect(report).not.toHaveProperty(["Device.House.Room.1.Floor"]);
    expect(
      Object.keys(report)
        .filter((name) => name !== "CollectionTime")
        .sort(),
    ).toEqual(Object.keys(got).sort());
  });

  it("shows secured values to an owner that may read them, and a hidden one to nobody", async () => {
    await rooms();
    const path = await addProfile(world.admin, http(), ["P=Device.House.Pin", "K=Device.House.Key"]);
    await one(world.admin, path);
    expect(parsed()[0]).toMatchObject({ P: "1234", K: "" });
  });

  it("does not find rows by what the owner may not read", async () => {
    await rooms();
    const peer = world.peer("self::guest", guest(world.tree));
    const path = await addProfile(peer, http({ "JSONEncoding.ReportTimestamp": "None" }), [
      'Device.House.Room.[Secret=="s-hall"].Name',
      "Device.House.Room.[Floor==0].Name",
    ]);
    await one(peer, path);
    expect(parsed()).toEqual([{}]);
  });

  it("ends with its Controller row", async () => {
    await rooms();
    const peer = world.peer("self::guest", guest(world.tree));
    const path = await addProfile(peer, http(), ["Device.House.Room.1.Name"]);
    expect(await peer.get(`${path}Controller`)).toEqual({ [`${path}Controller`]: "Device.LocalAgent.Controller.2" });
    removeRow(world.tree, "Device.LocalAgent.Controller.2.");
    expect(world.tree.at(path)).toBeUndefined();
  });

  it("is not made for an owner that is disabled", async () => {
    const { log, lines } = warnings();
    await rooms({ log });
    const peer = world.peer("self::guest", guest(world.tree));
    const path = await addProfile(peer, http(), ["Device.House.Room.1.Name"]);
    setParams(world.tree, "Device.LocalAgent.Controller.2.", { Enable: "false" });
    await force(world.admin, path);
    await until(() => lines.length > 0, "a warning");
    expect(lines[0]).toContain("gone or disabled");
    expect(collector.requests).toEqual([]);
  });

  it("loses, while it waits, what its owner may no longer read", async () => {
    await rooms();
    const role = guest(world.tree);
    const peer = world.peer("self::guest", role);
    collector.answer = (response) => response.writeHead(500).end();
    const path = await addProfile(
      peer,
      http({
        NumberOfRetainedFailedReports: "1",
        "JSONEncoding.ReportTimestamp": "None",
        "JSONEncoding.ReportFormat": "NameValuePair",
      }),
      ["N=Device.House.Room.*.Name", "W=Device.House.Room.*.Warm"],
    );
    await one(peer, path);
    collector.answer = (response) => response.writeHead(204).end();
    addRow(world.tree, `${role}.Permission.`, {
      Enable: "true",
      Order: "9",
      Targets: "Device.House.Room.*.Name",
      Param: "----",
    });
    await one(peer, path);
    expect(parsed(0)).toEqual([{ "N.1": "hall", "N.3": "cellar", "W.1": false, "W.3": false }]);
    expect(parsed(1)).toEqual([
      { "W.1": false, "W.3": false },
      { "W.1": false, "W.3": false },
    ]);
  });
});

describe("what a controller can't choose", () => {
  it.each([
    ["CSVEncoding.FieldSeparator", "&#10;"],
    ["CSVEncoding.FieldSeparator", "\u0012"],
    ["CSVEncoding.FieldSeparator", "ab"],
    ["CSVEncoding.RowSeparator", "&#26;"],
    ["CSVEncoding.EscapeCharacter", "&#8;"],
    ["CSVEncoding.EscapeCharacter", "\\\\"],
  ])("is %s %j", async (param, value) => {
    await rooms();
    const path = await addRowBy(world.admin, PROFILES, {});
    expect((await world.admin.error(setOne(path, { [param]: value }))).errCode).toBe(7012);
  });

  it.each([
    ["CSVEncoding.FieldSeparator", "&#9;"],
    ["CSVEncoding.FieldSeparator", "|"],
    ["CSVEncoding.RowSeparator", "&#10;"],
    ["CSVEncoding.EscapeCharacter", "&quot;"],
  ])("is not %s %j", async (param, value) => {
    await rooms();
    const path = await addRowBy(world.admin, PROFILES, {});
    await world.admin.response(setOne(path, { [param]: value }), "setResp");
  });

  it("is control characters in a name", async () => {
    await rooms();
    const path = await addRowBy(world.admin, PROFILES, {});
    for (const table of [`${path}Parameter.`, `${path}HTTP.RequestURIParameter.`])
      await expect(addRowBy(world.admin, table, { Name: "\u001aself" })).rejects.toThrow(/^expected addResp/);
  });
});

describe("the login at a collector", () => {
  it("goes to no other origin than it was written for", async () => {
    await rooms();
    const login = { "HTTP.URL": "https://collector.example/a", "HTTP.Username": "op", "HTTP.Password": "TopSecret" };
    const path = await addRowBy(world.admin, PROFILES, login);
    const kept = () => {
      const http = world.tree.at(`${path}HTTP.`)!;
      return [world.tree.text(http, "Username"), world.tree.text(http, "Password")];
    };
    const set = (values: Readonly<Record<string, string>>) =>
      world.admin.response(setOne(`${path}HTTP.`, values), "setResp");
    await set({ URL: "https://collector.example/b" });
    expect(kept()).toEqual(["op", "TopSecret"]);
    await set({ URL: "https://other.example/b", Username: "me", Password: "Mine" });
    expect(kept()).toEqual(["me", "Mine"]);
    await set({ URL: "https://other.example:8443/b" });
    expect(kept()).toEqual(["", ""]);
  });
});

describe("the topic of a report by MQTT", () => {
  const listensAt = (filter: string) => {
    const row = addRow(world.tree, "Device.LocalAgent.MTP.", { Protocol: "MQTT" });
    setParams(world.tree, `${row.path}MQTT.`, { ResponseTopicConfigured: filter });
  };

  it.each([
    ["usp/agent", "usp/agent"],
    ["usp/agent", "usp/agent/reply-to=usp%2Fcontroller"],
    ["usp/+/in", "usp/agent/in"],
    ["usp/#", "usp"],
    ["$share/fleet/usp/agent", "usp/agent"],
  ])("is not where the agent listens: at %s, %s", async (filter, topic) => {
    await rooms();
    listensAt(filter);
    const path = await addRowBy(world.admin, PROFILES, {});
    expect((await world.admin.error(setOne(path, { "MQTT.PublishTopic": topic }))).errCode).toBe(7012);
    await world.admin.response(setOne(path, { "MQTT.PublishTopic": "usps/agents" }), "setResp");
  });

  it("is none where a controller listens, nor any more once it does", async () => {
    const published: string[] = [];
    const { log, lines } = warnings();
    await rooms({ log, publish: ({ topic }) => Promise.resolve(void published.push(topic)) });
    const client = addRow(world.tree, "Device.MQTT.Client.", {});
    const values = { Protocol: "MQTT", "MQTT.Reference": client.path, "MQTT.PublishTopic": "usp/controller" };
    const path = await addProfile(world.admin, values, ["Device.House.Size"]);
    await force(world.admin, path);
    await until(() => published.length > 0, "a report");
    setParams(world.tree, `${world.adminPath}.MTP.1.MQTT.`, { Topic: "usp/controller" });
    await force(world.admin, path);
    await until(() => lines.length > 0, "a warning");
    expect(lines[0]).toContain("awaits Records");
    expect(published).toHaveLength(1);
    expect((await world.admin.error(setOne(path, { "MQTT.PublishTopic": "usp/controller/x" }))).errCode).toBe(7012);
  });
});

describe("Push!", () => {
  it("tells the owner, and no other subscriber, what the report says", async () => {
    await rooms();
    const other = world.peer("self::other");
    await subscribe(world.admin, "Event", `${PROFILES}*.Push!`);
    await subscribe(other, "Event", `${PROFILES}*.Push!`);
    const path = await addProfile(
      world.admin,
      { Protocol: "USPEventNotif", EncodingType: "CSV", "CSVEncoding.RowTimestamp": "None" },
      ["Size=Device.House.Size"],
    );
    await force(world.admin, path);
    await until(() => world.admin.notifies.length > 0, "a Notify");
    expect(world.admin.notifies[0]?.notification).toEqual({
      $case: "event",
      value: { objPath: path, eventName: "Push!", params: new Map([["Data", "Size\r\n42\r\n"]]) },
    });
    expect(other.notifies).toEqual([]);
  });

  it("waits for an owner that is out of reach, up to a bound", async () => {
    const { log, lines } = warnings();
    await rooms({ log });
    await subscribe(world.admin, "Event", `${PROFILES}*.Push!`);
    const path = await addProfile(world.admin, { Protocol: "USPEventNotif" }, ["Device.House.Size"]);
    world.network.isDown = true;
    world.network.cut();
    await until(() => !world.agent.reaches(world.adminPath), "the end of the connection");
    for (let i = 0; i < 40; i++) {
      world.bulkData.force(path);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until(() => lines.length > 0, "a warning");
    expect(lines).toEqual([expect.stringContaining("16 reports wait")]);
    world.network.isDown = false;
    await until(() => world.admin.notifies.length >= 16, "the reports that waited");
    await force(world.admin, path);
    await until(() => world.admin.notifies.length >= 17, "the next report");
    expect(world.admin.notifies).toHaveLength(17);
  });

  it("loses, while it waits, what its owner may no longer read", async () => {
    await rooms();
    await subscribe(world.admin, "Event", `${PROFILES}*.Push!`);
    const values = { Protocol: "USPEventNotif", EncodingType: "CSV", "CSVEncoding.RowTimestamp": "None" };
    const path = await addProfile(world.admin, values, ["Size=Device.House.Size", "N=Device.House.Room.1.Name"]);
    world.network.isDown = true;
    world.network.cut();
    await until(() => !world.agent.reaches(world.adminPath), "the end of the connection");
    world.bulkData.force(path);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [role] = (world.tree.text(world.tree.at(`${world.adminPath}.`)!, "AssignedRole") as string).split(",");
    const Targets = "Device.House.Room.*.Name";
    addRow(world.tree, `${role}.Permission.`, { Enable: "true", Order: "9", Targets, Param: "----" });
    world.network.isDown = false;
    await until(() => world.admin.notifies.length > 0, "the report that waited");
    expect(world.admin.notifies[0]?.notification).toMatchObject({
      value: { params: new Map([["Data", "Size\r\n42\r\n"]]) },
    });
  });

  it("is refused where it would not pass a broker", async () => {
    const { log, lines } = warnings();
    await rooms({ log });
    for (let i = 0; i < 200; i++) addRow(world.tree, "Device.House.Room.", { Name: `r${i}` });
    await subscribe(world.admin, "Event", `${PROFILES}*.Push!`);
    const path = await addProfile(world.admin, { Protocol: "USPEventNotif" }, ["Device.House."]);
    await force(world.admin, path);
    await until(() => lines.length > 0, "a warning");
    expect(lines[0]).toContain("exceed 64000 bytes");
    expect(world.admin.notifies).toEqual([]);
  });
});

describe("when a report is made", () => {
  it("is each interval, from the time of reference", async () => {
    const clock = new JumpingClock();
    await rooms({ clock });
    await addProfile(world.admin, http({ ReportingInterval: "1" }), ["Device.House.Size"]);
    await until(() => collector.requests.length >= 2, "two reports");
    const [first, second] = [parsed(0)[0]!, parsed(1)[0]!];
    expect((second["CollectionTime"] as number) - (first["CollectionTime"] as number)).toBe(1);
  });

  it("is not when the profile, or BulkData, is disabled, and ForceCollection() then fails", async () => {
    await rooms();
    const path = await addProfile(world.admin, http(), ["Device.House.Size"]);
    for (const object of ["Device.BulkData.", path]) {
      await world.admin.response(setOne(object, { Enable: "false" }), "setResp");
      const { operationResults } = await force(world.admin, path);
      expect(operationResults[0]?.operationResp).toMatchObject({ $case: "cmdFailure", value: { errCode: 7022 } });
      await world.admin.response(setOne(object, { Enable: "true" }), "setResp");
    }
    expect(collector.requests).toEqual([]);
  });

  it("is told in Status", async () => {
    await rooms();
    const status = async () => (await world.admin.get("Device.BulkData.Status"))["Device.BulkData.Status"];
    await subscribe(world.admin, "ValueChange", "Device.BulkData.Status");
    const path = await addProfile(world.admin, http(), ["Device.House.Size"]);
    expect(await status()).toBe("Enabled");
    // Nothing changed so far, and nothing was told.
    expect(world.admin.notifies).toEqual([]);
    collector.answer = (response) => response.writeHead(503).end();
    await one(world.admin, path);
    await until(() => world.admin.notifies.length > 0, "ValueChange");
    expect(await status()).toBe("Error");
    await world.admin.response(deletion([path]), "deleteResp");
    await until(() => world.admin.notifies.length > 1, "ValueChange");
    expect(await status()).toBe("Enabled");
    await world.admin.response(setOne("Device.BulkData.", { Enable: "false" }), "setResp");
    expect(await status()).toBe("Disabled");
  });

  it("can't be more often than MinReportingInterval", async () => {
    await rooms({ minInterval: 60 });
    const { errCode } = await world.admin.error({
      $case: "add",
      value: {
        allowPartial: false,
        createObjs: [
          { objPath: PROFILES, paramSettings: [{ param: "ReportingInterval", value: "59", required: true }] },
        ],
      },
    });
    expect([7012, 7004, 7021]).toContain(errCode);
  });

  it("is at most once a second by ForceCollection()", async () => {
    await rooms({ forceIntervalMs: 60_000 });
    const path = await addProfile(world.admin, http(), ["Device.House.Size"]);
    await force(world.admin, path);
    const { operationResults } = await force(world.admin, path);
    expect(operationResults[0]?.operationResp).toMatchObject({ $case: "cmdFailure", value: { errCode: 7005 } });
  });
});
