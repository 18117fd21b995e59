/**
 * PORT: what the objects layer adds to roles and permissions: rules that TR-181 has no row for. SPIN's PrivacyLevel,
 * whose rows are whose, and which roles count on which door live behind it.
 */
import type { UspError } from "../lib/usp-error.ts";
import type { Caller } from "../model/implementation.ts";
import type { InstanceNode, SupportedObject, SupportedParam } from "../model/tree.ts";

export interface ModelPolicy {
  /** Whether the table's rows exist for the caller; if not, it reads as empty. */
  rowsVisible(object: SupportedObject, caller: Caller): boolean;
  /**
   * Whether a secured value is shown to the caller; if not it reads as empty and never matches a search. `param` is
   * absent for a secured argument of a command or an event.
   */
  securedVisible(node: InstanceNode, param: SupportedParam | undefined, caller: Caller): boolean;
  /** Told that the secured value is given to the caller, or decides what a search of its finds. */
  securedShown?(node: InstanceNode, param: SupportedParam, caller: Caller): void;
  /** Told of what the caller did: a change that is in force, a command that ran or was begun. `path`: of what, in full. */
  done?(verb: Verb, path: string, caller: Caller): void;
  /**
   * Why the caller may not change or delete the row, beyond its permissions; `undefined` if it may. `settings`: what it
   * would write; absent where the row would be deleted.
   */
  mayWriteRow(node: InstanceNode, caller: Caller, settings?: readonly Setting[]): UspError | undefined;
  /** Why the caller may not leave the row as its `settings` made it. */
  mayLeaveRow?(node: InstanceNode, caller: Caller, settings: readonly Setting[]): UspError | undefined;
  /** Why the caller may not run the command there, beyond its permissions. */
  mayOperate?(node: InstanceNode, command: string, caller: Caller): UspError | undefined;
  /** Whether the caller is told of an event or a finished command there, beyond its permissions. Default: yes. */
  mayBeTold?(node: InstanceNode, element: string, caller: Caller): boolean;
  /** Which of a controller's roles (by name) count on this door. Default: all. */
  roleCounts?(role: string, door: Door): boolean;
}

export type Verb = "added" | "deleted" | "ran" | "set";

/** A parameter, or names that descend single-instance children, and the text it is given. */
export interface Setting {
  readonly param: string;
  readonly value: string;
}

/** Through what a Record came. */
export interface Door {
  readonly protocol: Protocol;
  /** Whether the peer is on this machine: a Unix socket or loopback of ours. */
  readonly local: boolean;
  /** Whether it is the resident's own: a socket that the configuration gives to the role Resident. */
  readonly resident?: boolean;
  /** Roles that the peer's certificate brings, instance paths without final dot (InheritedRole). */
  readonly inherited?: readonly string[];
}

export type Protocol = "MQTT" | "STOMP" | "WebSocket" | "UDS";

/** Nothing beyond roles and permissions. */
export const NO_POLICY: ModelPolicy = {
  rowsVisible: () => true,
  securedVisible: (_node, _param, caller) => caller.mayReadSecured,
  mayWriteRow: () => undefined,
};
