/** `ctl resolve`: which device is it that an abuse report is about? */
import { ROOT } from "../../datamodel/spin-root.ts";
import { canonicalAddress } from "../lib/address.ts";
import { Exit, say, sayJson, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { timeOf } from "./ctl-query.ts";
import { whole } from "./ctl-raw.ts";
import { rowsOf } from "./ctl-home.ts";
import { nameOfDevice, text } from "./device-table.ts";
import { parseDuration } from "./text.ts";

const PROTOCOLS: { readonly [name: string]: string } = {
  icmp: "1",
  tcp: "6",
  udp: "17",
  dccp: "33",
  icmpv6: "58",
  sctp: "132",
};

const USAGE =
  "resolve --time TIME --address ADDRESS --port N [--protocol tcp] [--to ADDRESS] [--to-port N] [--tolerance 30s]";

export const resolve: Word = async (context) => {
  const { options, controller, args } = context;
  const now = context.io.now?.() ?? Date.now();
  if (args.length > 0 || options.time === undefined || options.address === undefined) throw new UsageError(USAGE);
  const given = (options.protocol ?? "tcp").toLowerCase();
  const protocol = PROTOCOLS[given] ?? (/^\d{1,3}$/.test(given) ? given : undefined);
  if (protocol === undefined)
    throw new UsageError(`--protocol ${given}: is none of ${Object.keys(PROTOCOLS).join(", ")}, and no number`);
  const tolerance = parseDuration(options.tolerance ?? "30s");
  if (tolerance === undefined) throw new UsageError(`--tolerance ${options.tolerance}: is no time, as 30s is`);
  const output = await controller.run(`${ROOT}ResolveIncident()`, {
    Time: timeOf("time", options.time, now),
    Tolerance: String(tolerance),
    Protocol: protocol,
    SourceAddress: address("address", options.address),
    ...port("port", "SourcePort", options.port),
    ...(options.to === undefined ? {} : { DestinationAddress: address("to", options.to) }),
    ...port("to-port", "DestinationPort", options["to-port"]),
  });
  const isFound = output.get("Found") === "true";
  const flows = Number(output.get("FlowCount") ?? 0);
  const path = output.get("Device") ?? "";
  const isBlocked = output.get("Blocked") === "true";
  if (options.json === true) sayJson(context, { Found: isFound, Device: path, FlowCount: flows, Blocked: isBlocked });
  else say(context, await words(context, isFound, path, flows, isBlocked));
  return Exit.Ok;
};

async function words(
  context: WordContext,
  isFound: boolean,
  path: string,
  flows: number,
  isBlocked: boolean,
): Promise<string> {
  if (!isFound)
    return flows === 0
      ? "nothing that is remembered was seen so at that time"
      : `${flows} flows of several devices may have been it; say more: --to, --to-port, or a smaller --tolerance`;
  const row = path === "" ? undefined : (await rowsOf(context, "Device")).find((each) => each.path === `${path}.`)?.row;
  const who = row ? `${nameOfDevice(row)} (${text(row["PhysAddress"])})` : "a device that has been forgotten since";
  return `${who}, by ${flows} ${flows === 1 ? "flow" : "flows"}${isBlocked ? "; a rule blocks it now" : ""}`;
}

function address(option: string, given: string): string {
  const canonical = canonicalAddress(given);
  if (canonical === undefined) throw new UsageError(`--${option} ${given}: is no address`);
  return canonical;
}

function port(option: string, name: string, given: string | undefined): { readonly [name: string]: string } {
  if (given === undefined) return {};
  const value = whole(option, given, 0);
  if (value < 1 || value > 65_535) throw new UsageError(`--${option} ${given}: is no port`);
  return { [name]: String(value) };
}
