import { silentLog } from "../../src/lib/log.ts";
import {
  addController,
  addRow,
  buildWorld,
  get,
  Network,
  operation,
  setOne,
  Peer,
  setParams,
  settle,
  until,
  type World,
} from "./support.ts";

let world: World;
afterEach(() => world.stop());

const kinds = (peer: Peer) => peer.records.map(({ recordType }) => recordType.$case);
const status = () => world.mtpStates.of("Device.LocalAgent.MTP.1");

describe("a connection", () => {
  it("begins with the Connect Record to every enabled controller it leads to (R-MTP.6, R-MTP.8)", async () => {
    world = await buildWorld({
      before: ({ tree }) => {
        addController(tree, "self::second", "");
        addController(tree, "self::off", "", { Enable: "false" });
      },
    });
    const second = new Peer(world.network, "self::second");
    await until(() => world.admin.records.length === 1);
    expect(world.network.published.map(({ options }) => options.to)).toEqual(["to/self::admin", "to/self::second"]);
    expect(world.admin.records[0]).toMatchObject({
      version: "1.4",
      fromId: "os::0005CA-agent",
      toId: "self::admin",
      recordType: { $case: "mqttConnect", value: { version: 1, subscribedTopic: "agent" } },
    });
    expect(second.records).toEqual([]);
    expect(status()).toMatchObject({ status: "Up", reason: "" });
  });

  it("is made again when it breaks, with the Connect Record again", async () => {
    world = await buildWorld();
    world.network.cut();
    await until(() => kinds(world.admin).length === 2);
    expect(kinds(world.admin)).toEqual(["mqttConnect", "mqttConnect"]);
    expect(Object.keys(await world.admin.get("Device.House.Size"))).toHaveLength(1);
  });

  it("is tried until it stands, and its state says why it does not; the log says so, and that it does again", async () => {
    const warnings: string[] = [];
    world = await buildWorld({
      isStarted: false,
      log: { ...silentLog, warn: (text) => void warnings.push(text) },
    });
    world.network.isDown = true;
    await world.start();
    await until(() => world.network.connects > 3);
    expect(status()).toMatchObject({ status: "Error", reason: "unreachable" });
    expect(world.tree.text(world.tree.at("Device.LocalAgent.MTP.1.")!, "Status")).toBe("Error");
    expect(warnings.join("\n")).not.toContain("up again");
    world.network.isDown = false;
    await until(() => status().status === "Up");
    expect(warnings.slice(-2)).toEqual([
      expect.stringMatching(/ \(.+\): unreachable; again in /),
      expect.stringMatching(/^Device\.LocalAgent\.MTP\.1 \(.+\) is up again$/),
    ]);
  });

  it("ends with Disconnect when its row is disabled, and comes back with it", async () => {
    world = await buildWorld();
    await until(() => kinds(world.admin).length === 1);
    setParams(world.tree, "Device.LocalAgent.MTP.1.", { Enable: "false" });
    await until(() => kinds(world.admin).length === 2);
    expect(kinds(world.admin)).toEqual(["mqttConnect", "disconnect"]);
    await settle();
    expect(status().status).toBe("Down");
    const { connects } = world.network;
    setParams(world.tree, "Device.LocalAgent.MTP.1.", { Enable: "true" });
    await until(() => kinds(world.admin).length === 3);
    expect(world.network.connects).toBe(connects + 1);
  });

  it("is made anew by ForceReconnect and by a change of its row, not by a change of state", async () => {
    world = await buildWorld();
    await until(() => kinds(world.admin).length === 1);
    world.agent.reconnect("Device.LocalAgent.MTP.1");
    await until(() => kinds(world.admin).length === 3);
    setParams(world.tree, "Device.LocalAgent.MTP.1.MQTT.", { ResponseTopicConfigured: "x", PublishQoS: "0" });
    await until(() => kinds(world.admin).length === 5);
    await settle();
    expect(kinds(world.admin)).toEqual(["mqttConnect", "disconnect", "mqttConnect", "disconnect", "mqttConnect"]);
    expect(world.network.connects).toBe(3);
  });

  it("is not left before the answer to the Set that wants it", async () => {
    let saving = Promise.resolve();
    world = await buildWorld({ saved: () => saving });
    await until(() => kinds(world.admin).length === 1);
    world.tree.changes.listen(() => void (saving = new Promise((resolve) => setTimeout(resolve, 40))));
    const answer = await world.admin.ask(setOne("Device.LocalAgent.MTP.1.", { Enable: "false" }));
    expect(answer.kind).toBe("response");
    await until(() => kinds(world.admin).at(-1) === "disconnect");
  });

  it("introduces the agent anew where a controller has moved", async () => {
    world = await buildWorld();
    await until(() => kinds(world.admin).length === 1);
    setParams(world.tree, "Device.LocalAgent.Controller.1.MTP.1.MQTT.", { Topic: "to/new" });
    await until(() => world.network.published.length === 2);
    expect(world.network.published.map(({ options }) => options.to)).toEqual(["to/self::admin", "to/new"]);
  });

  it("introduces the agent to a controller that is added later", async () => {
    world = await buildWorld();
    const late = world.peer("self::late");
    await until(() => late.records.length === 1);
    expect(kinds(late)).toEqual(["mqttConnect"]);
  });

  it("warns where the controller speaks the other version of MQTT (R-MQTT.26a)", async () => {
    const warnings: string[] = [];
    world = await buildWorld({ log: { ...silentLog, warn: (text) => void warnings.push(text) } });
    world.admin.record({ $case: "mqttConnect", value: { version: 1, subscribedTopic: "to/self::admin" } });
    await world.admin.ask(get(["Device.House.Size"]));
    expect(warnings).toEqual([]);
    world.admin.record({ $case: "mqttConnect", value: { version: 0, subscribedTopic: "to/self::admin" } });
    await until(() => warnings.length === 1);
    expect(warnings[0]).toContain("self::admin speaks MQTT 3.1.1, this agent 5");
  });

  it.each([{ outstandingBytes: 1_000 }, { outstandingRecords: 5 }])(
    "does not read on while what was answered is not taken: %j",
    async (limits) => {
      world = await buildWorld({ limits });
      await until(() => kinds(world.admin).length === 1);
      let open: () => void = () => undefined;
      world.network.gate = new Promise((resolve) => (open = resolve));
      const answers = Array.from({ length: 50 }, () => world.admin.ask(get(["Device.LocalAgent."])));
      await settle();
      expect(world.agent.counters.requests).toBeLessThan(10);
      world.network.gate = undefined;
      open();
      await Promise.all(answers);
    },
  );

  it("says once when answers are lost, not for each", async () => {
    const warnings: string[] = [];
    world = await buildWorld({ log: { ...silentLog, warn: (text) => void warnings.push(text) } });
    await until(() => kinds(world.admin).length === 1);
    world.network.refuses = true;
    for (let i = 0; i < 20; i++) void world.admin.ask(get(["Device.House.Size"])).catch(() => undefined);
    await until(() => world.agent.counters.requests === 20);
    await settle();
    expect(warnings.filter((text) => text.includes("an answer is lost")).length).toBeLessThanOrEqual(1);
    expect(warnings.join()).toContain("an answer is lost");
  });

  it("is left in order when the agent stops in the middle of work", async () => {
    world = await buildWorld();
    const slow = world.admin.ask(operation("Device.House.Wait()", { Ms: "60000" }));
    await slow;
    await world.stop();
    expect(kinds(world.admin).at(-1)).toBe("disconnect");
    expect(world.requests.size).toBe(0);
  });
});

