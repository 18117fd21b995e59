/**
 * A real RabbitMQ of this test's own, with its STOMP and MQTT plugins: node name, epmd, ports and folders are nobody
 * else's, so that several run side by side. It and its epmd end with the test, by pid.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./mosquitto.ts";
import { start } from "./namespace.ts";
import { missing } from "./needs.ts";

const SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** Why there is none, in words. */
export const rabbitMissing =
  missing("setpriv", "epmd") ?? (existsSync(SERVER) ? undefined : "needs Debian's rabbitmq-server");

export interface RabbitUser {
  readonly name: string;
  readonly password: string;
  /** Regular expressions over the names of queues and exchanges. */
  readonly configure?: string;
  readonly write?: string;
  readonly read?: string;
  /** Regular expressions over the routing keys of amq.topic. */
  readonly topic?: { readonly write: string; readonly read: string };
}

export interface RabbitOptions {
  /** More lines of rabbitmq.conf; `{folder}` stands for its folder, `{port}` for a port of TLS. */
  readonly config?: readonly string[];
  readonly files?: { readonly [name: string]: string };
  /** Instead of guest with the password guest. */
  readonly users?: readonly RabbitUser[];
}

export interface Rabbit {
  /** Of STOMP, of STOMP with TLS where the configuration makes it listen, and of MQTT. */
  readonly port: number;
  readonly tlsPort: number;
  readonly mqttPort: number;
  readonly url: string;
  readonly mqttUrl: string;
  readonly folder: string;
  /** Ends the process as a crash would (kill -9); its ports stay reserved for `start`. */
  kill(): Promise<void>;
  /** Freezes and thaws the process, as a broker that hangs. */
  signal(name: "SIGSTOP" | "SIGCONT"): void;
  start(): Promise<void>;
  /** Ends the process and removes its folder. */
  stop(): Promise<void>;
}

export async function startRabbit(options: RabbitOptions = {}): Promise<Rabbit> {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-rabbitmq-"));
  chmodSync(folder, 0o755);
  const [port, tlsPort, mqttPort, amqpPort, epmdPort, distPort] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${amqpPort}`,
    `stomp.listeners.tcp.1 = 127.0.0.1:${port}`,
    `mqtt.listeners.tcp.1 = 127.0.0.1:${mqttPort}`,
    "log.console = true",
    "log.console.level = warning",
    "log.file = false",
    // The machine's memory and disk are no concern of a test.
    "vm_memory_high_watermark.absolute = 2GB",
    "disk_free_limit.absolute = 10MB",
    ...(options.users ? [`load_definitions = ${join(folder, "definitions.json")}`] : []),
    ...(options.config ?? []).map((line) => line.replaceAll("{folder}", folder).replaceAll("{port}", `${tlsPort}`)),
    "",
  ];
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o644 });
  write("rabbitmq.conf", config.join("\n"));
  write("enabled_plugins", "[rabbitmq_stomp,rabbitmq_mqtt].");
  write("env.conf", "");
  if (options.users) write("definitions.json", JSON.stringify(definitions(options.users)));
  for (const [name, text] of Object.entries(options.files ?? {})) write(name, text);
  const env = {
    PATH: process.env["PATH"],
    LANG: "C.UTF-8",
    HOME: folder, // the cookie
    RUNNING_UNDER_SYSTEMD: "1", // becomes the node itself instead of waiting for it
    RABBITMQ_NODENAME: `spin-${port}@localhost`,
    RABBITMQ_CONF_ENV_FILE: join(folder, "env.conf"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
    RABBITMQ_MNESIA_BASE: join(folder, "data"),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_PID_FILE: join(folder, "pid"),
    RABBITMQ_DIST_PORT: `${distPort}`,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    ERL_EPMD_PORT: `${epmdPort}`,
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
  let children: ChildProcess[] = [];
  const end = async () => {
    const ending = children;
    children = [];
    for (const child of ending) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  };
  const rabbit: Rabbit = {
    port,
    tlsPort,
    mqttPort,
    url: `stomp://127.0.0.1:${port}`,
    mqttUrl: `mqtt://127.0.0.1:${mqttPort}`,
    folder,
    kill: end,
    signal: (name) => void children[1]?.kill(name),
    async start() {
      let said = "";
      // Both die with this process: one that is killed ends nothing.
      for (const [program, args] of [
        ["epmd", ["-port", `${epmdPort}`, "-address", "127.0.0.1"]],
        [SERVER, []],
      ] as const) {
        const child = start(undefined, program, args, { env, cwd: folder });
        child.stdout?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-8192)));
        child.stderr?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-8192)));
        children.push(child);
      }
      const node = children[1] as ChildProcess;
      await started(node, () => said);
    },
    async stop() {
      await end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await rabbit.start();
  } catch (error) {
    await rabbit.stop();
    throw error;
  }
  return rabbit;
}

/** Logins that every STOMP test uses with a broker that knows guest alone. */
export const GUEST = { username: "guest", password: "guest" } as const;

function definitions(users: readonly RabbitUser[]) {
  return {
    vhosts: [{ name: "/" }],
    users: users.map(({ name, password }) => ({ name, password, tags: "" })),
    permissions: users.map(({ name, configure = "", write = "", read = "" }) => ({
      user: name,
      vhost: "/",
      configure,
      write,
      read,
    })),
    topic_permissions: users.flatMap(({ name, topic }) =>
      topic === undefined ? [] : [{ user: name, vhost: "/", exchange: "amq.topic", ...topic }],
    ),
  };
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

/** A cold Erlang on a busy machine takes its time. */
const START_MS = 90_000;

/** It listens before it knows its users: what it says at the end is what counts. */
async function started(child: ChildProcess, said: () => string): Promise<void> {
  const until = Date.now() + START_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`RabbitMQ exited with ${child.exitCode ?? child.signalCode}: ${said()}`);
    if (/completed with \d+ plugins/.test(said())) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`RabbitMQ is not complete after ${START_MS} ms: ${said()}`);
}
