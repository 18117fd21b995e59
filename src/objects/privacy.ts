/**
 * What a controller may see of the home, beyond its permissions: PrivacyLevel, secured values, and whose a row is
 * (design/data-model.md "Secured", "Roles").
 */
import { ROOT } from "../../datamodel/spin.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller, ModelTree } from "../model/implementation.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { ModelPolicy, Setting } from "../usp/policy.ts";
import type { SpinParts } from "./home.ts";
import { hasRole, isOfDoor } from "./resident-door.ts";

export const ROLE_RESIDENT = "Resident";
export const ROLE_ADMIN = "Admin";
export const ROLE_OPERATOR = "Operator";
export const ROLE_SUPPORT = "Support";
export const ROLE_AGENT = "Agent";

/** The controller has a role in SecuredRoles, or is the resident or the agent itself. */
export function maySeeSecured(caller: Caller): boolean {
  return caller.mayReadSecured || caller.roles.has(ROLE_RESIDENT) || caller.roles.has(ROLE_AGENT);
}

/** What the resident granted the role Support lasts. */
export function seesAsSupport({ roles }: Pick<Caller, "roles">, granted: (() => boolean) | undefined): boolean {
  return roles.has(ROLE_SUPPORT) && granted?.() === true;
}

/** Whether whom the home talks to is shown to the caller: secured rights at level Destinations, or the resident's word. */
export function seesPeers(caller: Caller, level: string, granted: (() => boolean) | undefined): boolean {
  if (isAtHome(caller)) return true;
  if (level === "Summary") return false;
  return seesAsSupport(caller, granted) || (level === "Destinations" && maySeeSecured(caller));
}

/** The resident, or the agent itself: nothing of the home is hidden from them. */
export function isAtHome({ roles }: Pick<Caller, "roles">): boolean {
  return roles.has(ROLE_RESIDENT) || roles.has(ROLE_AGENT);
}

/** Commands that do something in the home, rather than to the agent. */
const HOME_COMMAND = new RegExp(`^(?:${ROOT.replaceAll(".", "\\.")}|Device\\.PacketCaptureDiagnostics\\(\\)$)`);

/** Whether the caller may lift what the agent made by itself (quarantine): whoever makes rules in the home. */
export function mayLiftSystem({ roles }: Pick<Caller, "roles">): boolean {
  return [ROLE_OPERATOR, ROLE_SUPPORT, ROLE_ADMIN, ROLE_RESIDENT, ROLE_AGENT].some((role) => roles.has(role));
}

/** PrivacyLevel as it stands, from the tree. */
export function privacyLevel(tree: ModelTree): string {
  const root = tree.at(ROOT);
  return root ? (tree.text(root, "PrivacyLevel") as string) : "Devices";
}

/** The devices once more, as the standard model has them. */
const HOSTS = "Device.Hosts.";
/** Tables of Device.X_SPIN. that exist at level Summary too. */
const SUMMARY_TABLES = new Set([`${ROOT}Capture.Source.{i}.`]);

/** Who saw what is the resident's alone to know. */
const ACCESS_TABLE = `${ROOT}AccessLog.{i}.`;
/** Commands that tell what was done themselves, with what it was about. */
const TELLING: ReadonlySet<string> = new Set(["Query()", "ResolveIncident()", "CaptureTraffic()"]);
/** Where what remote controllers do is kept: SPIN's, what makes a controller able to see more, and what ends it all. */
const WATCHED = ["Device.FactoryReset()", ROOT, "Device.LocalAgent.ControllerTrust.", "Device.LocalAgent.Controller."];

/** Events of the root that name devices. */
const NAMING_EVENTS = new Set(["DeviceDiscovered!", "IncidentOpened!", "IncidentClosed!"]);

export interface SpinPolicyOptions {
  /** Paths in the file system of the resident's sockets. */
  readonly doors?: readonly string[];
  readonly supportGranted?: SpinParts["supportGranted"];
  readonly accessed?: SpinParts["accessed"];
}

