/** `Device.X_SPIN.`: the switches, the state of the whole, and Query(). */
import { ROOT, Spin } from "../../datamodel/spin.ts";
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { CommandCall, Implementation } from "../model/implementation.ts";
import { table } from "../model/table.ts";
import type { NameSourceText } from "../spin/names.ts";
import { QueryError, type DestinationRow, type FlowRow, type QueryFilter, type QueryPage } from "../spin/types.ts";
import type { PrivacyLevel, SpinParts } from "./home.ts";
import { isAtHome, maySeeSecured, ROLE_RESIDENT } from "./privacy.ts";

const LEVELS: readonly PrivacyLevel[] = ["Summary", "Devices", "Destinations"];

export function spinRoot({
  home,
  capture,
  persistence,
  authority,
  version,
  privacy,
  undo,
  forgetAfter,
}: SpinParts): Implementation {
  return table(Spin, {
    persistence,
    initial: () => ({
      PrivacyLevel: privacy.level,
      PrivacyCeiling: privacy.ceiling,
      ForgetDevicesAfter: forgetAfter,
    }),
    computed: {
      Status: ({ values }) => (values.Enable && home.status === "Disabled" ? "Degraded" : home.status),
      StatusReason: ({ values }) =>
        values.Enable && home.status === "Disabled" ? "Capture.Enable is false" : home.statusReason.slice(0, 1024),
      Version: () => version,
      CounterAccuracy: () => home.accuracy,
      Authority: () => authority,
    },
    // Whatever permissions an Admin gives itself.
    guard: ({ values }, param, value, { caller }) => {
      if (param === "PrivacyCeiling" && value !== values.PrivacyCeiling && !isAtHome(caller))
        throw new UspError(UspErrorCode.PermissionDenied, "PrivacyCeiling is the resident's alone to write", param);
    },
    validate: ({ values }, { caller }) => {
      if (LEVELS.indexOf(values.PrivacyLevel) <= LEVELS.indexOf(values.PrivacyCeiling)) return;
      // The resident who lowers the ceiling lowers the level with it; nobody else can be above it.
      if (caller.roles.has(ROLE_RESIDENT))
        throw new UspError(
          UspErrorCode.ValueConflict,
          `PrivacyLevel ${values.PrivacyLevel} is above PrivacyCeiling ${values.PrivacyCeiling}: lower both`,
        );
      throw new UspError(
        UspErrorCode.PermissionDenied,
        `PrivacyLevel ${values.PrivacyLevel} is above PrivacyCeiling ${values.PrivacyCeiling}, which is the resident's to raise`,
      );
    },
    committed: ({ row, params }) => {
      if (params.has("Enable")) capture.setSpinEnabled(row.values.Enable);
      if (params.has("ForgetDevicesAfter")) home.setForgetAfter(row.values.ForgetDevicesAfter);
      // Which devices are known is on disk before anybody counts as new.
      if (params.has("NewDevicePolicy")) persistence?.include(home.save());
    },
    commands: {
      "Undo()": (_, _args, { tree, caller }) => {
        const { what, rows } = undo.undo(tree, caller);
        return { What: what, Rows: rows };
      },
      "Query()": ({ values }, args, call) => {
        const secured = isAtHome(call.caller) || (values.PrivacyLevel === "Destinations" && maySeeSecured(call.caller));
        if (values.PrivacyLevel === "Summary" && !isAtHome(call.caller))
          throw new UspError(UspErrorCode.PermissionDenied, `${ROOT}PrivacyLevel is Summary: only totals are shown`);
        if (args.Kind === "Flows" && !secured) throw refuseFlows(call);
        const filter = filterOf(args);
        if (filter.destination !== undefined && !secured)
          throw new UspError(UspErrorCode.PermissionDenied, "Destination can't be searched for: it is secured");
        try {
          if (args.Kind === "Flows") return page(home.queryFlows(filter), flowColumns);
          return page(home.queryDestinations(filter), (row) => destinationColumns(row, secured));
        } catch (error) {
          if (error instanceof QueryError) throw new UspError(UspErrorCode.InvalidCommandArguments, error.message);
          throw error;
        }
      },
    },
  });
}

function refuseFlows({ caller }: CommandCall): UspError {
  const why = maySeeSecured(caller)
    ? `${ROOT}PrivacyLevel is not Destinations`
    : "the controller has no role in LocalAgent.ControllerTrust.SecuredRoles";
  return new UspError(UspErrorCode.PermissionDenied, `Flows are secured: ${why}`);
}

interface QueryArguments {
  readonly PhysAddress: string | undefined;
  readonly Since: number | undefined;
  readonly Until: number | undefined;
  readonly Destination: string | undefined;
  readonly Limit: number | undefined;
  readonly Cursor: string | undefined;
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

interface Columns {
  readonly Start: number;
  readonly End: number;
  readonly PhysAddress: string;
  readonly Initiator: string;
  readonly Address: string;
  readonly Port: number;
  readonly Protocol: number;
  readonly Domain: string;
  readonly DomainSource: NameSourceText;
  readonly BytesSent: number;
  readonly BytesReceived: number;
  readonly PacketsSent: number;
  readonly PacketsReceived: number;
  readonly Flows: number;
  readonly FirstSeen: number;
  readonly LastSeen: number;
  readonly Blocked: boolean;
}

function page<R>({ rows, nextCursor, truncated }: QueryPage<R>, columns: (row: R) => Partial<Columns>) {
  return { NextCursor: nextCursor, Truncated: truncated, Row: rows.map((row) => columns(row) as Columns) };
}

/** The columns of Flows; those of other Kinds are left out of the answer. */
function flowColumns(row: FlowRow): Partial<Columns> {
  return { ...row, End: row.End === 0 ? UNKNOWN_TIME : row.End };
}

function destinationColumns(row: DestinationRow, secured: boolean): Partial<Columns> {
  return secured ? row : { ...row, Address: "", Domain: "" };
}
