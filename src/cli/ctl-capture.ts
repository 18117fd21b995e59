/** `ctl capture`: what a device sends and gets, into a file or a program, while it happens. */
import { createWriteStream, type WriteStream } from "node:fs";
import { once } from "node:events";
import { stat, truncate, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import type { Writable } from "node:stream";
import type { Controller, Notification, Subscription } from "../controller/controller.ts";
import { ControllerError } from "../controller/error.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { openCaptureSink, ownAddressTowards, type CaptureSink } from "./capture-sink.ts";
import { deviceOf, devicesOfHome, pathOf } from "./ctl-home.ts";
import { Exit, sayJson, type ExitCode, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nameOfDevice, text } from "./device-table.ts";
import { nest, printJson, wholeNumber, type Json } from "./json.ts";
import { amount, countText, escapeLines, parseDuration } from "./text.ts";

/** What the agent gives an end to its own captures, with what it may take to bring the rest. */
const GRACE_MS = 60_000;
/** After the agent said that it is done. */
const REST_MS = 3_000;
const PROGRESS_MS = 5_000;

export const capture: Word = async (context) => {
  const { args, options, io } = context;
  const [wanted, ...rest] = args;
  if (wanted === undefined || rest.length > 0) throw new UsageError("capture DEVICE -o FILE|-");
  const { output } = options;
  if (output === undefined || output === "")
    throw new UsageError("capture: where to? -o FILE, or -o - for a program: capture DEVICE -o - | wireshark -k -i -");
  if (output === "-" && (io.binary === undefined || io.terminal?.() !== undefined))
    throw new UsageError("-o -: standard output is a terminal, and a capture is for a program to read");
  const input = inputOf(context);
  const device = deviceOf(await devicesOfHome(context), wanted);
  const isFile = output !== "-";
  const isNew = isFile && (await stat(output).catch(() => undefined)) === undefined;
  // An older capture there goes when the first byte of this one comes: one that is refused must not cost it.
  const out = isFile ? await fileFor(output, "a") : (io.binary as Writable);
  let came = 0;
  try {
    const { host, port } = await whereToListen(context);
    const sink = await listen(out, host, port, isFile ? () => emptied(output) : undefined);
    try {
      const command = `${pathOf(device)}CaptureTraffic()`;
      tellErr(context, `capturing ${nameOfDevice(device)} (${text(device["PhysAddress"])}); Ctrl-C ends it`);
      return await run(context, command, { ...input, FileTarget: sink.url }, sink);
    } finally {
      await sink.close();
      came = sink.bytes;
    }
  } finally {
    if (isFile) await new Promise((resolve) => out.end(resolve));
    if (isNew && came === 0) await unlink(output).catch(() => undefined);
  }
};

/** What is no file, as a pipe, can't be emptied. */
const emptied = (path: string) => truncate(path).catch(() => undefined);

/** @throws UsageError */
function inputOf({ options }: WordContext): Record<string, string> {
  const input: Record<string, string> = {};
  if (options.duration !== undefined) {
    const seconds = parseDuration(options.duration);
    if (seconds === undefined || seconds < 1)
      throw new UsageError(`--duration ${options.duration}: is no time, as 30s or 5m is`);
    input["Duration"] = String(Math.ceil(seconds));
  }
  for (const [option, name] of [
    ["packets", "PacketCount"],
    ["bytes", "ByteCount"],
    ["snap", "SnapLength"],
  ] as const) {
    const value = options[option];
    if (value === undefined) continue;
    if (!/^\d{1,9}$/.test(value)) throw new UsageError(`--${option} ${value}: is no whole number`);
    input[name] = value;
  }
  return input;
}

/** Readable by us alone: it is what somebody said. @throws UsageError */
export async function fileFor(path: string, flags: "a" | "w" = "w"): Promise<WriteStream> {
  const file = createWriteStream(path, { mode: 0o600, flags });
  try {
    await once(file, "open");
  } catch (error) {
    throw new UsageError(`-o ${path}: ${(error as Error).message}`);
  }
  // Told where the capture ends; an error without a listener ends the process.
  file.on("error", () => undefined);
  return file;
}

/** Where the agent is to find us. @throws UsageError */
async function whereToListen({ options, connection }: WordContext): Promise<{ host: string; port: number }> {
  if (options.listen !== undefined) {
    const [, inBrackets, plain, port = "0"] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^[\]]+?))(?::(\d{1,5}))?$/.exec(
      isIP(options.listen) === 6 ? `[${options.listen}]` : options.listen,
    ) ?? [undefined, undefined, ""];
    const host = inBrackets ?? plain ?? "";
    if (isIP(host) === 0 || Number(port) > 65_535)
      throw new UsageError(`--listen ${options.listen}: is no address of this machine, as 192.0.2.7 or 192.0.2.7:8080`);
    return { host, port: Number(port) };
  }
  const url = connection.url ?? connection.mqtt.url;
  if (url.startsWith("unix:")) return { host: "127.0.0.1", port: 0 };
  const { hostname } = new URL(url);
  try {
    return { host: await ownAddressTowards(hostname.replace(/^\[|\]$/g, "")), port: 0 };
  } catch (error) {
    throw new UsageError(
      `which of our addresses does the agent reach? Say it by --listen (${(error as Error).message})`,
    );
  }
}

async function listen(
  out: Writable,
  host: string,
  port: number,
  begin: (() => Promise<void>) | undefined,
): Promise<CaptureSink> {
  try {
    return await openCaptureSink(out, host, port, begin);
  } catch (error) {
    throw new UsageError(`can't listen at ${host}: ${(error as Error).message}`);
  }
}

