/**
 * `spin-usp ctl`: the operator's tool, a USP controller over any MTP. Text for people, `--json` for programs, exit codes for
 * scripts: 0 done · 1 refused by the agent · 2 wrong words or options · 3 no broker · 4 no answer · 5 partly done.
 */
import type { WriteStream } from "node:tty";
import { connectController } from "../controller/connect.ts";
import { connectByUrl } from "../controller/connect-url.ts";
import { ControllerError } from "../controller/error.ts";
import { UspError } from "../lib/usp-error.ts";
import { MtpError } from "../mtp/error.ts";
import { errorJson, errorText, Exit, type CtlIo, type ExitCode, type Word } from "./ctl-io.ts";
import { CONNECTION, parseCtl, UsageError, WORD_OPTIONS, type CtlOptions } from "./ctl-options.ts";
import { device, merge } from "./ctl-device.ts";
import { capture } from "./ctl-capture.ts";
import { history } from "./ctl-history.ts";
import { incidents } from "./ctl-incidents.ts";
import { dns, query } from "./ctl-query.ts";
import { resolve } from "./ctl-resolve.ts";
import { lists } from "./ctl-lists.ts";
import * as raw from "./ctl-raw.ts";
import * as rules from "./ctl-rules.ts";
import * as traffic from "./ctl-traffic.ts";
import { accesses, erase, exportDevice, support } from "./ctl-keep.ts";
import { privacy } from "./ctl-privacy.ts";
import { undo } from "./ctl-undo.ts";
import type { Io } from "./io.ts";
import { printJson, type Json } from "./json.ts";
import { escapeLines, manual } from "./text.ts";

interface Entry {
  readonly run: Word;
  readonly usage: string;
  readonly help: string;
}

const WORDS: { readonly [word: string]: Entry } = {
  devices: { run: traffic.devices, usage: "devices", help: "the home's devices and their traffic" },
  device: { run: device, usage: "device DEVICE", help: "what is known of a device" },
  merge: {
    run: merge,
    usage: "merge DEVICE INTO | --undo DEVICE",
    help: "two are one device: rules on either hold for both (the resident's)",
  },
  top: { run: traffic.top, usage: "top DEVICE", help: "whom a device talks to, most bytes first" },
  flows: { run: traffic.flows, usage: "flows [DEVICE]", help: "connections, newest first" },
  history: { run: history, usage: "history [DEVICE]", help: "what it moved over time; of the home without a device" },
  capture: {
    run: capture,
    usage: "capture DEVICE -o FILE|-",
    help: "what it sends and gets, packet by packet, into a file or a program",
  },
  query: {
    run: query,
    usage: "query [KIND] [DEVICE]",
    help: "what the home remembers: flows, destinations, dns, blocked or history",
  },
  dns: { run: dns, usage: "dns DEVICE", help: "the names that a device asked for, newest first" },
  resolve: {
    run: resolve,
    usage: "resolve",
    help: "which device an abuse report is about (--time, --address, --port)",
  },
  watch: { run: traffic.watch, usage: "watch", help: "devices, live" },
  block: {
    run: rules.block,
    usage: "block DEVICE|DESTINATION",
    help: "stop a device, or what goes to an address, prefix or domain",
  },
  unblock: { run: rules.unblock, usage: "unblock DEVICE|DESTINATION", help: "delete our rules that block it" },
  undo: { run: undo, usage: "undo", help: "take back our last change of rules, schedules or lists" },
  incidents: { run: incidents, usage: "incidents", help: "what looked wrong, newest first" },
  lists: {
    run: lists,
    usage: "lists [show|add|remove|refresh|enable|disable] [URL|FILE|LIST]",
    help: "addresses and names by the thousand, for rules and ListedPeer",
  },
  privacy: {
    run: privacy,
    usage: "privacy [CONTROLLER]",
    help: "what a controller, or each, sees of the home and may do",
  },
  accesses: {
    run: accesses,
    usage: "accesses",
    help: "who saw what, wrote and ran what, newest first (the resident's)",
  },
  support: {
    run: support,
    usage: "support TIME|off",
    help: "let the role Support see all for a while (the resident's)",
  },
  export: { run: exportDevice, usage: "export DEVICE [-o FILE]", help: "all that is kept about a device, as JSON" },
  erase: {
    run: erase,
    usage: "erase DEVICE|--all",
    help: "forget what a device did, on disk too (the resident's)",
  },
  rules: { run: rules.rules, usage: "rules", help: "all rules, whether they work, and what they hit" },
  get: { run: raw.get, usage: "get PATH…", help: "read parameters" },
  set: { run: raw.set, usage: "set PATH=VALUE…", help: "write parameters" },
  add: { run: raw.add, usage: "add PATH [NAME=VALUE…]", help: "make a row" },
  delete: { run: raw.remove, usage: "delete PATH…", help: "delete rows" },
  operate: { run: raw.operate, usage: "operate COMMAND() [NAME=VALUE…]", help: "run a command" },
  instances: { run: raw.instances, usage: "instances PATH…", help: "list rows and their keys" },
  supported: { run: raw.supported, usage: "supported [PATH…]", help: "what the agent's model can hold" },
  subscribe: { run: raw.subscribe, usage: "subscribe KIND PATH…", help: "print notifications as they come" },
};

