/**
 * OB-USP-A, the Broadband Forum's agent in C, as a USP Broker with its two sockets and as an agent over MQTT. Built apart,
 * by its own instructions; found by the environment variable OBUSPA, else on the path.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ended, stop } from "./namespace.ts";
import { eventually } from "./eventually.ts";
import { programPath } from "./needs.ts";

const program = process.env["OBUSPA"] ?? programPath("obuspa");

export const obuspaMissing =
  program !== undefined && existsSync(program) ? undefined : "needs OB-USP-A: its program in OBUSPA, or on the path";

export const OBUSPA_ID = "self::obuspa";
export const OBUSPA_TOPIC = "obuspa/agent";
export const OBUSPA_CONTROLLER_ID = "self::remote";
export const OBUSPA_CONTROLLER_TOPIC = "obuspa/controller";

/** Parameters of its factory reset, as `Device.…` without that word → value. */
const settings = (port: number, folder: string): Readonly<Record<string, string>> => ({
  "LocalAgent.EndpointID": OBUSPA_ID,
  "LocalAgent.MTP.1.Alias": "cpe-1",
  "LocalAgent.MTP.1.Enable": "true",
  "LocalAgent.MTP.1.Protocol": "MQTT",
  "LocalAgent.MTP.1.MQTT.ResponseTopicConfigured": OBUSPA_TOPIC,
  "LocalAgent.MTP.1.MQTT.Reference": "Device.MQTT.Client.1",
  "MQTT.Client.1.Alias": "cpe-1",
  "MQTT.Client.1.Enable": "true",
  "MQTT.Client.1.BrokerAddress": "127.0.0.1",
  "MQTT.Client.1.BrokerPort": `${port}`,
  "MQTT.Client.1.ProtocolVersion": "5.0",
  "MQTT.Client.1.TransportProtocol": "TCP/IP",
  "MQTT.Client.1.ConnectRetryTime": "1",
  "LocalAgent.Controller.1.Alias": "cpe-1",
  "LocalAgent.Controller.1.Enable": "true",
  "LocalAgent.Controller.1.EndpointID": OBUSPA_CONTROLLER_ID,
  "LocalAgent.Controller.1.AssignedRole": "Device.LocalAgent.ControllerTrust.Role.1",
  "LocalAgent.Controller.1.MTP.1.Alias": "cpe-1",
  "LocalAgent.Controller.1.MTP.1.Enable": "true",
  "LocalAgent.Controller.1.MTP.1.Protocol": "MQTT",
  "LocalAgent.Controller.1.MTP.1.MQTT.Reference": "Device.MQTT.Client.1",
  "LocalAgent.Controller.1.MTP.1.MQTT.Topic": OBUSPA_CONTROLLER_TOPIC,
  "UnixDomainSockets.UnixDomainSocket.1.Alias": "cpe-1",
  "UnixDomainSockets.UnixDomainSocket.1.Mode": "Listen",
  "UnixDomainSockets.UnixDomainSocket.1.Path": join(folder, "c"),
  "UnixDomainSockets.UnixDomainSocket.2.Alias": "cpe-2",
  "UnixDomainSockets.UnixDomainSocket.2.Mode": "Listen",
  "UnixDomainSockets.UnixDomainSocket.2.Path": join(folder, "a"),
  "LocalAgent.MTP.2.Alias": "cpe-2",
  "LocalAgent.MTP.2.Enable": "true",
  "LocalAgent.MTP.2.Protocol": "UDS",
  "LocalAgent.MTP.2.UDS.UnixDomainSocketRef": "Device.UnixDomainSockets.UnixDomainSocket.2",
});

export class Obuspa {
  /** The last 256 KiB of what it said. */
  log = "";
  /** Where its controller listens for Services, and its agent for controllers. */
  readonly controllerPath: string;
  readonly agentPath: string;
  readonly #folder: string;
  #child: ChildProcess;

  private constructor(folder: string) {
    this.#folder = folder;
    this.controllerPath = join(folder, "c");
    this.agentPath = join(folder, "a");
    this.#child = this.#launch();
  }

  /** @param port Of an MQTT broker on loopback. */
  static async start(port: number): Promise<Obuspa> {
    const folder = mkdtempSync(join(tmpdir(), "spin-obuspa-"));
    const lines = Object.entries(settings(port, folder)).map(([name, value]) => `Device.${name} "${value}"\n`);
    writeFileSync(join(folder, "reset"), lines.join(""));
    const obuspa = new Obuspa(folder);
    await obuspa.listens();
    return obuspa;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Ends it as a service manager does, and starts it again with its database. */
  async restart(): Promise<void> {
    await stop(this.#child, "SIGTERM", 8_000);
    this.#child = this.#launch();
    await this.listens();
  }

  async listens(): Promise<void> {
    const isThere = () => {
      if (this.#child.exitCode !== null) throw new Error(`obuspa ended: ${this.log.slice(-2000)}`);
      return existsSync(this.controllerPath) && existsSync(this.agentPath);
    };
    await eventually(isThere, (is) => is, { timeoutMs: 20_000, what: "obuspa's sockets" });
  }

  /** As it is when it hangs, until `go`. */
  halt(): void {
    this.#child.kill("SIGSTOP");
  }

  go(): void {
    this.#child.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGCONT");
    this.#child.kill("SIGKILL");
    await ended(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #launch(): ChildProcess {
    for (const path of [this.controllerPath, this.agentPath]) rmSync(path, { force: true });
    const file = (name: string) => join(this.#folder, name);
    const args = ["-p", "-v", "3", "-i", "lo", "-f", file("usp.db"), "-s", file("cli"), "-r", file("reset")];
    const child = spawn(program as string, args, { stdio: ["ignore", "pipe", "pipe"] });
    const read = (chunk: Buffer) => (this.log = (this.log + chunk.toString()).slice(-262_144));
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    return child;
  }
}
