/** The agent as it is run, over WebSocket in both roles: its life on a session, what it refuses, and what can't hurt it. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { WebSocket } from "ws";
import { encodeMsgRecord, requestMsg, type RequestType } from "../../proto/codec.ts";
import { runCtl } from "../../src/cli/ctl.ts";
import type { TlsServerOptions } from "../../src/mtp/tls.ts";
import { AGENT_ID, CONTROLLER_ID, type Agent } from "../support/agent.ts";
import { authority } from "../support/certificates.ts";
import { eventually, pause } from "../support/eventually.ts";
import { RawController, RawServer } from "../support/raw-controller.ts";
import { freePort, ListeningController, PATH, WebSocketBed } from "../support/websocket-bed.ts";

const OTHER_ID = "self::other";
const get = (...paramPaths: string[]): RequestType => ({ $case: "get", value: { paramPaths, maxDepth: 0 } });
const set = (objPath: string, values: Record<string, string>): RequestType => {
  const paramSettings = Object.entries(values).map(([param, value]) => ({ param, value, required: true }));
  return { $case: "set", value: { allowPartial: false, updateObjs: [{ objPath, paramSettings }] } };
};
const add = (objPath: string, values: Record<string, string>): RequestType => {
  const paramSettings = Object.entries(values).map(([param, value]) => ({ param, value, required: true }));
  return { $case: "add", value: { allowPartial: false, createObjs: [{ objPath, paramSettings }] } };
};
const subscription = (ID: string, NotifType: string, ReferenceList: string) =>
  add("Device.LocalAgent.Subscription.", { ID, NotifType, ReferenceList, ...KEPT });
const KEPT = { Enable: "true", Persistent: "true", NotifRetry: "true" };
const EID = get("Device.LocalAgent.EndpointID");
const other = {
  type: "controller",
  name: "other",
  options: { endpoint_id: OTHER_ID, websocket: "lan", role: "Admin" },
};

const bed = new WebSocketBed();
afterEach(() => bed.clear(), 30_000);

/** What the process holds and has held at most, in MB. */
function memory({ pid }: Agent): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

