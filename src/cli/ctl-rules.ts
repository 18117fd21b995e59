/** The words about rules: rules, block, unblock. */
import { ROOT } from "../../datamodel/spin.ts";
import { parsePrefix, printPrefix } from "../lib/address.ts";
import { canonicalDomain } from "../lib/domain.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { deviceOf, devicesOf, devicesOfHome, list, pathOf, rowsOf, type Row } from "./ctl-home.ts";
import { Exit, say, sayJson, type ExitCode, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { noArguments } from "./ctl-traffic.ts";
import { nameOfDevice, number, text } from "./device-table.ts";
import type { JsonObject } from "./json.ts";
import { parseSlots, schedulesFor } from "./ctl-when.ts";
import { ago, amount, parseDuration, table } from "./text.ts";

const RULES = `${ROOT}Rule.`;

export const rules: Word = async (context) => {
  noArguments(context, "rules");
  const found = await rowsOf(context, "Rule");
  if (context.options.json === true) {
    sayJson(context, { Rule: found.map(({ row }) => row) });
    return Exit.Ok;
  }
  if (found.length === 0) {
    say(context, "no rules");
    return Exit.Ok;
  }
  const names = new Map((await devicesOfHome(context)).map((each) => [text(each["PhysAddress"]), nameOfDevice(each)]));
  const now = context.io.now?.() ?? Date.now();
  const cells = found.map(({ path, row: rule }) => [
    path.slice(RULES.length).replace(/\.$/, ""),
    text(rule["Action"]),
    list(rule["MACAddressList"])
      .map((mac) => names.get(mac) ?? mac)
      .join(", "),
    list(rule["DestinationList"]).join(", "),
    services(rule),
    [text(rule["Status"]), text(rule["StatusReason"])].filter((each) => each !== "").join(": "),
    number(rule["HitPackets"]) === 0
      ? "-"
      : `${number(rule["HitPackets"])} (${amount(number(rule["HitBytes"]), "B")}, ${ago(text(rule["LastHit"]), now)})`,
    text(rule["Creator"]) || text(rule["Origin"]),
    text(rule["ExpiryDate"]).startsWith("9999-") ? "never" : text(rule["ExpiryDate"]),
    text(rule["Reason"]),
  ]);
  const titles = ["RULE", "ACTION", "DEVICES", "DESTINATIONS", "SERVICE", "STATUS", "HITS", "BY", "ENDS", "REASON"];
  say(
    context,
    table(
      titles.map((title) => ({ title })),
      cells,
    ),
  );
  return Exit.Ok;
};

export const block: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (wanted === undefined || rest.length > 0)
    throw new UsageError("block DEVICE | block DESTINATION [--device DEVICE]");
  const duration = durationOf(context);
  const slots = context.options.when === undefined ? [] : parseSlots(context.options.when);
  const { target, destination, macs } = await targetOf(context, wanted);
  if (target !== undefined && slots.length === 0) {
    const input = { Duration: String(duration), Reason: context.options.reason ?? "" };
    const output = await context.controller.run(`${pathOf(target)}Block()`, input);
    return report(
      context,
      `${nameOfDevice(target)} (${text(target["PhysAddress"])})`,
      withDot(output.get("Rule") ?? ""),
    );
  }
  const schedules = await schedulesFor(context, slots);
  if (target !== undefined) {
    const mac = text(target["PhysAddress"]);
    const path = await addOrRenew(context, { destination: "*", macs: mac, schedules }, duration);
    return report(context, `${nameOfDevice(target)} (${mac})`, path);
  }
  const path = await addOrRenew(context, { destination, macs, schedules }, duration);
  return report(context, macs === "*" ? destination : `${destination} for ${macs}`, path);
};