describe("a link that a peer opened", () => {
  it("leads to the controller at its other end, by having no addresses, and to no other", async () => {
    world = await buildWorld();
    const row = addController(world.tree, "self::local", world.roleAdmin);
    addRow(world.tree, `${row}.MTP.`, { Enable: "true", Protocol: "UDS" });
    const network = new Network();
    const local = new Peer(network, "self::local");
    network.listeners.clear();
    const heard: string[] = [];
    network.listeners.add((_, { to }) => heard.push(to ?? "no address"));
    const connected = await network.connect();
    const stop = new AbortController();
    const serving = world.agent.serve(
      "Device.LocalAgent.MTP.2",
      { ...connected, connectRecord: { $case: "udsConnect", value: {} }, peer: "self::local" },
      "UDS",
      stop.signal,
    );
    await until(() => heard.length === 1);
    void local.ask(get(["Device.House.Size"]));
    await until(() => heard.length === 2);
    new Peer(network, "self::admin").send(new Uint8Array(3));
    void new Peer(network, "self::admin").ask(get(["Device.House.Size"]));
    await settle();
    expect(heard).toEqual(["no address", "no address"]);
    stop.abort();
    await serving;
    expect(heard).toHaveLength(3);
  });
});

describe("what a connection depends on", () => {
  it("makes it anew when a controller changes it, not when the connector itself keeps something there", async () => {
    const network = new Network();
    world = await buildWorld({
      before: ({ tree }) => void addRow(tree, "Device.MQTT.Client.", { Name: "broker" }),
      isStarted: false,
      mtp: () => ({
        protocol: "MQTT",
        retry: { minimumMs: 5, multiplier: 2, maximumMs: 50 },
        watches: ["Device.MQTT.Client.1."],
        connect: () => {
          setParams(world.tree, "Device.MQTT.Client.1.", { ClientID: `given-${network.connects}` });
          return network.connect();
        },
      }),
    });
    world.network.connects = 1; // it is the other network that connects
    const admin = new Peer(network, "self::admin");
    await world.start();
    await until(() => kinds(admin).length === 1);
    await settle();
    expect(network.connects).toBe(1);
    await admin.ask(setOne("Device.MQTT.Client.1.", { KeepAliveTime: "30" }));
    await until(() => kinds(admin).at(-1) === "mqttConnect" && network.connects === 2);
    await settle();
    expect(network.connects).toBe(2);
  });
});

describe("an MTP row whose settings make no connection", () => {
  it("says so, and connects when they do", async () => {
    let isReady = false;
    const network = new Network();
    world = await buildWorld({
      isStarted: false,
      mtp: () =>
        isReady
          ? {
              protocol: "MQTT",
              retry: { minimumMs: 5, multiplier: 2, maximumMs: 50 },
              watches: [],
              connect: () => network.connect(),
            }
          : undefined,
    });
    world.network.connects = 1; // it is the other network that connects
    await world.start();
    await until(() => status().status === "Error");
    isReady = true;
    addRow(world.tree, "Device.MQTT.Client.", { Name: "broker" });
    await until(() => network.connects === 1);
  });
});
