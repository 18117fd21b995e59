/** Every Message over WebSocket, between the agent as it is run and its controller, whichever of the two listens. */
import { readFileSync } from "node:fs";
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { AGENT_ID, CONTROLLER_ID } from "../support/agent.ts";
import { authority } from "../support/certificates.ts";
import { freePort, ListeningController, PATH, WebSocketBed } from "../support/websocket-bed.ts";

const args = ["--bench-model", `${BENCH_ROWS}`];
const bed = new WebSocketBed();
afterAll(() => bed.clear(), 30_000);

describe("the agent listens", () => {
  let port: number;
  beforeAll(async () => ({ port } = await bed.listening({ args })), 60_000);
  messageContract("WebSocket, the agent listening", () => ({ connect: () => bed.controller(port) }));
});

describe("the agent listens with TLS 1.3 and asks for a certificate", () => {
  let port: number;
  let tls: { ca: Buffer; cert: Buffer; key: Buffer };
  beforeAll(async () => {
    const own = authority(await bed.folder(), "own");
    const agent = own.issue("agent", { host: "127.0.0.1", endpointId: AGENT_ID });
    const controller = own.issue("controller", { endpointId: CONTROLLER_ID });
    const [ca, cert, key] = [own.file, controller.cert, controller.key].map((path) => readFileSync(path));
    tls = { ca, cert, key } as typeof tls;
    const websocket = { tls: "1", cert_file: agent.cert, key_file: agent.key, ca_file: own.file };
    ({ port } = await bed.listening({ args, websocket }));
  }, 60_000);
  messageContract("WebSocket with TLS 1.3", () => ({ connect: () => bed.controller(port, { tls }) }));
});

describe("the agent dials", () => {
  let controller: ListeningController;
  beforeAll(async () => {
    controller = await ListeningController.start(await freePort());
    await bed.agent({ args, controller: { websocket_url: `ws://127.0.0.1:${controller.port}${PATH}` } });
    const first = await controller.next();
    // So that it is soon there again.
    await first.write("Device.LocalAgent.Controller.1.MTP.1.WebSocket.", {
      SessionRetryMinimumWaitInterval: "1",
      SessionRetryIntervalMultiplier: "1000",
    });
    await first.close();
  }, 60_000);
  afterAll(() => controller.stop());
  messageContract("WebSocket, the agent dialling", () => ({ connect: () => controller.next() }));
});