export const unblock: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (wanted === undefined || rest.length > 0)
    throw new UsageError("unblock DEVICE | unblock DESTINATION [--device DEVICE]");
  const { target, destination, macs } = await targetOf(context, wanted);
  if (target !== undefined) {
    const output = await context.controller.run(`${pathOf(target)}Unblock()`);
    const remaining = list(output.get("Rules"));
    const origins = list(output.get("Origins"));
    const blocked = output.get("Blocked") === "true" || output.get("Blocked") === "1";
    if (context.options.json === true) sayJson(context, { Blocked: blocked, Rules: remaining, Origins: origins });
    else if (!blocked) {
      const was = target["Blocked"] === true;
      say(context, `${nameOfDevice(target)} ${was ? "is not blocked any more" : "was not blocked"}`);
      for (const { path } of await atTimes(context, text(target["PhysAddress"])))
        say(context, `${path} blocks it at times still; delete it to end that`);
    } else {
      const who = remaining.map((path, at) => `${path} (${origins[at] ?? "?"})`).join(", ");
      say(context, `${nameOfDevice(target)} is still blocked by ${who || "another rule"}`);
    }
    return blocked ? Exit.Partial : Exit.Ok;
  }
  return removeOwn(context, destination, macs);
};

/** Our rules on the whole of the device that have schedules: Unblock() leaves them. */
async function atTimes(context: WordContext, mac: string): Promise<Row[]> {
  const found = (await rowsOf(context, "Rule")).filter(
    ({ row }) =>
      text(row["Action"]) === "Block" &&
      text(row["Schedule"]) !== "" &&
      text(row["DestinationList"]) === "*" &&
      list(row["MACAddressList"]).includes(mac),
  );
  const us = found.length === 0 ? undefined : await ourName(context, found);
  return found.filter(({ row }) => us !== undefined && row["Creator"] === us);
}

/** What is meant: a device, else a destination, for all devices or the one of `--device`. */
async function targetOf(
  context: WordContext,
  wanted: string,
): Promise<{ target?: JsonObject; destination: string; macs: string }> {
  const devices = await devicesOfHome(context);
  const { device } = context.options;
  if (device === undefined && devicesOf(devices, wanted).length > 0)
    return { target: deviceOf(devices, wanted), destination: "", macs: "" };
  const destination = destinationOf(wanted);
  if (destination === undefined) {
    throw new UsageError(
      `${JSON.stringify(wanted)} is no device of this home, and no address, prefix or domain either`,
    );
  }
  return { destination, macs: device === undefined ? "*" : text(deviceOf(devices, device)["PhysAddress"]) };
}

/** Canonical text of an address, prefix or domain; a domain has a dot, lest a mistyped device's name becomes one. */
function destinationOf(wanted: string): string | undefined {
  const prefix = parsePrefix(wanted);
  if (prefix !== undefined) return printPrefix(prefix);
  const domain = canonicalDomain(wanted.replace(/^\*\./, ""));
  return domain?.includes(".") === true ? domain : undefined;
}

