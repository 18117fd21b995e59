/** SPIN 1.0's own interfaces: read only where the configuration wants them. */
import type { Config } from "../config.ts";
import { describe, type Log } from "../lib/log.ts";
import type { ConnectMqtt } from "./local-broker.ts";
import { groupNumber } from "./uds-connector.ts";

/** Until the signal. Never rejects. */
export async function runSpin1(config: Config, log: Log, signal: AbortSignal): Promise<void> {
  const { spin1, localBroker: broker, sockets } = config;
  const door = sockets.find(({ enable, role }) => enable && role === "Resident")?.path;
  if ((spin1.socket === "" && !spin1.mqtt) || door === undefined) return;
  const connect: ConnectMqtt = async (options, attempt) =>
    (await import("../mtp/mqtt.ts")).connectMqtt(options, attempt);
  try {
    const gid = spin1.group === "" ? {} : { gid: groupNumber(spin1.group) };
    const { runSpin1: run } = await import("./spin1/spin1.ts");
    await run({ spin1, broker, door, connect, log: log.child("spin1"), ...gid }, signal);
  } catch (error) {
    log.error(`SPIN's interfaces can't be served: ${describe(error)}`);
  }
}
