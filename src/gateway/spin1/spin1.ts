/** SPIN 1.0's own interfaces, all of them over one connection to the resident's socket. A bundle of its own. */
import { existsSync } from "node:fs";
import type { LocalBrokerConfig } from "../../config/local-broker.ts";
import type { Spin1Config } from "../../config/spin1.ts";
import { describe, type Log } from "../../lib/log.ts";
import type { ConnectMqtt } from "../local-broker.ts";
import { Spin1Home } from "./home.ts";
import { answer } from "./rpc.ts";
import { serveRpc } from "./server.ts";
import { runTopics } from "./topics.ts";

export interface Spin1Options {
  readonly spin1: Spin1Config;
  /** Of the socket. */
  readonly gid?: number;
  readonly broker: LocalBrokerConfig;
  /** Path of the resident's socket. */
  readonly door: string;
  readonly connect: ConnectMqtt;
  readonly log: Log;
}

/** Until the signal. Never rejects. */
export async function runSpin1(options: Spin1Options, signal: AbortSignal): Promise<void> {
  const { spin1, gid, broker, door, connect, log } = options;
  await opens(door, signal);
  const home = new Spin1Home(door, signal);
  const ask = (text: string) => answer(home, text);
  const failed = (error: unknown) => log.error(`SPIN's interface: ${describe(error)}`);
  const socket = { path: spin1.socket, answer: ask, log, ...(gid === undefined ? {} : { gid }) };
  await Promise.all([
    ...(spin1.socket === "" ? [] : [serveRpc(socket, signal).catch(failed)]),
    ...(spin1.mqtt
      ? [runTopics({ home, broker, connect, log, ...(spin1.mqtt_rpc ? { answer: ask } : {}) }, signal).catch(failed)]
      : []),
  ]);
  await home.close();
}

/** The agent opens its doors a moment after this begins. */
async function opens(door: string, signal: AbortSignal): Promise<void> {
  for (let look = 0; look < 100 && !signal.aborted && !existsSync(door); look++)
    await new Promise((resolve) => setTimeout(resolve, 100));
}
