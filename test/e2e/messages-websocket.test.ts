/** Every Message over WebSocket, between the agent as it is run and its controller, whichever of the two listens. */
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { freePort, ListeningController, PATH, WebSocketBed } from "../support/websocket-bed.ts";

const args = ["--bench-model", `${BENCH_ROWS}`];
const bed = new WebSocketBed();
afterAll(() => bed.clear(), 30_000);

describe("the agent listens", () => {
  let port: number;
  beforeAll(async () => ({ port } = await bed.listening({ args })), 60_000);
  messageContract("WebSocket, the agent listening", () => ({ connect: () => bed.controller(port) }));
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
