/** The traffic tool (traffic/*.c): built when it is stale, run in a namespace, its JSON lines read. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { ended, exec, start, stop } from "./namespace.ts";
import { programPath } from "./needs.ts";

export interface TcpResult {
  readonly ok: boolean;
  /** Empty, `timeout`, `refused`, `unreachable`, `reset`. */
  readonly error: string;
  readonly port: number;
  readonly sent: number;
  readonly received: number;
  readonly connectMs: number;
  readonly ms: number;
}

export interface UdpResult {
  readonly sent: number;
  readonly received: number;
  readonly port: number;
  readonly error: string;
  /** Milliseconds since 1970 of the first packet out and the last one in. */
  readonly first: number;
  readonly last: number;
  readonly ms: number;
}

export interface FlowsResult {
  readonly flows: number;
  readonly sent: number;
  readonly failed: number;
  readonly received: number;
  readonly ms: number;
  readonly rate: number;
}

export type StreamKind = "tcp" | "udp" | "push" | "icmp";

const sources = resolve("test/support/traffic");
const output = resolve("build/test/traffic");

/** Path of the tool. Throws with the compiler's words if it does not build. */
export function trafficTool(): string {
  const files = readdirSync(sources).map((name) => join(sources, name));
  const newest = Math.max(...files.map((file) => statSync(file).mtimeMs));
  if (existsSync(output) && statSync(output).mtimeMs >= newest) return output;
  mkdirSync(resolve("build/test"), { recursive: true });
  const fresh = `${output}.${process.pid}`;
  const units = files.filter((file) => file.endsWith(".c"));
  execFileSync(programPath("cc") ?? "gcc", ["-O2", "-Wall", "-Wextra", "-o", fresh, ...units], { stdio: "pipe" });
  renameSync(fresh, output);
  return output;
}

/** Runs one command of the tool to its end and reads the line that it prints. */
export async function traffic<T>(
  namespace: string,
  args: readonly (string | number)[],
  timeoutMs = 30_000,
): Promise<T> {
  const { stdout } = await exec(namespace, trafficTool(), args.map(String), { timeoutMs });
  return (stdout.trim() ? JSON.parse(stdout) : undefined) as T;
}

/** Sends frames as they are by an interface, each `times` times, in turn. */
export async function sendFrames(
  namespace: string,
  name: string,
  frames: readonly Uint8Array[],
  { perSecond = 1000, times = 1 }: { perSecond?: number; times?: number } = {},
): Promise<void> {
  const input = frames.map((frame) => `${Buffer.from(frame).toString("hex")}\n`).join("");
  const timeoutMs = Math.ceil((1000 * frames.length * times) / perSecond) + 20_000;
  await exec(namespace, trafficTool(), ["frames", name, String(perSecond), String(times)], { input, timeoutMs });
}

/** Traffic that goes on until it is stopped, and tells how many packets came back and when the last did. */
export class Stream {
  received = 0;
  sent = 0;
  /** Milliseconds since 1970 of the last packet that came in; 0 before the first. */
  last = 0;
  port = 0;
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;

  constructor(
    namespace: string,
    readonly kind: StreamKind,
    readonly address: string,
    options: { readonly everyMs?: number; readonly seconds?: number } = {},
  ) {
    const args = ["stream", kind, address, String(options.everyMs ?? 2), String(options.seconds ?? 60)];
    this.#child = start(namespace, trafficTool(), args);
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => Object.assign(this, JSON.parse(line)));
    this.#closed = new Promise((done) => lines.once("close", done));
  }

  /** Waits until packets come in (after this call); throws if none do. */
  async flowing(timeoutMs = 3000): Promise<this> {
    const before = this.received;
    const end = Date.now() + timeoutMs;
    while (this.received <= before) {
      if (Date.now() > end) throw new Error(`${this.kind} from ${this.address}: nothing came back in ${timeoutMs} ms`);
      await new Promise((done) => setTimeout(done, 10));
    }
    return this;
  }

  /** How many packets come in within the time. */
  async during(ms: number): Promise<number> {
    // The tool reports every 20 ms: what came before the call must be in the count that we subtract.
    await new Promise((done) => setTimeout(done, 40));
    const before = this.received;
    await new Promise((done) => setTimeout(done, ms));
    return this.received - before;
  }

  async stop(): Promise<this> {
    await stop(this.#child);
    await ended(this.#child);
    await this.#closed;
    return this;
  }
}
