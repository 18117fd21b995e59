/**
 * The broker of the test home: a mosquitto in the Internet's namespace, and a relay that brings this process to it
 * (through a socket file, which all namespaces share). It can be stopped, killed and started again on the same port.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerConfig } from "./home-network.ts";
import { start, stop } from "./namespace.ts";

export class HomeBroker {
  /** Where this process reaches it. */
  readonly host = "127.0.0.1";
  readonly #namespace: string;
  readonly #folder: string;
  readonly #relay: Relay;
  #child: ChildProcess | undefined;
  /** What it logged, the last 64 KiB. */
  log = "";

  private constructor(namespace: string, folder: string, relay: Relay) {
    this.#namespace = namespace;
    this.#folder = folder;
    this.#relay = relay;
  }

  static async start(namespace: string): Promise<HomeBroker> {
    const folder = await mkdtemp(join(tmpdir(), "spin-broker-"));
    await writeFile(join(folder, "mosquitto.conf"), brokerConfig(folder, 1883));
    const broker = new HomeBroker(namespace, folder, await Relay.listen(join(folder, "broker.sock")));
    await broker.run();
    return broker;
  }

  /** Where this process reaches it. */
  get port(): number {
    return this.#relay.port;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it again after `kill` or `stop`. Resolves once it takes connections. */
  async run(): Promise<void> {
    if (this.#child) throw new Error("mosquitto runs already");
    const child = start(this.#namespace, "mosquitto", ["-c", join(this.#folder, "mosquitto.conf")]);
    this.#child = child;
    child.stderr?.on("data", (chunk: Buffer) => (this.log = (this.log + chunk.toString()).slice(-65_536)));
    const end = Date.now() + 5000;
    while (!(await answers(join(this.#folder, "broker.sock")))) {
      if (child.exitCode !== null || Date.now() > end) throw new Error(`mosquitto did not start: ${this.log}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /** As when the machine loses power: SIGKILL. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Ends it for good and removes its files. */
  async close(): Promise<void> {
    if (this.#child) await this.kill();
    await this.#relay.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child) await stop(child, signal);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** A port of loopback whose connections go to a socket file. */
class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string) {
    this.#server = createServer({ noDelay: true }, (near) => {
      const far = connect(path);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => (this.#sockets.delete(from), to.destroy()));
        from.pipe(to);
      }
    });
  }

  static async listen(path: string): Promise<Relay> {
    const relay = new Relay(path);
    await new Promise<void>((done) => relay.#server.listen(0, "127.0.0.1", done));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.#server.close(done));
  }
}
