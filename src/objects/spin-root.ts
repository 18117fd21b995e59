/** `Device.X_SPIN.`: the switches, the state of the whole, and Query(). */
import { Spin } from "../../datamodel/spin.ts";
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Implementation } from "../model/implementation.ts";
import { table } from "../model/table.ts";
import type { PrivacyLevel, SpinParts } from "./home.ts";
import { isAtHome, ROLE_RESIDENT } from "./privacy.ts";
import { eraseHistory, grantSupport } from "./resident-commands.ts";
import { CallLimit, query, resolveIncident } from "./spin-query.ts";

const LEVELS: readonly PrivacyLevel[] = ["Summary", "Devices", "Destinations"];

export function spinRoot(parts: SpinParts): Implementation {
  const { home, capture, persistence, authority, version, privacy, undo, forgetAfter } = parts;
  const limit = new CallLimit();
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
      SupportUntil: () => parts.support?.until ?? UNKNOWN_TIME,
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
      "Undo()": (_, _args, call) => {
        const { what, rows } = undo.undo(call);
        return { What: what, Rows: rows };
      },
      "GrantSupport()": (_, { Duration }, call) => grantSupport(parts, Duration as number, call),
      "EraseHistory()": (_, { PhysAddress }, call) => eraseHistory(parts, PhysAddress, call),
      "Query()": ({ values }, args, call) => query(parts, values.PrivacyLevel, args, call),
      "ResolveIncident()": ({ values }, args, call) => resolveIncident(parts, values.PrivacyLevel, args, call, limit),
    },
  });
}