/** The subcommand. `args` are what follows `ctl`. Resolves with the exit code; rejects only on a bug. */
export function ctl(args: readonly string[], { stdout, stderr, signal }: Io): Promise<ExitCode> {
  return runCtl(args, {
    out: (text) => void stdout.write(text),
    binary: stdout,
    err: (text) => void stderr.write(text),
    env: process.env,
    signal,
    terminal: () => sizeOf(stdout as Partial<WriteStream>),
  });
}

/** A terminal that does not know its size is taken for one of 80 by 24. */
function sizeOf({ isTTY, columns, rows }: Partial<WriteStream>) {
  return isTTY === true ? { columns: columns || 80, rows: rows || 24 } : undefined;
}

/** The same with all of its surroundings given. */
export async function runCtl(args: readonly string[], io: CtlIo): Promise<ExitCode> {
  let json = args.includes("--json");
  try {
    const options = parseCtl(args, io);
    json = options.options.json === true;
    const [word, ...rest] = options.words;
    if (options.options.help === true) {
      io.out(`${helpText()}\n`);
      return Exit.Ok;
    }
    if (word === undefined)
      throw new UsageError(`what shall I do? One of ${Object.keys(WORDS).join(", ")}; --help tells more`);
    const entry = Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
    if (entry === undefined)
      throw new UsageError(`there is no word ${JSON.stringify(word)}; one of ${Object.keys(WORDS).join(", ")}`);
    return await run(entry.run, rest, options, io);
  } catch (error) {
    return failed(error, json, io);
  }
}

async function run(
  word: Word,
  args: readonly string[],
  { options, connection }: CtlOptions,
  io: CtlIo,
): Promise<ExitCode> {
  const wanted = connection();
  const { url = stompUrl(wanted.mqtt.url) } = wanted;
  const controller =
    url === undefined
      ? (await connectController(wanted, io.signal)).controller
      : await connectByUrl({ ...wanted, url }, io.signal);
  try {
    return await word({ controller, controllerId: wanted.controllerId, connection: wanted, args, options, io });
  } catch (error) {
    if (url !== undefined || !(error instanceof ControllerError) || error.kind !== "timeout") throw error;
    // R-MQTT.26a: over two versions of MQTT, one side's reply address is not the other's.
    const why = `${error.message}; or it does not speak MQTT ${wanted.mqtt.version}, as this command does (--version)`;
    throw new ControllerError("timeout", why);
  } finally {
    await controller.close();
  }
}

/** A broker of STOMP, which is one more kind of URL. */
const stompUrl = (broker: string) => (/^stomps?:/.test(broker) ? broker : undefined);

/** Tells what went wrong; anything else is a bug and thrown on. */
function failed(error: unknown, json: boolean, io: CtlIo): ExitCode {
  const [code, text, asJson] = outcomeOf(error, io.signal);
  if (text !== "") io.err(json ? `${printJson({ Error: [asJson] })}\n` : `error: ${escapeLines(text)}\n`);
  return code;
}

function outcomeOf(error: unknown, signal: AbortSignal): [code: ExitCode, text: string, json: Json] {
  const plain = (kind: string, message: string): Json => ({ Name: kind, Message: message });
  if (error instanceof UsageError) return [Exit.Usage, error.message, plain("Usage", error.message)];
  if (error instanceof UspError) return [Exit.Refused, errorText(error), errorJson(error)];
  if (error instanceof MtpError) {
    if (error.kind === "aborted" && signal.aborted) return [Exit.Ok, "", {}];
    const code = error.kind === "address" ? Exit.Usage : Exit.Broker;
    return [code, error.message, plain("Broker", error.message)];
  }
  if (error instanceof ControllerError) {
    const codes = { timeout: Exit.Timeout, closed: Exit.Broker, protocol: Exit.Refused } as const;
    return [codes[error.kind], error.message, plain(error.kind === "timeout" ? "Timeout" : "Broker", error.message)];
  }
  throw error;
}

export function helpText(): string {
  const options = (all: {
    readonly [name: string]: { readonly value?: string; readonly help: string; readonly default?: string };
  }) =>
    manual(
      Object.entries(all).map(([name, { value, help, default: byDefault }]) => [
        `--${name}${value === undefined ? "" : ` ${value}`}`,
        byDefault === undefined ? help : `${help} (default ${byDefault})`,
      ]),
    );
  return [
    "spin-usp ctl [OPTION…] WORD …",
    `\nWords\n${manual(Object.values(WORDS).map(({ usage, help }) => [usage, help] as const))}`,
    "\nDEVICE is a MAC address, name, host name, IP address or alias.",
    `\nOptions of words\n${options(WORD_OPTIONS)}`,
    `\nHow to reach the agent; also in the environment, as SPIN_USP_BROKER …, or in\n~/.config/spin-usp/ctl.json\n${options(CONNECTION)}`,
    "\nExit codes: 0 done, 1 refused by the agent, 2 wrong words or options, 3 no broker,\n4 no answer in time, 5 partly done",
  ].join("\n");
}