/** What holds for `Device.X_SPIN.` besides roles; the tree comes in later, because it is built after. */
export function spinPolicy(tree: () => Tree, options: SpinPolicyOptions = {}): ModelPolicy {
  const { doors = [], supportGranted, accessed } = options;
  return {
    rowsVisible: (object, { roles }) => {
      if (object.path === ACCESS_TABLE) return isAtHome({ roles });
      const isOfHome = object.path.startsWith(ROOT) || object.path.startsWith(HOSTS);
      if (!isOfHome || SUMMARY_TABLES.has(object.path) || isAtHome({ roles })) return true;
      return privacyLevel(tree()) !== "Summary";
    },
    securedVisible: (node, param, caller) => {
      if (!node.path.startsWith(ROOT)) return maySeeSecured(caller);
      if (isAtHome(caller)) return true;
      // Whoever made a rule or a list knows what it says.
      const isSaid = param?.name === "DestinationList" || param?.name === "Content";
      if (isSaid && creatorOf(node) === caller.endpointId) return true;
      return seesPeers(caller, privacyLevel(tree()), supportGranted);
    },
    securedShown: (node, param, caller) => {
      // What a controller said itself tells it nothing; a set of rows of one kind is one access.
      if (isAtHome(caller) || !node.path.startsWith(ROOT) || creatorOf(node) === caller.endpointId) return;
      accessed?.(caller, `read ${param.object.path}${param.name}`, true);
    },
    done: (verb, path, caller) => {
      if (!WATCHED.some((prefix) => path.startsWith(prefix))) return;
      if (verb !== "ran" || !TELLING.has(path.slice(path.lastIndexOf(".") + 1)))
        accessed?.(caller, `${verb} ${path}`, false);
    },
    mayWriteRow: (node, caller, settings) => {
      const { endpointId, controller, roles } = caller;
      if (roles.has(ROLE_AGENT)) return undefined;
      if (isDeletion(settings) && isFirmwareList(node))
        return notYours(node, "the firmware's, and would come back under another number: disable it instead");
      // What it says is done with its owner's rights.
      const owner = recipientOf(node) ?? reporterOf(node);
      if (owner !== undefined) {
        const may = owner === controller || (roles.has(ROLE_ADMIN) && isEnd(node, settings));
        return may ? undefined : notYours(node, `of ${owner || "nobody"}`);
      }
      const origin = originOf(node);
      if (roles.has(ROLE_RESIDENT)) return undefined;
      if (origin === "User" || isOfDoor(tree(), node, ROLE_RESIDENT, doors)) return notYours(node, "the resident's");
      if (roles.has(ROLE_ADMIN)) {
        const mayTry = origin === "System" || creatorOf(node) === endpointId || !isGuess(node, settings);
        const sees = mayTry || seesPeers(caller, privacyLevel(tree()), supportGranted);
        return sees
          ? undefined
          : notYours(node, `of ${creatorOf(node)}, and whether it would say what another does is secured`);
      }
      if (origin === undefined)
        return isOfAnother(node, endpointId) ? notYours(node, `of ${creatorOf(node)}`) : undefined;
      if (origin === "System") return mayLiftSystem({ roles }) ? undefined : notYours(node, "the agent's");
      return creatorOf(node) === endpointId ? undefined : notYours(node, `of ${creatorOf(node) || "another"}`);
    },
    mayLeaveRow: (node, { roles }, settings) => {
      if (roles.has(ROLE_AGENT)) return undefined;
      const isGiven = isController(node) && settings.some(({ param }) => param === "AssignedRole");
      if (isGiven && hasRole(tree(), node, ROLE_RESIDENT))
        return notYours(node, "given the resident's role, which is not for controllers to give");
      const isDoor = isOfDoor(tree(), node, ROLE_RESIDENT, doors) && !roles.has(ROLE_RESIDENT);
      return isDoor ? notYours(node, "at the resident's door, and would be the resident's") : undefined;
    },
    mayOperate: (node, command, { endpointId, controller, roles }) => {
      const reporter = reporterOf(node);
      if (reporter !== undefined && reporter !== controller && !roles.has(ROLE_ADMIN) && !roles.has(ROLE_AGENT))
        return notYours(node, `of ${reporter}`);
      if (node.object.path !== "Device.LocalAgent.Request.{i}.") return undefined;
      const originator = text(node, "Originator") ?? "";
      // What is done in the home the resident may end, a capture above all.
      const isOfHome = HOME_COMMAND.test(text(node, "Command") ?? "");
      if (originator === endpointId || roles.has(ROLE_ADMIN) || roles.has(ROLE_AGENT)) return undefined;
      if (isOfHome && roles.has(ROLE_RESIDENT)) return undefined;
      return new UspError(
        UspErrorCode.PermissionDenied,
        `${node.path}${command}: the operation is another controller's`,
      );
    },
    // What names a device is as hidden at level Summary as its row.
    mayBeTold: (node, element, { roles }) =>
      node.path !== ROOT || !NAMING_EVENTS.has(element) || isAtHome({ roles }) || privacyLevel(tree()) !== "Summary",
    // The resident comes through its own local door alone; the agent through none, whoever names a role so.
    roleCounts: (role, { resident }) => role !== ROLE_AGENT && (role !== ROLE_RESIDENT || resident === true),
  };
}