async function run(
  context: WordContext,
  command: string,
  input: Readonly<Record<string, string>>,
  sink: CaptureSink,
): Promise<ExitCode> {
  const { controller } = context;
  const completions = await controller.subscribe({ kind: "OperationComplete", references: [command] });
  const commandKey = `capture-${globalThis.crypto.randomUUID()}`;
  const progress = setInterval(() => tellErr(context, `  ${amount(sink.bytes, "B")} so far`), PROGRESS_MS);
  const seconds = Number(input["Duration"] ?? 60);
  const patience = setTimeout(() => void completions.close().catch(() => undefined), seconds * 1000 + GRACE_MS);
  try {
    const [started] = await controller.operate(command, input, { wait: false, commandKey });
    if (started?.error) throw started.error;
    if (started?.request === undefined) throw new ControllerError("protocol", "the agent began no capture");
    const end = await endOf(context, started.request, completions, commandKey, sink);
    return await outcome(context, end, sink, input["FileTarget"] as string);
  } finally {
    clearInterval(progress);
    clearTimeout(patience);
    await completions.close().catch(() => undefined);
  }
}

type Completion = Notification & { readonly kind: "OperationComplete" };

/** Ctrl-C, or whoever reads us going away, ends it at the agent. */
async function endOf(
  { controller, io }: WordContext,
  request: string,
  completions: Subscription,
  commandKey: string,
  sink: CaptureSink,
): Promise<Completion> {
  const cancel = () => void cancelled(controller, request);
  io.signal.addEventListener("abort", cancel, { once: true });
  // Its notifications may go elsewhere than its answers; the file is whole all the same.
  const enough = () => setTimeout(() => void completions.close().catch(() => undefined), REST_MS).unref();
  sink.whole.then(enough, cancel);
  if (io.signal.aborted) cancel();
  try {
    for await (const notification of completions)
      if (notification.kind === "OperationComplete" && notification.commandKey === commandKey) return notification;
  } finally {
    io.signal.removeEventListener("abort", cancel);
  }
  const what = (await arrived(sink)) === undefined ? "the file is whole, but " : "";
  throw new ControllerError("timeout", `${what}the agent did not tell us how the capture ended`);
}

/** It may be over already, and then there is nothing to cancel. */
async function cancelled(controller: Controller, request: string): Promise<void> {
  await controller.run(`${request}Cancel()`, {}, { wait: false }).catch(() => undefined);
}

async function outcome(
  context: WordContext,
  { output, error }: Completion,
  sink: CaptureSink,
  target: string,
): Promise<ExitCode> {
  const broken = await arrived(sink);
  if (error?.code === UspErrorCode.CommandCanceled) {
    if (broken !== undefined && broken.code !== "EPIPE" && !context.io.signal.aborted) throw failed(broken);
    tellErr(context, `ended; ${amount(sink.bytes, "B")}`);
    return Exit.Ok;
  }
  if (error) {
    if (broken !== undefined && sink.bytes > 0 && isOfOutput(broken)) throw failed(broken);
    throw withRemedy(error, target);
  }
  if (broken !== undefined) throw failed(broken);
  if (context.options.json === true) {
    const values = nest(
      [...output].flatMap(([name, value]) => (name === "FileLocation" ? [] : [[name, typed(name, value)] as const])),
    );
    if (context.options.output === "-") context.io.err(`${printJson(values)}\n`);
    else sayJson(context, values);
    return Exit.Ok;
  }
  const said = (name: string) => output.get(name) ?? "";
  tellErr(
    context,
    [
      `${countText(Number(said("PacketCount")))} packets, ${amount(Number(said("ByteCount")), "B")}`,
      ...(said("Lost") === "0" ? [] : [`${countText(Number(said("Lost")))} lost`]),
      ...(said("HeadersOnly") === "true" ? ["headers only"] : []),
      said("StatusReason"),
    ].join("; "),
  );
  return said("Status") === "Complete" ? Exit.Ok : Exit.Partial;
}

function typed(name: string, value: string): Json {
  if (name === "HeadersOnly") return value === "true";
  return ["PacketCount", "ByteCount", "Lost"].includes(name) ? wholeNumber(value) : value;
}

/** Why the file is not whole; `undefined` if it is. */
async function arrived({ whole, bytes }: CaptureSink): Promise<NodeJS.ErrnoException | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error("the capture did not come")), bytes === 0 ? 0 : REST_MS);
  });
  const ended = whole.then(
    () => undefined,
    (error: Error) => error,
  );
  const broken = await Promise.race([ended, late]);
  clearTimeout(timer);
  return broken;
}

const isOfOutput = ({ code }: NodeJS.ErrnoException) => code === "ENOSPC" || code === "EPIPE" || code === "EIO";

const failed = (error: Error) => new ControllerError("closed", `the capture is not whole: ${error.message}`);

function withRemedy(error: UspError, target: string): UspError {
  if (!error.message.startsWith("FileTarget")) return error;
  const { host } = new URL(target);
  return new UspError(
    error.code,
    `${error.message}. The agent brings the capture to this command, at ${host}: say an address of this machine that it reaches, outside of its home, by --listen; or run this on the gateway itself`,
  );
}

function tellErr({ io, options }: WordContext, line: string): void {
  if (options.json !== true) io.err(`${escapeLines(line)}\n`);
}
