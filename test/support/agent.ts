/** The product as a user runs it: the built bundle, with a config file, as a process that can be killed. */
import { type ChildProcess, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ended, start, stop } from "./namespace.ts";

export const AGENT_ID = "os::02AA00-HOME0001";
export const AGENT_TOPIC = "usp/agent/home0001";
export const CONTROLLER_ID = "self:op:operator";
export const CONTROLLER_TOPIC = "usp/controller/operator";

export interface AgentOptions {
  /** Where config and state lie; several starts in one folder are restarts of one agent. */
  readonly folder: string;
  /** Of MQTT; absent: `sections` say how the agent is reached. */
  readonly broker?: { readonly host: string; readonly port: number };
  readonly namespace?: string;
  /** Default "5.0". */
  readonly mqttVersion?: "5.0" | "3.1.1";
  /** Options of the agent section, over the defaults. */
  readonly agent?: Readonly<Record<string, string | readonly string[]>>;
  /** Options of the mqtt section, over the defaults. */
  readonly mqtt?: Readonly<Record<string, string>>;
  /** Options of the controller's section, over the defaults: `{ stomp: "broker" }`. */
  readonly controller?: Readonly<Record<string, string>>;
  /** Role of the controller that the tests are. */
  readonly role?: string;
  /** Default helper; `none` leaves the kernel alone. */
  readonly enforce?: "auto" | "helper" | "nft" | "none";
  readonly residentPorts?: readonly string[];
  /** Options of the capture section, over the defaults. */
  readonly capture?: Readonly<Record<string, string | readonly string[]>>;
  /** More arguments of `run`, such as `--bench-model 500`. */
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  /** QoS of what the agent sends; default 1. */
  readonly qos?: number;
  readonly logLevel?: string;
  /** More sections of the config, such as a second broker. */
  readonly sections?: readonly ConfigSection[];
  /** A program with its arguments that starts the agent, such as `["setpriv", "--reuid", "65534", …]`. */
  readonly under?: readonly string[];
}

/** One section of the config file: a type, perhaps a name, and options; an array is a list option. */
export interface ConfigSection {
  readonly type: string;
  readonly name?: string;
  readonly options: Readonly<Record<string, string | readonly string[]>>;
}

/** The text of a config file. */
export function configText(sections: readonly ConfigSection[]): string {
  const line = ([key, value]: [string, string | readonly string[]]) =>
    typeof value === "string" ? [`\toption ${key} '${value}'`] : value.map((item) => `\tlist ${key} '${item}'`);
  return sections
    .map(({ type, name, options }) =>
      [`config ${type}${name ? ` '${name}'` : ""}`, ...Object.entries(options).flatMap(line), ""].join("\n"),
    )
    .join("\n");
}

/** Writes the config that the options say and returns its path. */
export async function writeConfig(options: AgentOptions): Promise<string> {
  const { folder, broker } = options;
  const sections: ConfigSection[] = [
    {
      type: "agent",
      options: {
        endpoint_id: AGENT_ID,
        state_dir: join(folder, "state"),
        log_level: options.logLevel ?? "debug",
        privacy_level: "Destinations",
        privacy_ceiling: "Destinations",
        ...options.agent,
      },
    },
    ...(broker ? [mqttSection(broker, options)] : []),
    {
      type: "controller",
      name: "operator",
      options: {
        endpoint_id: CONTROLLER_ID,
        ...(broker ? { mqtt: "broker", topic: CONTROLLER_TOPIC } : {}),
        role: options.role ?? "Operator",
        secured: "1",
        ...options.controller,
      },
    },
    { type: "capture", options: { interface: ["br-lan"], ...options.capture } },
    { type: "enforce", options: { backend: options.enforce ?? "auto", resident_port: options.residentPorts ?? [] } },
    // The resident's door lies with the agent, not where the machine's own agent may have it.
    ...(options.sections?.some(({ type }) => type === "socket")
      ? []
      : [{ type: "socket", name: "resident", options: { role: "Resident", path: residentSocket(folder) } }]),
    ...(options.sections ?? []),
  ];
  await mkdir(join(folder, "state"), { recursive: true });
  const path = join(folder, "spin-usp.conf");
  await writeFile(path, configText(sections));
  return path;
}

function mqttSection(broker: { host: string; port: number }, options: AgentOptions): ConfigSection {
  return {
    type: "mqtt",
    name: "broker",
    options: {
      host: broker.host,
      port: String(broker.port),
      version: options.mqttVersion ?? "5.0",
      topic: AGENT_TOPIC,
      // The broker of the test home speaks plain MQTT over its own wire.
      tls: "0",
      qos: String(options.qos ?? 1),
      allow_plaintext: "1",
      ...options.mqtt,
    },
  };
}

/** Of an agent whose config names no sockets. */
export const residentSocket = (folder: string): string => join(folder, "resident.sock");

export class Agent {
  /** What it logged, the last 256 KiB. */
  log = "";
  #child: ChildProcess;

  private constructor(
    readonly options: AgentOptions,
    child: ChildProcess,
  ) {
    this.#child = child;
    this.#listen();
  }

  /** Starts the process; that it is reachable shows at the controller. */
  static async start(options: AgentOptions): Promise<Agent> {
    const config = await writeConfig(options);
    return new Agent(options, launch(options, config));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** As when the power goes. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await ended(this.#child);
  }

  /** As a service manager stops it; resolves with the exit code. */
  stop(): Promise<number> {
    return stop(this.#child, "SIGTERM", 8000);
  }

  /** Starts it again with the same config and state. */
  restart(): void {
    if (this.running) throw new Error("the agent runs");
    this.#child = launch(this.options, join(this.options.folder, "spin-usp.conf"));
    this.#listen();
  }

  /** Rejects with its last words if the process ends before the promise is settled. */
  async unlessItDies<T>(promise: Promise<T>): Promise<T> {
    const child = this.#child;
    const died = ended(child).then((code) => {
      throw new Error(`the agent ended with ${code}: ${this.log.slice(-2000)}`);
    });
    died.catch(() => undefined);
    return Promise.race([promise, died]);
  }

  #listen(): void {
    const read = (chunk: Buffer) => (this.log = (this.log + chunk.toString()).slice(-262_144));
    this.#child.stdout?.on("data", read);
    this.#child.stderr?.on("data", read);
  }
}

let built: string | undefined;

/** The built bundle; built first when a source is newer. One process runs one build, also over restarts. */
export function bundle(): string {
  if (built !== undefined) return built;
  const output = resolve("dist/spin-usp.cjs");
  if (!existsSync(output) || newest(["src", "datamodel", "proto"]) > statSync(output).mtimeMs) {
    const { stderr } = spawnSync(process.execPath, ["scripts/build.mjs"], { encoding: "utf8" });
    // A bundle over its size limit is there all the same; `npm test` checks the limit.
    if (!existsSync(output)) throw new Error(`the bundle does not build: ${stderr}`);
  }
  return (built = output);
}

/** Why the product can't be run, in words; `undefined` if it can. */
export function agentMissing(): string | undefined {
  return existsSync("src/main.ts") ? undefined : "needs src/main.ts";
}

function launch(options: AgentOptions, config: string): ChildProcess {
  const args = [...(options.nodeArgs ?? []), bundle(), "run", "--config", config, ...(options.args ?? [])];
  const [program, ...rest] = [...(options.under ?? []), process.execPath, ...args] as [string, ...string[]];
  return start(options.namespace, program, rest);
}

function newest(folders: readonly string[]): number {
  let latest = 0;
  for (const folder of folders)
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) latest = Math.max(latest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  return latest;
}