function notYours({ path }: InstanceNode, whose: string): UspError {
  return new UspError(UspErrorCode.PermissionDenied, `${path} is ${whose}`, path);
}

const text = ({ object, row }: InstanceNode, name: string): string | undefined => {
  const param = object.params.get(name);
  return param && param.schema.type.print(param.read(row));
};

const creatorOf = (node: InstanceNode) => text(node, "Creator") ?? "";
const originOf = (node: InstanceNode) => (node.object.path.startsWith(ROOT) ? text(node, "Origin") : undefined);
const recipientOf = (node: InstanceNode) => text(node, "Recipient");

/** What an Admin may do to another's subscription, profile or threshold: delete it, or switch it off. */
function isEnd({ object }: InstanceNode, settings: readonly Setting[] | undefined): boolean {
  const isWhole = object.params.has("Recipient") || object.params.has("Controller");
  return isWhole && (settings ?? []).every(({ param, value }) => param === "Enable" && /^(?:false|0)$/.test(value));
}

const isDeletion = (settings: readonly Setting[] | undefined) => settings === undefined;

const isFirmwareList = (node: InstanceNode) => node.object.path === `${ROOT}List.{i}.` && originOf(node) === "System";

/** Of rows that have a creator and no Origin: schedules. */
const isOfAnother = (node: InstanceNode, endpointId: string) =>
  node.object.path.startsWith(ROOT) && node.object.params.has("Creator") && creatorOf(node) !== endpointId;

/** Whether what is written could clash with what another row says in secret, and so tell it. */
function isGuess({ path, object }: InstanceNode, settings: readonly Setting[] | undefined): boolean {
  if (!path.startsWith(ROOT) || settings === undefined) return false;
  const secret = object.schema.keys.filter(({ params }) =>
    params.some((name) => object.params.get(name)?.schema.secured),
  );
  return settings.some(({ param }) => secret.some(({ params }) => params.includes(param)));
}

const isController = ({ object }: InstanceNode) => object.path === "Device.LocalAgent.Controller.{i}.";

/** Whose profile of reports or threshold the node is, or lies in; `undefined` elsewhere. */
function reporterOf(node: InstanceNode): string | undefined {
  for (let at: InstanceNode | undefined = node; at; at = at.parent)
    if (/^Device\.(?:BulkData\.Profile|LocalAgent\.Threshold)\.\{i\}\.$/.test(at.object.path))
      return text(at, "Controller");
  return undefined;
}
