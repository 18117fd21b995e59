/** What the resident alone may have done: GrantSupport() and EraseHistory(). */
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { parseMac } from "../lib/address.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { CommandCall } from "../model/implementation.ts";
import type { SpinParts } from "./home.ts";
import { isAtHome } from "./privacy.ts";

/** @param seconds From now on; 0 ends it. @throws UspError 7006 */
export async function grantSupport({ support, persistence, log }: SpinParts, seconds: number, call: CommandCall) {
  onlyAtHome("GrantSupport()", call);
  if (!support) throw new UspError(UspErrorCode.CommandFailed, "this agent keeps no support session");
  log.info(seconds === 0 ? "the resident ended the support session" : `the resident grants support for ${seconds} s`);
  const saved = support.grant(seconds * 1000);
  persistence?.include(saved);
  await saved.catch(() => undefined); // the answer says so
  return { SupportUntil: support.until ?? UNKNOWN_TIME };
}

/** @throws UspError 7006; 7022 where there is no such device, or the disk refuses */
export async function eraseHistory(parts: SpinParts, physAddress: string | undefined, call: CommandCall) {
  onlyAtHome("EraseHistory()", call);
  const { home, liveCapture, log } = parts;
  const mac = physAddress === undefined || physAddress === "" ? undefined : parseMac(physAddress);
  if (physAddress && mac === undefined)
    throw new UspError(UspErrorCode.InvalidCommandArguments, "PhysAddress is no hardware address", "PhysAddress");
  const captures = (await liveCapture?.forget?.(mac)) ?? 0;
  try {
    // Of a device that is forgotten the flow log may still have something.
    const { devices, destinations, names, incidents } = await home.eraseHistory(mac);
    const what = [
      mac === undefined ? "the history of the whole home" : `the history of ${physAddress}`,
      `the flow log, ${destinations} destinations, ${names} names, ${incidents} incidents, ${captures} captures`,
    ].join(": ");
    log.info(`the resident erased ${what}`);
    return {
      Devices: devices,
      Destinations: destinations,
      Names: names,
      Incidents: incidents,
      Captures: captures,
      What: what,
    };
  } catch (error) {
    log.error("the history was not erased from the disk", error);
    throw new UspError(UspErrorCode.CommandFailed, "erased in memory, but the disk refused: see the agent's log");
  }
}

function onlyAtHome(command: string, { caller }: CommandCall): void {
  if (!isAtHome(caller)) throw new UspError(UspErrorCode.PermissionDenied, `${command} is the resident's alone`);
}
