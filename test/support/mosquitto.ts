/** A real mosquitto of this test's own: a free port on loopback, a configuration in a temporary folder, ended by pid. */
import { spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "./namespace.ts";

export const hasMosquitto = spawnSync("mosquitto", ["-h"]).error === undefined;

export interface Broker {
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  /** Ends the process as a crash would (kill -9); the port stays reserved for `start`. */
  kill(): Promise<void>;
  /** Freezes and thaws the process, as a broker that hangs. */
  signal(name: "SIGSTOP" | "SIGCONT"): void;
  start(): Promise<void>;
  /** Ends the process and removes its folder. */
  stop(): Promise<void>;
}

export interface BrokerOptions {
  /** Lines of mosquitto.conf after `listener`; `allow_anonymous true` unless given here. */
  readonly config?: readonly string[];
  /** Files of the folder; `{folder}` in `config` stands for it. */
  readonly files?: { readonly [name: string]: string };
}

export async function startMosquitto(options: BrokerOptions = {}): Promise<Broker> {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-mosquitto-"));
  // For those of a test that runs something as another user.
  chmodSync(folder, 0o755);
  const port = await freePort();
  for (const [name, text] of Object.entries(options.files ?? {}))
    writeFileSync(join(folder, name), text, { mode: 0o644 });
  const config = (options.config ?? []).map((line) => line.replaceAll("{folder}", folder));
  if (!config.some((line) => line.startsWith("allow_anonymous"))) config.push("allow_anonymous true");
  // It stays root where the test is: the signal of a parent's death ends with a change of the user.
  const lines = ["user root", `listener ${port} 127.0.0.1`, ...config, ""];
  writeFileSync(join(folder, "mosquitto.conf"), lines.join("\n"));
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill(signal);
    await once(ending, "exit");
  };
  const broker: Broker = {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    folder,
    kill: () => end("SIGKILL"),
    signal: (name) => void child?.kill(name),
    async start() {
      // Dies with this process: one that is killed ends nothing.
      child = start(undefined, "mosquitto", ["-c", join(folder, "mosquitto.conf")]);
      child.stdout?.resume();
      let said = "";
      child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
      await listening(port, child, () => said);
    },
    async stop() {
      await end("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function listening(port: number, child: ChildProcess, said: () => string): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`mosquitto exited with ${child.exitCode}: ${said()}`);
    const socket = connect(port, "127.0.0.1");
    const answer = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`mosquitto does not listen on ${port}: ${said()}`);
}
