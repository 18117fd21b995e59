/** Options of `spin-usp ctl`: from the command line, else the environment, else a file, else the default. */
import { accessSync, constants, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { ConnectOptions } from "../controller/connect.ts";
import type { OpenSession } from "../controller/exchange.ts";
import { inSession, trustIn } from "../controller/session.ts";
import { TOPIC_PRESETS, type TopicPresetName } from "../lib/topics.ts";
import { RESIDENT_SOCKET } from "../lib/resident-socket.ts";
import { parseDuration } from "./text.ts";

/** What a person typed wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

type Option = {
  readonly type: "string" | "boolean";
  /** One letter. */
  readonly short?: string;
  readonly value?: string;
  readonly help: string;
  readonly default?: string;
};

/** How to reach the agent; also as `SPIN_USP_BROKER` … in the environment, and as keys of ctl.json. */
export const CONNECTION = {
  broker: {
    type: "string",
    value: "URL",
    help: "mqtt://, mqtts://, stomp:// or stomps://HOST:PORT",
    default: "mqtt://127.0.0.1:1883",
  },
  url: {
    type: "string",
    value: "URL",
    help: "of an agent that listens itself: wss://HOST:PORT/PATH; without a broker",
  },
  socket: {
    type: "string",
    value: "PATH",
    help: "the agent's local door; without it, a broker or a URL: the resident's, where we may",
  },
  version: { type: "string", value: "5|3.1.1", help: "version of MQTT: that of the agent", default: "5" },
  agent: { type: "string", value: "EID", help: "endpoint id of the agent" },
  controller: {
    type: "string",
    value: "EID",
    help: "our endpoint id, which the agent has to know",
    default: "self::spin-ctl",
  },
  topics: { type: "string", value: "PRESET", help: `${Object.keys(TOPIC_PRESETS).join(", ")}`, default: "spin" },
  "agent-topic": { type: "string", value: "T", help: "where the agent listens; {eid} is its endpoint id" },
  "reply-topic": { type: "string", value: "T", help: "where answers come; {ceid} is our endpoint id" },
  username: { type: "string", value: "NAME", help: "at the broker" },
  "password-file": { type: "string", value: "FILE", help: "its first line is the password" },
  ca: { type: "string", value: "FILE", help: "certificates of the authorities trusted, PEM" },
  cert: { type: "string", value: "FILE", help: "our certificate, PEM" },
  key: { type: "string", value: "FILE", help: "its key, PEM" },
  insecure: { type: "boolean", help: "take any certificate of the broker" },
  session: {
    type: "string",
    value: "plain|tls",
    help: "a session end to end; tls secures it by --cert, --key and --ca",
  },
  qos: { type: "string", value: "0|1|2", help: "quality of service of what we send", default: "0" },
  timeout: { type: "string", value: "TIME", help: "for connecting and for each answer: 10s, 1m", default: "10s" },
} as const satisfies { readonly [name: string]: Option };

