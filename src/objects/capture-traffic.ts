/**
 * `CaptureTraffic()` of a device and `Device.PacketCaptureDiagnostics()`: who may see what of the packets, and where they
 * may go (design/data-model.md "Secured"). The frames themselves are another's business.
 */
import { canonicalAddress, parseAddress, parseMac, printMac } from "../lib/address.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { CommandCall } from "../model/implementation.ts";
import {
  DEFAULT_DURATION_S,
  LONGEST_SNAP,
  type CaptureRequest,
  type CaptureResult,
  type CaptureTarget,
  type Visible,
} from "../spin/live-capture.ts";
import type { HomeDevice } from "../spin/types.ts";
import type { SpinParts } from "./home.ts";
import { isAtHome, privacyLevel, seesPeers, seesAsSupport } from "./privacy.ts";

/** Input of both commands; an argument that was left out is one that is empty. */
interface Bounds {
  readonly Format: "libpcap" | "pcapng" | undefined;
  readonly Duration: number | undefined;
  readonly PacketCount: number | undefined;
  readonly ByteCount: number | undefined;
  readonly FileTarget: string | undefined;
  readonly Username: string | undefined;
  readonly Password: string | undefined;
}

export interface TrafficArguments extends Bounds {
  readonly Method: "PUT" | "POST" | undefined;
  readonly SnapLength: number | undefined;
}

export interface DiagnosticsArguments extends Bounds {
  readonly Interface: string | undefined;
  readonly FilterExpression: string | undefined;
}

/** @throws UspError */
export async function captureTraffic(parts: SpinParts, device: HomeDevice, args: TrafficArguments, call: CommandCall) {
  const result = await run(
    parts,
    {
      ...boundsOf(args, args.Method ?? "PUT", call),
      mac: device.mac,
      interfaces: interfacesOf(parts, device),
      snapLength: args.SnapLength ?? LONGEST_SNAP,
    },
    `a capture of ${device.physAddress}`,
    call,
  );
  const { status } = result;
  if (status !== "Complete" && status !== "Partial") throw failure(result, call);
  return {
    Status: status,
    StatusReason: result.reason,
    PacketCount: result.packets,
    ByteCount: result.bytes,
    Lost: result.lost,
    StartTime: result.startTime,
    EndTime: result.endTime,
    FileLocation: withoutQuery(result.location),
    HeadersOnly: result.headersOnly,
  };
}

/** @throws UspError for what can't be begun; what fails later is told by Status, as TR-181 has it */
export async function packetCaptureDiagnostics(parts: SpinParts, args: DiagnosticsArguments, call: CommandCall) {
  // Before anything is said of devices.
  const visible = visibleTo(parts, call);
  if (typeof visible !== "string") throw new UspError(UspErrorCode.PermissionDenied, visible.denied);
  const scope = scopeOf(parts, args, call);
  const result = await run(
    parts,
    { ...boundsOf(args, "PUT", call), ...scope, snapLength: LONGEST_SNAP },
    `a capture of ${scope.mac === undefined ? scope.interfaces.join(", ") : printMac(scope.mac)}`,
    call,
  );
  const { status, startTime: StartTime, endTime: EndTime, packets: Count } = result;
  const FileLocation = withoutQuery(result.location);
  if (status === "Complete" || status === "Partial")
    return { Status: "Complete" as const, PacketCaptureResult: [{ FileLocation, StartTime, EndTime, Count }] };
  if (status !== "Undelivered" && status !== "Failed") throw failure(result, call);
  parts.log.warn(`${call.objectPath}PacketCaptureDiagnostics(): ${result.reason}`);
  const Status = status === "Failed" ? ("Error_Internal" as const) : ("Error_Other" as const);
  return { Status, PacketCaptureResult: [] };
}