describe("an agent that listens", () => {
  test("says the Connect Record first, then Boot!, and Disconnect before it leaves (R-MTP.6 to R-MTP.9)", async () => {
    const { agent, port } = await bed.listening();
    const before = await RawController.reach(port);
    await before.ask("1", subscription("boot", "Event", "Device.Boot!"));
    expect(before.kinds).toEqual(["websocketConnect", "noSessionContext"]);
    expect(before.records[0]).toMatchObject({ fromId: AGENT_ID, toId: CONTROLLER_ID });
    await agent.stop();
    expect([await before.closed(), before.kinds.at(-1)]).toEqual([1000, "disconnect"]);
    agent.restart();
    const after = await RawController.reach(port);
    await eventually(() => after.notifications.length, Boolean, { what: "Boot!" });
    expect(after.kinds.slice(0, 2)).toEqual(["websocketConnect", "noSessionContext"]);
    expect(after.notifications[0]).toMatchObject({ subscriptionId: "boot", what: "event" });
  }, 60_000);

  test("keeps what a controller that is gone is to be told, and tells it when it comes back", async () => {
    const { port } = await bed.listening({ sections: [other] });
    const one = await RawController.reach(port);
    await one.ask("1", subscription("name", "ValueChange", "Device.DeviceInfo.ProvisioningCode"));
    one.socket.terminate();
    const two = await RawController.reach(port, { id: OTHER_ID });
    await two.ask("1", set("Device.DeviceInfo.", { ProvisioningCode: "changed" }));
    const back = await RawController.reach(port);
    await eventually(() => back.notifications.length, Boolean, { what: "the notification", timeoutMs: 30_000 });
    expect(back.notifications[0]).toMatchObject({ subscriptionId: "name", what: "valueChange" });
    expect(two.notifications).toEqual([]);
  }, 60_000);

  test.each([
    ["no Record at all", (_: RawController) => Buffer.from("hello, agent")],
    ["a Record that ends too soon", (it: RawController) => it.record("x", EID).slice(0, 20)],
    ["an empty frame", () => Buffer.alloc(0)],
  ])(
    "closes with 1003 after %s, and takes the controller back (R-WS.16)",
    async (_, bytes) => {
      const { agent, port } = await bed.listening();
      const controller = await RawController.reach(port);
      controller.send(bytes(controller));
      expect(await controller.closed()).toBe(1003);
      const again = await RawController.reach(port);
      expect((await again.ask("1", EID)).kind).toBe("response");
      expect(agent.running).toBe(true);
    },
    60_000,
  );

  test("closes with 1003 after a text frame", async () => {
    const { port } = await bed.listening();
    const controller = await RawController.reach(port);
    controller.socket.send("text");
    expect(await controller.closed()).toBe(1003);
  }, 60_000);

  test("answers a Record that can be answered with an Error, and stays (R-MTP.5)", async () => {
    const { port } = await bed.listening();
    const controller = await RawController.reach(port);
    const envelope = { version: "", fromId: CONTROLLER_ID, toId: AGENT_ID };
    controller.send(encodeMsgRecord(envelope, requestMsg("odd", EID)));
    const content = (await eventually(() => controller.answers.get("odd"), Boolean)) as { kind: string };
    expect(content).toMatchObject({ kind: "error", error: { errCode: 7104 } });
    expect((await controller.ask("1", EID)).kind).toBe("response");
  }, 60_000);

  test("takes a request in fragments", async () => {
    const { port } = await bed.listening();
    const controller = await RawController.reach(port);
    const bytes = Buffer.from(controller.record("parts", EID));
    for (let at = 0; at < bytes.length; at++)
      controller.socket.send(bytes.subarray(at, at + 1), { fin: at === bytes.length - 1 });
    expect(await eventually(() => controller.answers.get("parts"), Boolean)).toMatchObject({ kind: "response" });
  }, 60_000);

  test("takes from a session only what is from the endpoint that opened it", async () => {
    const { port } = await bed.listening({ sections: [other] });
    const controller = await RawController.reach(port);
    controller.send(controller.record("forged", EID, OTHER_ID));
    expect((await controller.ask("own", EID)).kind).toBe("response");
    expect([...controller.answers.keys()]).toEqual(["own"]);
  }, 60_000);

  test("knows a controller that does not say who it is by its first Record", async () => {
    const { port } = await bed.listening();
    await RawController.reach(port).then((controller) => controller.socket.close());
    const controller = await RawController.dial(port, { path: PATH });
    expect((await controller.ask("1", EID)).kind).toBe("response");
    expect(controller.kinds[0]).toBe("websocketConnect");
  }, 60_000);

  test("takes nobody without the subprotocol, and says which (R-WS.12a)", async () => {
    const { port } = await bed.listening();
    await RawController.reach(port);
    const response = await fetch(`http://127.0.0.1:${port}${PATH}`);
    expect(response.status).toBe(426);
    const socket = new WebSocket(`ws://127.0.0.1:${port}${PATH}`, ["v2.usp"]);
    const [error] = (await once(socket, "error")) as [Error];
    expect(error.message).toContain("400");
  }, 60_000);

  test("listens where a controller says from now on", async () => {
    const { port } = await bed.listening();
    const controller = await RawController.reach(port);
    const next = await freePort();
    await controller.ask("1", set('Device.LocalAgent.MTP.[Protocol=="WebSocket"].WebSocket.', { Port: `${next}` }));
    await controller.closed();
    const moved = await RawController.reach(next);
    const [answer] = [await moved.ask("1", get("Device.LocalAgent.MTP.*.Status"))];
    expect(JSON.stringify(answer, (_, value: unknown) => (value instanceof Map ? [...value] : value))).toContain(
      '"Up"',
    );
    await expect(RawController.dial(port)).rejects.toThrow();
  }, 60_000);
});

