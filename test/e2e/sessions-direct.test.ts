/** Sessions where the connection is the address: over WebSocket, and through a local door. */
import { connectByUrl } from "../../src/controller/connect-url.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { inSession } from "../../src/controller/session.ts";
import { AGENT_ID, CONTROLLER_ID } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { SocketBed } from "../support/socket-bed.ts";
import { PATH, WebSocketBed } from "../support/websocket-bed.ts";

const NAME = "Device.DeviceInfo.ProvisioningCode";
const options = {
  controllerId: CONTROLLER_ID,
  mqtt: { url: "", version: "5" },
  openSession: inSession({ isSecure: false }),
} as const;
const connect = (url: string, agentId: string) =>
  connectByUrl({ ...options, url, agentId }, new AbortController().signal);

/** Answers and a notification, all in the session that Status shows. */
async function talks(controller: Controller): Promise<void> {
  const status = async () => {
    const values = await controller.read(["Device.LocalAgent.Controller.*.E2ESession.Status"]);
    return [...values.values()].filter((value) => value === "Up").length;
  };
  expect(await status()).toBe(1);
  const subscription = await controller.subscribe({ kind: "ValueChange", references: [NAME] });
  await controller.write("Device.DeviceInfo.", { ProvisioningCode: "told" });
  for await (const notification of subscription) {
    expect(notification).toMatchObject({ kind: "ValueChange", path: NAME, value: "told" });
    break;
  }
  expect(await status()).toBe(1);
}

test("over WebSocket", async () => {
  const bed = new WebSocketBed();
  try {
    const { agent, port } = await bed.listening();
    const reach = () => connect(`ws://127.0.0.1:${port}${PATH}`, AGENT_ID).catch(() => undefined);
    const controller = await agent.unlessItDies(eventually(reach, Boolean, { what: "the agent's port" }));
    await talks(controller as Controller);
    await controller?.close();
  } finally {
    await bed.clear();
  }
}, 60_000);

test("through a local door", async () => {
  const bed = new SocketBed();
  try {
    await bed.agent(["Admin"]);
    const controller = await connect(`unix:${bed.path("admin")}`, "");
    await talks(controller);
    await controller.close();
  } finally {
    await bed.clear();
  }
}, 60_000);