/** Of single words. */
export const WORD_OPTIONS = {
  json: { type: "boolean", help: "JSON instead of text" },
  help: { type: "boolean", help: "this text" },
  for: { type: "string", value: "TIME", help: "block: how long, as 30m, 1h, 7d" },
  when: { type: "string", value: "SLOTS", help: 'block: only then, as "21:00-07:00" or "mon-fri 8:00-12:30"' },
  reason: { type: "string", value: "TEXT", help: "block: why" },
  format: { type: "string", value: "F", help: "lists add: Plain, Hosts, CSV or RPZ; default Plain" },
  device: {
    type: "string",
    value: "DEVICE",
    help: "block, unblock: the destination for this device only; flows: of it",
  },
  since: { type: "string", value: "TIME", help: "top, flows, query, dns: how far back, as 1h; query: or a date" },
  until: { type: "string", value: "TIME", help: "query, dns: only what is older, as 1h, or a date" },
  to: {
    type: "string",
    value: "D",
    help: "query, dns: only with this address, prefix or domain; resolve: whom it concerned",
  },
  destination: { type: "string", value: "D", help: "flows: only with this address, prefix or domain" },
  limit: { type: "string", value: "N", help: "top, flows, query, dns: at most so many rows; default 20" },
  time: { type: "string", value: "TIME", help: "resolve: when, as 2026-01-31T18:00:00Z or 2h" },
  address: { type: "string", value: "ADDRESS", help: "resolve: the home's public address then" },
  port: { type: "string", value: "N", help: "resolve: the port that goes with it" },
  "to-port": { type: "string", value: "N", help: "resolve: port of whom it concerned" },
  protocol: { type: "string", value: "P", help: "resolve: tcp, udp, icmp … or its number; default tcp" },
  tolerance: { type: "string", value: "TIME", help: "resolve: how wrong the time may be; default 30s" },
  by: { type: "string", value: "SPAN", help: "history: minute, hour or day; default hour" },
  output: {
    type: "string",
    short: "o",
    value: "FILE|-",
    help: "capture, export: where to; also -o; - for a program to read",
  },
  all: { type: "boolean", help: "erase: of the whole home" },
  duration: { type: "string", value: "TIME", help: "capture: how long, as 30s, 5m; default 1m, at most 1h" },
  packets: { type: "string", value: "N", help: "capture: end after so many" },
  bytes: { type: "string", value: "N", help: "capture: end before more bytes" },
  snap: { type: "string", value: "N", help: "capture: at most so many bytes of a packet" },
  listen: { type: "string", value: "ADDR[:PORT]", help: "capture: where the agent brings it to; of this machine" },
  interval: { type: "string", value: "TIME", help: "watch: between two readings; default 2s" },
  count: { type: "string", value: "N", help: "watch, subscribe: end after so many" },
  "max-depth": { type: "string", value: "N", help: "get: how many levels down" },
  undo: { type: "boolean", help: "merge: the device is one of its own again" },
  partial: { type: "boolean", help: "set, add, delete: do what can be done" },
  "first-level": { type: "boolean", help: "instances, supported: do not descend" },
  "no-wait": { type: "boolean", help: "operate: do not wait for the end of an asynchronous command" },
} as const satisfies { readonly [name: string]: Option };

export type WordOptions = {
  readonly [Name in keyof typeof WORD_OPTIONS]?: (typeof WORD_OPTIONS)[Name]["type"] extends "boolean"
    ? boolean
    : string;
};

export interface CtlOptions {
  readonly words: readonly string[];
  readonly options: WordOptions;
  /** @throws UsageError where what is needed to connect is missing or wrong. */
  connection(): ConnectOptions;
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file. @throws Error */
  readonly readFile?: (path: string) => string;
  /** Whether a socket is there that we may connect to. */
  readonly mayConnect?: (path: string) => boolean;
}

/** @throws UsageError */
export function parseCtl(args: readonly string[], surroundings: Surroundings): CtlOptions {
  const values = parse(args);
  const { positionals, options } = values;
  return { words: positionals, options, connection: () => connectionOf(settings(options, surroundings), surroundings) };
}

function parse(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      // Types alone: a default here would outdo the environment and the file.
      options: Object.fromEntries(
        Object.entries<Option>({ ...CONNECTION, ...WORD_OPTIONS }).map(([name, { type, short }]) => [
          name,
          { type, ...(short === undefined ? {} : { short }) },
        ]),
      ),
      allowPositionals: true,
      strict: true,
    });
    return { options: values as WordOptions & Given, positionals };
  } catch (error) {
    throw new UsageError(misuse(error as NodeJS.ErrnoException));
  }
}

/** Node's parser also gives advice for programmers. */
function misuse({ code, message }: NodeJS.ErrnoException): string {
  const option = /--[a-z-]+/.exec(message)?.[0];
  if (code !== "ERR_PARSE_ARGS_INVALID_OPTION_VALUE" || option === undefined) return message;
  return message.includes("does not take")
    ? `${option} takes no value`
    : `${option} needs a value, without a dash first`;
}

type Given = { readonly [name: string]: string | boolean | undefined };

/** The connection's options with their sources in order. */
function settings(
  given: Given,
  { env, readFile = read, mayConnect = isAccessible }: Surroundings,
): Map<keyof typeof CONNECTION, string> {
  const file = configFile(env, readFile);
  const all = new Map<keyof typeof CONNECTION, string>();
  let isTold = false;
  for (const [name, option] of Object.entries(CONNECTION) as [keyof typeof CONNECTION, Option][]) {
    const told = given[name] ?? env[`SPIN_USP_${name.replace("-", "_").toUpperCase()}`] ?? file.get(name);
    if (told !== undefined && WHERE.includes(name)) isTold = true;
    const typed = told ?? option.default;
    if (typed !== undefined && typed !== "") all.set(name, String(typed));
  }
  if (!isTold && mayConnect(RESIDENT_SOCKET)) all.set("socket", RESIDENT_SOCKET);
  // Where the command line says where, nothing else does.
  if (WHERE.some((name) => given[name] !== undefined) && given["socket"] === undefined) all.delete("socket");
  return all;
}

