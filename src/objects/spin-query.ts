/** `Query()` and `ResolveIncident()`: what the home remembers, as far as the caller may see it. */
import { ROOT } from "../../datamodel/spin.ts";
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { isIPv4, parseAddress, parseMac } from "../lib/address.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller, CommandCall } from "../model/implementation.ts";
import { QueryError } from "../spin/types.ts";
import type {
  BlockedRow,
  DestinationRow,
  FlowRow,
  HistoryRow,
  QueryFilter,
  QueryPage,
  QuestionRow,
} from "../spin/types.ts";
import type { PrivacyLevel, SpinParts } from "./home.ts";
import { isAtHome, maySeeSecured, seesPeers } from "./privacy.ts";

type Parts = Pick<SpinParts, "home" | "accessed" | "supportGranted">;
type Kind = "Flows" | "Destinations" | "DNSQueries" | "Blocked" | "History";

export interface QueryArguments {
  /** Mandatory, so it is there. */
  readonly Kind: Kind | undefined;
  readonly PhysAddress: string | undefined;
  readonly Since: number | undefined;
  readonly Until: number | undefined;
  readonly Destination: string | undefined;
  readonly Limit: number | undefined;
  readonly Cursor: string | undefined;
}

/** Kinds that say whom a device talks to by their very rows. */
const SECURED_KINDS: ReadonlySet<Kind> = new Set(["Flows", "DNSQueries"]);

export async function query(parts: Parts, level: PrivacyLevel, args: QueryArguments, call: CommandCall) {
  const { home, accessed } = parts;
  const { caller } = call;
  const kind = args.Kind as Kind;
  const secured = seesPeers(caller, level, parts.supportGranted);
  if (level === "Summary" && !isAtHome(caller)) throw atSummary();
  if (SECURED_KINDS.has(kind) && !secured) throw refusal(kind, caller);
  const filter = filterOf(args);
  if (filter.destination !== undefined && !secured)
    throw new UspError(UspErrorCode.PermissionDenied, "Destination can't be searched for: it is secured");
  // The resident who asks about one device is shown all that is kept of it.
  const seesAll = filter.physAddress !== undefined && isAtHome(caller);
  const shown = <R extends object>(found: QueryPage<R>) => (seesAll ? found : withoutIgnored(home, found));
  accessed?.(caller, `Query(${kind})`, secured && kind !== "History");
  try {
    switch (kind) {
      case "Flows":
        return page(shown(await home.past.flows(filter)), flowColumns);
      case "Destinations":
        return page(shown(home.queryDestinations(filter)), (row) => destinationColumns(row, secured));
      case "DNSQueries":
        return page(shown(await home.past.questions(filter)), questionColumns);
      case "Blocked":
        return page(shown(await home.past.blocked(filter)), (row) => blockedColumns(row, secured));
      case "History":
        return page(home.past.history(filter), historyColumns);
    }
  } catch (error) {
    if (error instanceof QueryError) throw new UspError(UspErrorCode.InvalidCommandArguments, error.message);
    throw error;
  }
}

const atSummary = () =>
  new UspError(UspErrorCode.PermissionDenied, `${ROOT}PrivacyLevel is Summary: only totals are shown`);

function refusal(kind: Kind, caller: Caller): UspError {
  const why = maySeeSecured(caller)
    ? `${ROOT}PrivacyLevel is not Destinations`
    : "the controller has no role in LocalAgent.ControllerTrust.SecuredRoles";
  return new UspError(UspErrorCode.PermissionDenied, `${kind} are secured: ${why}`);
}