/** Whoever is told where a capture went need not learn the token by which it could be written there. */
function withoutQuery(location: string): string {
  return /^https?:/.test(location) ? location.replace(/[?#].*$/s, "") : location;
}

async function run(
  parts: SpinParts,
  asked: Omit<CaptureRequest, "visible">,
  what: string,
  call: CommandCall,
): Promise<CaptureResult> {
  if (!parts.liveCapture) throw new UspError(UspErrorCode.CommandFailed, "this agent has no packets to capture");
  const rights = rightsOf(call);
  const visible = () => (rightsOf(call) === rights ? visibleTo(parts, call) : { denied: RIGHTS_CHANGED });
  const request = { ...asked, visible };
  const to = request.target ? new URL(request.target.url).origin : "a file on the gateway";
  parts.accessed?.(call.caller, `${what}, to ${to}`, visibleTo(parts, call) !== "HeadersWithoutPeers");
  parts.log.info(`${what}, to ${to}, for ${call.caller.endpointId || "the agent"}`);
  const result = await parts.liveCapture.run(request, call.signal);
  const { status, reason, packets, lost } = result;
  parts.log.info(`${what} is over: ${status}, ${reason}; ${packets} packets, ${lost} lost`);
  return result;
}

const RIGHTS_CHANGED = "the rights of the controller that asked for it have changed";

/** What the caller's roles come from; those that it has now are told by nobody while a command runs. */
function rightsOf({ caller: { controller }, tree }: CommandCall): string {
  const own = controller === "" ? undefined : tree.at(controller);
  const trust = tree.at("Device.LocalAgent.ControllerTrust.");
  const ofOwn = ["Enable", "AssignedRole"].map((name) => own && tree.text(own, name));
  return JSON.stringify([...ofOwn, trust && tree.text(trust, "SecuredRoles")]);
}

/** What a caller may see of packets, now. */
function visibleTo({ home, supportGranted }: SpinParts, { caller, tree }: CommandCall): Visible | { denied: string } {
  if (!home.enabled) return { denied: "traffic is not observed: Enable of Device.X_SPIN. or its Capture. is false" };
  if (isAtHome(caller)) return "Frames";
  const level = privacyLevel(tree);
  if (level === "Summary") return { denied: "Device.X_SPIN.PrivacyLevel is Summary: only totals are shown" };
  if (seesAsSupport(caller, supportGranted)) return "Frames";
  return seesPeers(caller, level, supportGranted) ? "Headers" : "HeadersWithoutPeers";
}

/** What holds for both commands. @throws UspError 7027 */
function boundsOf(args: Bounds, method: CaptureTarget["method"], call: CommandCall) {
  const { Format, Duration = DEFAULT_DURATION_S, PacketCount = 0, ByteCount = 0 } = args;
  const target = targetOf(args, method, call);
  return {
    format: Format ?? "libpcap",
    durationMs: Duration * 1000,
    packetCount: PacketCount,
    byteCount: ByteCount,
    ...(target ? { target } : {}),
  };
}

/** @throws UspError 7027 */
function targetOf(args: Bounds, method: CaptureTarget["method"], { caller }: CommandCall): CaptureTarget | undefined {
  const { FileTarget = "", Username = "", Password = "" } = args;
  if (FileTarget === "") {
    if (Username !== "" || Password !== "") throw wrong("FileTarget", "is missing, for which there is a Username");
    return undefined;
  }
  const url = URL.canParse(FileTarget) ? new URL(FileTarget) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol)) throw wrong("FileTarget", "is no http: or https: URL");
  if (url.username !== "" || url.password !== "")
    throw wrong("FileTarget", "holds a name or a password: Username and Password are arguments of their own");
  if ((Username !== "" || Password !== "") && url.protocol !== "https:")
    throw wrong("FileTarget", "is without TLS: Username and Password go to https: only");
  if (Username.includes(":")) throw wrong("Username", "holds a colon, which HTTP does not allow");
  url.hash = "";
  return { url: url.href, method, username: Username, password: Password, mayBeLocal: isAtHome(caller) };
}

/** Where the device was last seen; all of the LAN's interfaces where that is not known. @throws UspError 7022 */
function interfacesOf({ liveCapture }: SpinParts, device: HomeDevice): readonly string[] {
  const known = liveCapture?.interfaces ?? new Set<string>();
  if (known.has(device.interface)) return [device.interface];
  if (known.size > 0) return [...known];
  throw new UspError(UspErrorCode.CommandFailed, "no interface of the LAN is known yet");
}