/** Options that say where the agent is. */
const WHERE: readonly string[] = ["broker", "url", "socket"];

function configFile(env: Surroundings["env"], readFile: (path: string) => string): Map<string, string> {
  const folder = env["XDG_CONFIG_HOME"] ?? (env["HOME"] === undefined ? undefined : `${env["HOME"]}/.config`);
  const path = env["SPIN_USP_CONFIG"] ?? `${folder}/spin-usp/ctl.json`;
  if (folder === undefined && env["SPIN_USP_CONFIG"] === undefined) return new Map();
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && env["SPIN_USP_CONFIG"] === undefined) return new Map();
    throw new UsageError(`${path}: ${(error as Error).message}`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new UsageError(`${path}: holds no object of options`);
  for (const [name, value] of Object.entries(content)) {
    if (!Object.hasOwn(CONNECTION, name)) throw new UsageError(`${path}: there is no option ${JSON.stringify(name)}`);
    if (!["string", "number", "boolean"].includes(typeof value))
      throw new UsageError(`${path}: ${name} has no plain value`);
  }
  return new Map(Object.entries(content).map(([name, value]) => [name, String(value)]));
}

function connectionOf(set: Map<keyof typeof CONNECTION, string>, { readFile = read }: Surroundings): ConnectOptions {
  const need = (name: keyof typeof CONNECTION) => set.get(name) as string;
  const oneOf = <Value extends string>(name: keyof typeof CONNECTION, values: readonly Value[]): Value => {
    const value = values.find((each) => each === need(name));
    if (value === undefined) throw new UsageError(`--${name} ${need(name)}: is one of ${values.join(", ")}`);
    return value;
  };
  const file = (name: keyof typeof CONNECTION) => {
    const path = set.get(name);
    if (path === undefined) return undefined;
    try {
      return readFile(path);
    } catch (error) {
      throw new UsageError(`--${name}: ${(error as Error).message}`);
    }
  };
  const socket = set.get("socket");
  const agentId = set.get("agent") ?? (socket === undefined ? undefined : "");
  if (agentId === undefined) {
    throw new UsageError('which agent? Give --agent EID (as os::00D09E-0001), SPIN_USP_AGENT, or "agent" in ctl.json');
  }
  const timeout = parseDuration(need("timeout"));
  if (timeout === undefined) throw new UsageError(`--timeout ${need("timeout")}: is no time, as 10s is`);
  const [ca, cert, key] = [file("ca"), file("cert"), file("key")];
  const username = set.get("username");
  const password = file("password-file")?.split(/\r?\n/)[0];
  const insecure = set.get("insecure") === "true" || set.get("insecure") === "1";
  const agentTopic = set.get("agent-topic");
  const url = socket === undefined ? set.get("url") : `unix:${socket}`;
  const controllerTopic = set.get("reply-topic");
  const openSession = set.has("session") ? session(oneOf("session", ["plain", "tls"]), { ca, cert, key }) : undefined;
  return {
    ...(openSession === undefined ? {} : { openSession }),
    controllerId: need("controller"),
    agentId,
    timeoutMs: timeout * 1000,
    preset: oneOf("topics", Object.keys(TOPIC_PRESETS) as TopicPresetName[]),
    ...(url === undefined ? {} : { url }),
    ...(agentTopic === undefined ? {} : { agentTopic }),
    ...(controllerTopic === undefined ? {} : { controllerTopic }),
    mqtt: {
      url: need("broker"),
      version: oneOf("version", ["5", "3.1.1"]),
      publishQos: Number(oneOf("qos", ["0", "1", "2"])) as 0 | 1 | 2,
      connectTimeoutMs: timeout * 1000,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      tls: {
        verify: !insecure,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      },
    },
  };
}

/** @throws UsageError */
function session(
  kind: "plain" | "tls",
  files: Readonly<Record<"ca" | "cert" | "key", string | undefined>>,
): OpenSession {
  const { ca, cert, key } = files;
  if (kind === "plain") return inSession({ isSecure: false });
  if (ca === undefined || cert === undefined || key === undefined)
    throw new UsageError("--session tls needs --ca, --cert and --key");
  try {
    return inSession({ isSecure: true, trust: trustIn(ca, { cert, key }) });
  } catch (error) {
    throw new UsageError(`--session tls: ${(error as Error).message}`);
  }
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
