/** WebSocket rows of the model: made from the configuration, changed by controllers, and safe by default. */
import { eventually } from "../support/eventually.ts";
import { RawController } from "../support/raw-controller.ts";
import { freePort, WebSocketBed } from "../support/websocket-bed.ts";

const bed = new WebSocketBed();
afterEach(() => bed.clear(), 30_000);

const MTP = "Device.LocalAgent.MTP.1.";
const ROUTE = "Device.LocalAgent.Controller.1.MTP.1.";

test("are made by the first start", async () => {
  const away = await freePort();
  const { port } = await bed.listening({
    websocket: { keepalive: "33" },
    controller: { websocket_url: `ws://127.0.0.1:${away}/acs/usp` },
  });
  const controller = await bed.controller(port);
  const values = Object.fromEntries(await controller.read([MTP, ROUTE]));
  expect(values).toMatchObject({
    [`${MTP}Alias`]: "cpe-lan",
    [`${MTP}Status`]: "Up",
    [`${MTP}Protocol`]: "WebSocket",
    [`${MTP}WebSocket.Interfaces`]: "",
    [`${MTP}WebSocket.Port`]: `${port}`,
    [`${MTP}WebSocket.Path`]: "/usp",
    [`${MTP}WebSocket.EnableEncryption`]: "false",
    [`${MTP}WebSocket.KeepAliveInterval`]: "33",
    [`${ROUTE}Protocol`]: "WebSocket",
    [`${ROUTE}WebSocket.Host`]: "127.0.0.1",
    [`${ROUTE}WebSocket.Port`]: `${away}`,
    [`${ROUTE}WebSocket.Path`]: "/acs/usp",
    [`${ROUTE}WebSocket.EnableEncryption`]: "false",
    [`${ROUTE}WebSocket.SessionRetryMinimumWaitInterval`]: "5",
    [`${ROUTE}WebSocket.SessionRetryIntervalMultiplier`]: "2000",
  });
  const protocols = "Device.LocalAgent.SupportedProtocols";
  expect((await controller.read([protocols])).get(protocols)).toContain("WebSocket");
}, 60_000);

test("take what a controller writes, unless it makes no sense", async () => {
  const { port } = await bed.listening();
  const controller = await bed.controller(port);
  for (const [name, value] of [
    ["Port", "0"],
    ["Path", "/usp?x"],
    ["Path", "/usp\r\nX: y"],
    ["Interfaces", "Device.IP.Interface.1"],
    ["KeepAliveInterval", "0"],
  ] as const)
    await expect(controller.write(`${MTP}WebSocket.`, { [name]: value })).rejects.toMatchObject({ name: "UspError" });
  // Another port, of a row that the controller makes; it listens where the section says.
  const next = await freePort();
  const row = await controller.create("Device.LocalAgent.MTP.", { Protocol: "WebSocket" });
  await controller.write(`${row}WebSocket.`, { Port: `${next}`, Path: "usp", EnableEncryption: "false" });
  await controller.write(row, { Enable: "true" });
  const second = await RawController.reach(next, { id: "self::someone" });
  expect(second.socket.protocol).toBe("v1.usp");
}, 60_000);

test("do not fall back to plaintext, nor listen without a certificate", async () => {
  const { agent, port } = await bed.listening();
  const controller = await bed.controller(port);
  const row = await controller.create("Device.LocalAgent.MTP.", { Protocol: "WebSocket", Enable: "true" });
  const status = async () => (await controller.read([`${row}Status`])).get(`${row}Status`);
  await eventually(status, (it) => it !== "Up", { what: "the row's Status" });
  await eventually(
    () => agent.log,
    (log) => log.includes("TLS needs cert_file and key_file in websocket 'lan'"),
  );
  await controller.write(ROUTE, { Enable: "true" });
  await controller.write(`${ROUTE}WebSocket.`, { Host: "192.0.2.1", EnableEncryption: "false" });
  await eventually(
    () => agent.log,
    (log) => log.includes("192.0.2.1 is beyond this machine"),
  );
}, 60_000);

test("listen on all addresses of an interface that is named", async () => {
  const { agent, port } = await bed.listening({ websocket: { listen: ["lo"], allow_plaintext: "1" } });
  await RawController.reach(port);
  const other = await bed.listening({ websocket: { listen: ["nosuch0"], allow_plaintext: "1" } });
  await eventually(
    () => other.agent.log,
    (log) => log.includes("the interface nosuch0 is not there"),
  );
  expect([agent.running, other.agent.running]).toEqual([true, true]);
}, 60_000);

test("Reset() dials anew", async () => {
  const { port } = await bed.listening();
  const controller = await bed.controller(port);
  expect([...(await controller.run(`${ROUTE}WebSocket.Reset()`))]).toEqual([]);
}, 60_000);