type Scope = Pick<CaptureRequest, "mac" | "interfaces" | "address">;

/** What Interface and FilterExpression mean. @throws UspError 7027 */
function scopeOf(parts: SpinParts, { Interface = "", FilterExpression = "" }: DiagnosticsArguments, call: CommandCall) {
  const filter = deviceIn(parts, FilterExpression, call);
  const known = parts.liveCapture?.interfaces ?? new Set<string>();
  if (Interface === "" && filter.device)
    return { ...filter.scope, interfaces: interfacesOf(parts, filter.device) } satisfies Scope;
  const name = Interface === "" && known.size === 1 ? ([...known][0] as string) : interfaceName(Interface);
  if (name === undefined || !known.has(name)) {
    const all = [...known].join(", ") || "none is known yet";
    throw wrong(
      "Interface",
      `names no interface of the LAN (by its Name, or a path like Device.IP.Interface.[Name=="br-lan"].): ${all}`,
    );
  }
  return { ...filter.scope, interfaces: [name] } satisfies Scope;
}

/** By itself, or in a search path of whatever table of interfaces. */
function interfaceName(text: string): string | undefined {
  if (/^[A-Za-z0-9_.@-]{1,15}$/.test(text) && !text.startsWith("Device.")) return text;
  return /^Device\.[A-Za-z0-9_.]{1,128}\.\[Name==(?:"|%22)([A-Za-z0-9_.@-]{1,15})(?:"|%22)\]\.?$/.exec(text)?.[1];
}

/**
 * `ether host MAC` and `host ADDRESS` of pcap-filter(7), which is as much as a diagnosis of a home needs; nothing of the
 * text goes further than here. Empty: no filter. @throws UspError 7027
 */
function deviceIn(
  { home }: SpinParts,
  text: string,
  { caller }: CommandCall,
): { readonly device?: HomeDevice; readonly scope: Pick<Scope, "mac" | "address"> } {
  const words = text.trim().split(/\s+/);
  if (text.trim() === "") return { scope: {} };
  const [first, second, third] = words;
  if (first === "ether" && second === "host" && words.length === 3) {
    const mac = parseMac(third as string);
    const device = mac === undefined ? undefined : home.deviceByMac(mac);
    if (device) return { device, scope: { mac: device.mac } };
    throw wrong("FilterExpression", "ether host is the address of no device of the home");
  }
  const address = first === "host" && words.length === 2 ? parseAddress(second as string) : undefined;
  if (!address) throw wrong("FilterExpression", "is neither `ether host MAC` nor `host ADDRESS`, nor empty");
  const canonical = canonicalAddress(second as string) as string;
  for (const device of home.devices())
    if (device.ipv4Addresses.includes(canonical) || device.ipv6Addresses.includes(canonical))
      return { device, scope: { mac: device.mac, address } };
  // Whether a home talks to somebody is as secured as whom it talks to.
  if (isAtHome(caller)) return { scope: { address } };
  throw wrong("FilterExpression", "host is the address of no device of the home");
}

function wrong(argument: string, what: string): UspError {
  return new UspError(UspErrorCode.InvalidCommandArguments, `${argument} ${what}`, argument);
}

function failure({ status, reason, packets, lost, location }: CaptureResult, { signal }: CommandCall): UspError {
  if (status === "Canceled") {
    const { code, message } = signal.reason as UspError;
    const kept = location === "" ? "" : `; ${packets} packets were delivered, ${lost} were lost`;
    return new UspError(code, `${message}${kept}`);
  }
  if (status === "Busy") return new UspError(UspErrorCode.ResourcesExceeded, reason);
  if (status === "Refused") return new UspError(UspErrorCode.PermissionDenied, reason);
  const before = packets === 0 ? "" : ` (after ${packets} packets)`;
  return new UspError(
    UspErrorCode.CommandFailed,
    `${status === "Undelivered" ? "FileTarget: " : ""}${reason}${before}`,
  );
}