describe("an agent that dials", () => {
  const dialling = async (server: RawServer, port: number) => {
    const agent = await bed.agent({ controller: { websocket_url: `ws://127.0.0.1:${port}${PATH}` } });
    return { agent, session: await agent.unlessItDies(server.session()) };
  };
  let server: RawServer;
  let port: number;
  beforeEach(async () => {
    port = await freePort();
    server = await RawServer.start(port);
  });
  afterEach(() => server.stop());

  test("names itself in the address, and begins with the Connect Record and Boot!", async () => {
    const { agent, session } = await dialling(server, port);
    expect(server.requests[0]?.url).toBe(`${PATH}?eid=${AGENT_ID}`);
    expect(server.requests[0]?.headers["sec-websocket-protocol"]).toBe("v1.usp");
    await session.ask("1", subscription("boot", "Event", "Device.Boot!"));
    await agent.stop();
    expect([await session.closed(), session.kinds.at(-1)]).toEqual([1000, "disconnect"]);
    agent.restart();
    const after = await server.session(1);
    await eventually(() => after.notifications.length, Boolean, { what: "Boot!" });
    expect(after.kinds[0]).toBe("websocketConnect");
  }, 60_000);

  test("comes back to a controller that was away, and tells what it missed", async () => {
    const { session } = await dialling(server, port);
    const settings = "Device.LocalAgent.Controller.1.MTP.1.WebSocket.";
    const quick = { SessionRetryMinimumWaitInterval: "1", SessionRetryIntervalMultiplier: "1000" };
    session.send(session.record("1", set(settings, quick)));
    const next = await server.session(1);
    await next.ask("2", subscription("made", "ObjectCreation", "Device.LocalAgent.Subscription."));
    await next.ask("3", subscription("made-2", "ObjectCreation", "Device.LocalAgent.Subscription."));
    const told = next.notifications.length;
    await server.stop();
    await pause(2_500);
    server = await RawServer.start(port);
    const back = await server.session();
    const content = await back.ask("4", get(`${settings}CurrentRetryCount`));
    expect(JSON.stringify(content, (_, value: unknown) => (value instanceof Map ? [...value] : value))).toContain(
      '["CurrentRetryCount","0"]',
    );
    expect(told).toBeGreaterThan(0);
  }, 60_000);

  test("closes with 1003 after what is no Record, and dials anew", async () => {
    const { session } = await dialling(server, port);
    session.send(Buffer.from("hello, agent"));
    expect(await session.closed()).toBe(1003);
    expect((await (await server.session(1)).ask("1", EID)).kind).toBe("response");
  }, 60_000);

  test("uses no session without the subprotocol, and takes OB-USP-A's extension (R-WS.11a, R-WS.12)", async () => {
    await server.stop();
    server = await RawServer.start(port, { handleProtocols: () => false });
    const { agent, session } = await dialling(server, port);
    await session.closed();
    expect(session.records).toEqual([]);
    await eventually(
      () => agent.log,
      (log) => log.includes("subprotocol"),
    );
    await server.stop();
    server = await RawServer.start(port, {
      headers: [`Sec-WebSocket-Extensions: bbf-usp-protocol; eid="${CONTROLLER_ID}"`],
    });
    expect((await (await server.session()).ask("1", EID)).kind).toBe("response");
  }, 60_000);
});

describe("both roles at once", () => {
  test("there is one session with a controller, whoever opened it (R-WS.4)", async () => {
    const away = await freePort();
    let server = await RawServer.start(away);
    const url = `ws://127.0.0.1:${away}${PATH}`;
    const { port } = await bed.listening({ controller: { websocket_url: url } });
    const dialled = await server.session();
    expect((await dialled.ask("1", EID)).kind).toBe("response");
    await expect(RawController.dial(port)).rejects.toThrow("409");
    await server.stop();
    const taken = await RawController.reach(port);
    expect((await taken.ask("1", EID)).kind).toBe("response");
    server = await RawServer.start(away);
    // Past the first window of its back-off.
    await pause(11_000);
    expect(server.requests).toHaveLength(0);
    expect(taken.socket.readyState).toBe(WebSocket.OPEN);
    taken.socket.close();
    expect((await (await server.session()).ask("2", EID)).kind).toBe("response");
    await server.stop();
  }, 60_000);

  test("a controller is dialled with TLS, under the certificates of its section, or not at all", async () => {
    const folder = await bed.folder();
    const [own, strange] = [authority(folder, "own"), authority(folder, "strange")];
    const mine = own.issue("agent", { host: "agent.example", endpointId: AGENT_ID });
    const theirs = own.issue("controller", { endpointId: CONTROLLER_ID });
    const port = await freePort();
    const [cert, key, ca] = [theirs.cert, theirs.key, own.file].map((path) => readFileSync(path)) as Buffer[];
    const tls = { cert, key, ca, clientCertificates: "require" } as TlsServerOptions;
    const controller = await ListeningController.start(port, { server: { tls } });
    const dial = (ca_file: string) =>
      bed.agent({
        controller: {
          websocket_url: `wss://127.0.0.1:${port}${PATH}`,
          ca_file,
          cert_file: mine.cert,
          key_file: mine.key,
        },
      });
    const stranger = await dial(strange.file);
    await eventually(
      () => stranger.log,
      (log) => log.includes("of an authority that is not"),
    );
    await stranger.stop();
    await dial(own.file);
    const session = await controller.next();
    expect((await session.read(["Device.LocalAgent.EndpointID"])).size).toBe(1);
    await session.close();
    await controller.stop();
  }, 60_000);

  test("ctl reaches an agent that listens, without a broker", async () => {
    const { port } = await bed.listening();
    await RawController.reach(port).then(({ socket }) => socket.close());
    const said = { out: "", err: "" };
    const io = {
      out: (text: string) => void (said.out += text),
      err: (text: string) => void (said.err += text),
      env: { SPIN_USP_URL: `ws://127.0.0.1:${port}${PATH}` },
      signal: new AbortController().signal,
      terminal: () => undefined,
    };
    const ids = ["--agent", AGENT_ID, "--controller", CONTROLLER_ID];
    expect(await runCtl([...ids, "get", "Device.LocalAgent.EndpointID"], io)).toBe(0);
    expect(said).toEqual({ out: expect.stringContaining(AGENT_ID), err: "" });
    expect(await runCtl([...ids, "--url", "http://127.0.0.1/", "get", "Device."], io)).toBe(2);
    expect(said.err).toContain("begins with");
  }, 60_000);
});