/** An argument that is empty or the Unknown Time is one that was left out. */
function filterOf(args: QueryArguments): QueryFilter {
  const time = (value: number | undefined) => (value === UNKNOWN_TIME ? undefined : value);
  const filter = {
    physAddress: args.PhysAddress || undefined,
    since: time(args.Since),
    until: time(args.Until),
    destination: args.Destination || undefined,
    limit: args.Limit,
    cursor: args.Cursor || undefined,
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

/** Of all Kinds; those of others are left out of an answer. */
type Columns = Omit<FlowRow & DestinationRow & QuestionRow & HistoryRow, "Flows"> & {
  readonly Flows: number;
  readonly Rule: string;
};

function page<R>({ rows, nextCursor, truncated }: QueryPage<R>, columns: (row: R) => Partial<Columns>) {
  return { NextCursor: nextCursor, Truncated: truncated, Row: rows.map((row) => columns(row) as Columns) };
}

/** Without what rules of Action Ignore hide. A page may be shorter than it was asked to be. */
function withoutIgnored<R extends object>(home: SpinParts["home"], found: QueryPage<R>): QueryPage<R> {
  const isShown = (row: Partial<FlowRow & QuestionRow>) => {
    const mac = parseMac(row.PhysAddress ?? "");
    const { Address: address = "", Protocol: protocol = 17, Port: port = 53 } = row;
    return mac === undefined || !home.hides({ mac, address, name: row.Name ?? row.Domain ?? "", protocol, port });
  };
  return { ...found, rows: found.rows.filter(isShown) };
}

const flowColumns = (row: FlowRow): Partial<Columns> => ({ ...row, End: row.End === 0 ? UNKNOWN_TIME : row.End });

const destinationColumns = (row: DestinationRow, secured: boolean): Partial<Columns> =>
  secured ? row : { ...row, Address: "", Domain: "" };

function blockedColumns({ Flows: _, Rule, ...row }: BlockedRow, secured: boolean): Partial<Columns> {
  return {
    ...row,
    Rule: Rule === 0 ? "" : `${ROOT}Rule.${Rule}`,
    ...(secured ? {} : { Address: "", Domain: "" }),
  };
}

function questionColumns({ ResultCode, ...row }: QuestionRow): Partial<Columns> {
  return ResultCode < 0 ? row : { ...row, ResultCode };
}

const historyColumns = (row: HistoryRow): Partial<Columns> => row;

// ---- ResolveIncident ---------------------------------------------------------------------------------------------

export interface ResolveArguments {
  readonly Time: number | undefined;
  readonly Tolerance: number | undefined;
  readonly Protocol: number | undefined;
  readonly SourceAddress: string | undefined;
  readonly SourcePort: number | undefined;
  readonly DestinationAddress: string | undefined;
  readonly DestinationPort: number | undefined;
}

/** Protocols that have ports: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** Whoever works through a pile of reports needs no more; whoever guesses ports gets nowhere. */
const CALLS_AT_ONCE = 10;
const CALL_EVERY_MS = 6000;
/** Callers whose calls are counted; a home has a handful of controllers. */
const MAX_CALLERS = 32;

/** How often each controller may still ask. */
export class CallLimit {
  readonly #calls = new Map<string, { left: number; at: number }>();

  /** @returns the seconds that it has to wait; 0: it may */
  take(caller: string, now: number): number {
    const before = this.#calls.get(caller) ?? { left: CALLS_AT_ONCE, at: now };
    // A clock that is set gives nobody more.
    const regained = Math.max(0, now - before.at) / CALL_EVERY_MS;
    const left = Math.min(CALLS_AT_ONCE, before.left + Math.min(regained, CALLS_AT_ONCE));
    this.#calls.delete(caller);
    this.#calls.set(caller, { left: left < 1 ? left : left - 1, at: now });
    for (const [oldest] of this.#calls) if (this.#calls.size > MAX_CALLERS) this.#calls.delete(oldest);
    return left < 1 ? Math.ceil(((1 - left) * CALL_EVERY_MS) / 1000) : 0;
  }
}

export async function resolveIncident(
  { home, accessed }: Parts,
  level: PrivacyLevel,
  args: ResolveArguments,
  { caller }: CommandCall,
  limit: CallLimit,
) {
  if (level === "Summary" && !isAtHome(caller)) throw atSummary();
  const question = questionOf(args);
  const wait = limit.take(caller.endpointId, home.now());
  if (wait > 0)
    throw new UspError(UspErrorCode.ResourcesExceeded, `ResolveIncident() was asked too often; again in ${wait} s`);
  const { sourceAddress, sourcePort } = question;
  accessed?.(
    caller,
    `ResolveIncident() of ${sourceAddress}${sourcePort === undefined ? "" : ` port ${sourcePort}`}`,
    false,
  );
  const { found, device, flowCount, blocked } = await home.past.resolve(question);
  return {
    Found: found,
    Device: device === undefined ? "" : `${ROOT}Device.${device}`,
    FlowCount: flowCount,
    Blocked: blocked,
  };
}

function questionOf(args: ResolveArguments) {
  const wrong = (name: string, what: string) =>
    new UspError(UspErrorCode.InvalidCommandArguments, `${name} ${what}`, name);
  const { Time, Tolerance, Protocol = NaN, SourceAddress = "", SourcePort, DestinationAddress, DestinationPort } = args;
  const words = parseAddress(SourceAddress);
  if (!words) throw wrong("SourceAddress", "is missing");
  // 2000::/3: what is not from there is known to the home alone.
  if (!isIPv4(words) && (words[0] as number) >>> 29 !== 1)
    throw wrong("SourceAddress", `${SourceAddress} is no address of the Internet's`);
  if (Time === undefined || Time === UNKNOWN_TIME) throw wrong("Time", "is missing");
  const hasPorts = WITH_PORTS.has(Protocol);
  if (hasPorts && !SourcePort)
    throw wrong("SourcePort", `is missing: without it, protocol ${Protocol} tells no device from another`);
  return {
    time: Time,
    toleranceMs: (Tolerance ?? 0) * 1000,
    protocol: Protocol,
    sourceAddress: SourceAddress,
    sourcePort: hasPorts ? SourcePort : undefined,
    destinationAddress: DestinationAddress || undefined,
    destinationPort: (hasPorts && DestinationPort) || undefined,
  };
}