async function addOrRenew(
  context: WordContext,
  { destination, macs, schedules }: { readonly destination: string; macs: string; schedules: readonly string[] },
  duration: number,
): Promise<string> {
  const { controller, options } = context;
  const expiry = new Date((context.io.now?.() ?? Date.now()) + duration * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  const changeable = {
    Enable: "true",
    Reason: options.reason ?? "",
    ExpiryDate: duration === 0 ? "9999-12-31T23:59:59Z" : expiry,
  };
  try {
    return await controller.create(RULES, {
      Action: "Block",
      MACAddressList: macs,
      DestinationList: destination,
      ...(schedules.length === 0 ? {} : { Schedule: schedules.join(",") }),
      ...changeable,
    });
  } catch (error) {
    if (!(error instanceof UspError) || error.code !== UspErrorCode.DuplicateUniqueKey) throw error;
    const same = ruleIn(error);
    if (same === undefined) throw error;
    await controller.write(same, changeable);
    return same;
  }
}

async function removeOwn(context: WordContext, destination: string, macs: string): Promise<ExitCode> {
  const all = await matching(context, destination, macs);
  const us = await ourName(context, all);
  const own = us === undefined ? [] : all.filter(({ row }) => row["Creator"] === us);
  for (const { path } of own) await context.controller.remove(path);
  // A rule that is not in force yet blocks as soon as it is.
  const others = (await matching(context, destination, macs)).filter(({ row }) =>
    ["Enabled", "Pending"].includes(text(row["Status"])),
  );
  if (context.options.json === true) {
    sayJson(context, { Deleted: own.map(({ path }) => path), Rules: others.map(({ path }) => path) });
  } else {
    for (const { path } of own) say(context, `deleted ${path}`);
    if (own.length === 0) say(context, `no rule of ours blocks ${destination}${macs === "*" ? "" : ` for ${macs}`}`);
    for (const { path, row: rule } of others)
      say(context, `still blocked by ${path} (${text(rule["Creator"]) || text(rule["Origin"])})`);
  }
  if (others.length > 0) return Exit.Partial;
  return own.length > 0 ? Exit.Ok : Exit.Refused;
}

/** Waits shortly until the rule works or says why not. */
async function report(context: WordContext, what: string, path: string): Promise<ExitCode> {
  let values = new Map<string, string>();
  for (let attempt = 0; attempt < 20; attempt++) {
    values = await context.controller.read([`${path}Status`, `${path}StatusReason`]);
    if (values.get(`${path}Status`) !== "Pending") break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const status = values.get(`${path}Status`) ?? "";
  const reason = values.get(`${path}StatusReason`) ?? "";
  if (context.options.json === true) sayJson(context, { Rule: path, Status: status, StatusReason: reason });
  else {
    const state =
      status === "Enabled"
        ? reason.startsWith("Not now")
          ? "will be blocked"
          : "blocked"
        : status === "Pending"
          ? "not in force yet, asked for"
          : `not blocked (${status})`;
    say(context, `${what}: ${state} by ${path}${reason === "" ? "" : `: ${reason}`}`);
  }
  return status === "Enabled" ? Exit.Ok : Exit.Partial;
}

/** Blocking rules that say exactly this. */
async function matching(context: WordContext, destination: string, macs: string): Promise<Row[]> {
  return (await rowsOf(context, "Rule")).filter(
    ({ row: rule }) =>
      ["Block", "Reject"].includes(text(rule["Action"])) &&
      rule["DestinationList"] === destination &&
      rule["MACAddressList"] === macs,
  );
}

/**
 * Which Creator of these rules we are to the agent: behind a USP Broker and at a local door not our own endpoint id.
 * Adding a rule twice at once never comes about; the agent names the rule that says the same for the same Creator: an
 * older one if that is ours, else the other of the two.
 */
async function ourName({ controller, controllerId }: WordContext, among: readonly Row[]): Promise<string | undefined> {
  const samples = new Map(among.map((each) => [text(each.row["Creator"]), each.row]));
  samples.delete("");
  const isLikely = (creator: string) => Number(creator === controllerId);
  const creators = [...samples.keys()].sort((a, b) => isLikely(b) - isLikely(a));
  for (const creator of creators) {
    const row = samples.get(creator) as JsonObject;
    const values = Object.fromEntries(
      KEY.filter((name) => row[name] !== undefined).map((name) => [name, String(row[name])]),
    );
    const twin = { path: RULES, values: { ...values, Enable: "false" } };
    try {
      const made = await controller.add([twin, twin]);
      // An agent that lets rules say the same: they say whose they are.
      let name: string | undefined;
      for (const { path, error } of made) {
        if (error !== undefined) throw error;
        if (path === undefined) continue;
        name = (await controller.read([`${path}Creator`])).get(`${path}Creator`);
        await controller.remove(path);
      }
      return name;
    } catch (error) {
      if (!(error instanceof UspError) || error.code !== UspErrorCode.DuplicateUniqueKey) throw error;
      const path = ruleIn(error);
      const named = among.find((each) => each.path === path);
      if (named !== undefined) return text(named.row["Creator"]);
    }
  }
  return undefined;
}

/** What makes two rules of a controller say the same. */
const KEY = ["Action", "MACAddressList", "DestinationList", "Protocol", "PortList", "Initiator", "Schedule"];

/** The rule that says the same already, of which the agent tells. */
function ruleIn({ message }: UspError): string | undefined {
  return /Device\.X_SPIN\.Rule\.\d+\./.exec(message)?.[0];
}

function services(rule: JsonObject): string {
  const protocol = number(rule["Protocol"]);
  const name = protocol < 0 ? "any" : protocol === 6 ? "tcp" : protocol === 17 ? "udp" : `protocol ${protocol}`;
  const ports = text(rule["PortList"]);
  return ports === "" ? name : `${name}/${ports}`;
}

function durationOf({ options }: WordContext): number {
  if (options.for === undefined) return 0;
  const seconds = parseDuration(options.for);
  if (seconds === undefined) throw new UsageError(`--for ${options.for}: is no time, as 30m, 1h or 7d are`);
  return seconds;
}

function withDot(path: string): string {
  return path.endsWith(".") ? path : `${path}.`;
}