describe("hostile peers", () => {
  test("mutated Records, known and unknown senders: each ends its own session at most", async () => {
    const { agent, port } = await bed.listening({ sections: [other] });
    const good = await RawController.reach(port, { id: OTHER_ID });
    let seed = 7;
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    let controller = await RawController.reach(port);
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(controller.record(`m${round}`, get("Device.LocalAgent.")));
      for (let flips = 1 + random(4); flips > 0; flips--) {
        const at = random(bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
      }
      if (controller.socket.readyState !== WebSocket.OPEN) controller = await RawController.reach(port);
      controller.send(random(5) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
      if (round % 20 === 0) await pause(5);
    }
    expect((await good.ask("after", EID)).kind).toBe("response");
    expect(agent.running).toBe(true);
  }, 120_000);

  test("frames of 10 MB, unfinished frames and floods of headers cost nothing that lasts", async () => {
    const { agent, port } = await bed.listening({ sections: [other] });
    const good = await RawController.reach(port, { id: OTHER_ID });
    await good.ask("warm", EID);
    const before = memory(agent).now;
    for (let round = 0; round < 20; round++) {
      const controller = await RawController.reach(port);
      controller.send(Buffer.alloc(10 << 20));
      expect(await controller.closed()).toBe(1009);
    }
    const raws: Socket[] = [];
    for (let round = 0; round < 200; round++) {
      const socket = connectTcp({ host: "127.0.0.1", port });
      socket.on("error", () => undefined).resume();
      raws.push(socket);
      if (round % 2 === 0) socket.write(`GET ${PATH} HTTP/1.1\r\n${"X-Header: value\r\n".repeat(2_000)}`);
    }
    // Most were not let in; those that were end with the time for a handshake.
    expect((await good.ask("during", EID)).kind).toBe("response");
    await eventually(
      () => raws.filter(({ destroyed }) => !destroyed).length,
      (left) => left === 0,
      { timeoutMs: 20_000 },
    );
    expect((await (await RawController.reach(port)).ask("after", EID)).kind).toBe("response");
    expect(memory(agent).peak - before).toBeLessThan(60);
  }, 120_000);

  test("5,000 requests at once: each is answered, or told 7005", async () => {
    const { agent, port } = await bed.listening();
    const controller = await RawController.reach(port);
    await controller.ask("warm", get("Device.LocalAgent."));
    const before = memory(agent).now;
    for (let at = 0; at < 5_000; at++) controller.send(controller.record(`f${at}`, get("Device.LocalAgent.")));
    await eventually(
      () => controller.answers.size,
      (size) => size === 5_001,
      { timeoutMs: 60_000, what: "the number of answers" },
    );
    const kinds = new Set<string>();
    for (const content of controller.answers.values())
      kinds.add(content.kind === "error" ? `error ${content.error.errCode}` : content.kind);
    kinds.delete("response");
    kinds.delete("error 7005");
    expect([...kinds]).toEqual([]);
    expect(memory(agent).peak - before).toBeLessThan(100);
  }, 120_000);

  test("one that asks and never reads holds up nobody else, in bounded memory", async () => {
    const { agent, port } = await bed.listening({ sections: [other], args: ["--bench-model", "500"] });
    const good = await RawController.reach(port, { id: OTHER_ID });
    const controller = await RawController.reach(port);
    await controller.ask("warm", get("Device.X_BENCH."), 20_000);
    const before = memory(agent).now;
    controller.socket.pause();
    for (let at = 0; at < 500; at++) controller.send(controller.record(`s${at}`, get("Device.X_BENCH.")));
    for (let round = 0; round < 20; round++) {
      expect((await good.ask(`g${round}`, EID, 20_000)).kind).toBe("response");
      await pause(50);
    }
    expect(memory(agent).peak - before).toBeLessThan(120);
    controller.socket.resume();
    await eventually(
      () => controller.answers.size,
      (size) => size === 501,
      { timeoutMs: 60_000, everyMs: 100, what: "the number of answers" },
    );
  }, 150_000);
});
