/** OB-USP-A as an agent over WebSocket, and our controller: at its port, and where it dials us. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectByUrl } from "../../src/controller/connect-url.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { eventually } from "../support/eventually.ts";
import { ended } from "../support/namespace.ts";
import { describeUnless, programPath } from "../support/needs.ts";
import { obuspaMissing } from "../support/obuspa.ts";
import { freePort, ListeningController } from "../support/websocket-bed.ts";

const CONTROLLER_ID = "self::remote";
const OBUSPA_ID = "self::obuspa";
const program = process.env["OBUSPA"] ?? programPath("obuspa") ?? "";

/** It can be built without. */
const hasWebSocket = obuspaMissing === undefined && spawnSync("ldd", [program]).stdout.includes("libwebsockets");
const reason = obuspaMissing ?? (hasWebSocket ? undefined : "needs an OB-USP-A that was built with libwebsockets");

const COMMON = {
  "LocalAgent.EndpointID": OBUSPA_ID,
  "LocalAgent.Controller.1.Alias": "cpe-1",
  "LocalAgent.Controller.1.Enable": "true",
  "LocalAgent.Controller.1.EndpointID": CONTROLLER_ID,
  "LocalAgent.Controller.1.AssignedRole": "Device.LocalAgent.ControllerTrust.Role.1",
};

describeUnless(reason, "OB-USP-A over WebSocket", () => {
  let folder: string;
  let child: ChildProcess;
  let log = "";

  function launch(settings: Readonly<Record<string, string>>): void {
    folder = mkdtempSync(join(tmpdir(), "spin-obuspa-"));
    const file = (name: string) => join(folder, name);
    const lines = Object.entries({ ...COMMON, ...settings }).map(([name, value]) => `Device.${name} "${value}"\n`);
    writeFileSync(file("reset"), lines.join(""));
    const args = ["-p", "-v", "3", "-i", "lo", "-f", file("usp.db"), "-s", file("cli"), "-r", file("reset")];
    child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    log = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (log += String(chunk)));
  }
  afterEach(async () => {
    child.kill("SIGKILL");
    await ended(child);
    rmSync(folder, { recursive: true });
  });

  async function works(controller: Controller): Promise<void> {
    const [id] = [...(await controller.read(["Device.LocalAgent.EndpointID"])).values()];
    expect(id).toBe(OBUSPA_ID);
    const changes = await controller.subscribe({
      kind: "ValueChange",
      references: ["Device.LocalAgent.Controller.1.ProvisioningCode"],
      retry: true,
    });
    await controller.write("Device.LocalAgent.Controller.1.", { ProvisioningCode: "changed" });
    for await (const change of changes) {
      expect(change).toMatchObject({ kind: "ValueChange", value: "changed" });
      break;
    }
    const [supported] = await controller.supported(["Device."]);
    expect(supported?.objects.length).toBeGreaterThan(20);
    await changes.close();
  }

  test("at its port: it answers with its extension, whether it was asked or not", async () => {
    const port = await freePort();
    launch({
      "LocalAgent.MTP.1.Alias": "cpe-1",
      "LocalAgent.MTP.1.Enable": "true",
      "LocalAgent.MTP.1.Protocol": "WebSocket",
      "LocalAgent.MTP.1.WebSocket.Port": `${port}`,
      "LocalAgent.MTP.1.WebSocket.Path": "/usp",
      "LocalAgent.MTP.1.WebSocket.EnableEncryption": "false",
    });
    const url = `ws://127.0.0.1:${port}/usp`;
    const options = { controllerId: CONTROLLER_ID, agentId: OBUSPA_ID, timeoutMs: 20_000, url };
    const mqtt = { url: "mqtt://127.0.0.1", version: "5" as const };
    const connect = () =>
      connectByUrl({ ...options, mqtt }, new AbortController().signal).catch((error) => String(error));
    const controller = await eventually(connect, (it) => typeof it !== "string", { timeoutMs: 30_000, what: log });
    await works(controller as Controller);
    await (controller as Controller).close();
  }, 90_000);

  test("where it dials us", async () => {
    const port = await freePort();
    const listening = await ListeningController.start(port, { controllerId: CONTROLLER_ID, timeoutMs: 20_000 });
    launch({
      "LocalAgent.Controller.1.MTP.1.Alias": "cpe-1",
      "LocalAgent.Controller.1.MTP.1.Enable": "true",
      "LocalAgent.Controller.1.MTP.1.Protocol": "WebSocket",
      "LocalAgent.Controller.1.MTP.1.WebSocket.Host": "127.0.0.1",
      "LocalAgent.Controller.1.MTP.1.WebSocket.Port": `${port}`,
      "LocalAgent.Controller.1.MTP.1.WebSocket.Path": "/usp",
      "LocalAgent.Controller.1.MTP.1.WebSocket.EnableEncryption": "false",
    });
    const controller = await listening.next();
    await works(controller);
    await controller.close();
    await listening.stop();
  }, 90_000);
});
