/**
 * OB-USP-A, the reference agent in C, on a broker of its own: it answers under the same endpoint id and topics as ours, so
 * that one load serves both. It is built by whoever wants it compared, and found by `OBUSPA` or on the PATH.
 */
import { type ChildProcess, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC } from "../../test/support/agent.ts";
import { start, stop } from "../../test/support/namespace.ts";

export interface Obuspa {
  readonly pid: number;
  end(): Promise<void>;
}

const PROGRAM = process.env["OBUSPA"] ?? "obuspa";

/** Absent where it is not installed. Its database is new and lies in `folder`. */
export async function startObuspa(folder: string, port: number): Promise<Obuspa | undefined> {
  if (spawnSync(PROGRAM, ["-h"]).error) return undefined;
  const reset = join(folder, "obuspa-reset.txt");
  await writeFile(reset, factoryReset(port));
  const args = ["-v", "1", "-l", join(folder, "obuspa.log"), "-f", join(folder, "obuspa.db"), "-r", reset];
  const environment = `USP_ENDPOINT_ID=${AGENT_ID}`;
  const child: ChildProcess = start(undefined, "env", [environment, PROGRAM, ...args, "-s", join(folder, "cli")]);
  child.stderr?.resume();
  child.stdout?.resume();
  return { pid: child.pid as number, end: async () => void (await stop(child)) };
}

function factoryReset(port: number): string {
  const agent = "Device.LocalAgent";
  const client = "Device.MQTT.Client.1";
  const parameters: Readonly<Record<string, string>> = {
    [`${agent}.EndpointID`]: AGENT_ID,
    [`${agent}.MTP.1.Alias`]: "cpe-1",
    [`${agent}.MTP.1.Enable`]: "true",
    [`${agent}.MTP.1.Protocol`]: "MQTT",
    [`${agent}.MTP.1.MQTT.ResponseTopicConfigured`]: AGENT_TOPIC,
    [`${agent}.MTP.1.MQTT.Reference`]: client,
    [`${client}.Alias`]: "cpe-1",
    [`${client}.Enable`]: "true",
    [`${client}.ProtocolVersion`]: "5.0",
    [`${client}.BrokerAddress`]: "127.0.0.1",
    [`${client}.BrokerPort`]: String(port),
    [`${client}.TransportProtocol`]: "TCP/IP",
    [`${client}.KeepAliveTime`]: "60",
    [`${agent}.Controller.1.Alias`]: "cpe-1",
    [`${agent}.Controller.1.Enable`]: "true",
    [`${agent}.Controller.1.EndpointID`]: CONTROLLER_ID,
    [`${agent}.Controller.1.AssignedRole`]: `${agent}.ControllerTrust.Role.1`,
    [`${agent}.Controller.1.PeriodicNotifInterval`]: "86400",
    [`${agent}.Controller.1.MTP.1.Alias`]: "cpe-1",
    [`${agent}.Controller.1.MTP.1.Enable`]: "true",
    [`${agent}.Controller.1.MTP.1.Protocol`]: "MQTT",
    [`${agent}.Controller.1.MTP.1.MQTT.Reference`]: client,
    [`${agent}.Controller.1.MTP.1.MQTT.Topic`]: CONTROLLER_TOPIC,
    "Internal.Reboot.Cause": "LocalFactoryReset",
  };
  return `${Object.entries(parameters)
    .map(([path, value]) => `${path} "${value}"`)
    .join("\n")}\n`;
}
