/**
 * The resident's own way in, which no controller closes or changes: the row of the resident's role with its permissions,
 * the MTP rows of the sockets of that role, and the controllers that have the role and come by one, with all that hangs
 * on them. Who has the role and no such way is any controller.
 */
import type { InstanceNode, Tree } from "../model/tree.ts";

const AGENT = "Device.LocalAgent.";
const ROLES = `${AGENT}ControllerTrust.Role.`;
const CONTROLLERS = `${AGENT}Controller.`;
const SOCKETS = "Device.UnixDomainSockets.UnixDomainSocket.";
/** The agent's own MTP rows, and the controllers'. */
const MTP = /^Device\.LocalAgent\.(?:Controller\.\d+\.)?MTP\.\d+\./;

/**
 * @param role The role's name
 * @param sockets Paths in the file system of the sockets that the configuration gives to the role
 */
export function isOfDoor(tree: Tree, { path }: InstanceNode, role: string, sockets: readonly string[]): boolean {
  if (!path.startsWith(AGENT)) return false;
  if (path.startsWith(ROLES)) return rolesOf(tree, role).some((row) => path.startsWith(row.path));
  const doors = rows(tree, SOCKETS).filter((row) => sockets.includes(tree.text(row, "Path") ?? ""));
  const isRoute = (mtp: string) => doors.some((row) => row.path === `${socketOf(tree, mtp)}.`);
  const mtp = MTP.exec(path)?.[0];
  if (mtp !== undefined && isRoute(mtp)) return true;
  const own = /^Device\.LocalAgent\.Controller\.\d+\./.exec(path)?.[0];
  const controller = own === undefined ? undefined : tree.at(own);
  if (!controller || !hasRole(tree, controller, role)) return false;
  return rows(tree, `${CONTROLLERS}{i}.MTP.`).some((row) => row.path.startsWith(controller.path) && isRoute(row.path));
}

/** Whether the controller's row is assigned the role of that name. */
export function hasRole(tree: Tree, controller: InstanceNode, role: string): boolean {
  const assigned = (tree.text(controller, "AssignedRole") ?? "").split(",");
  return rolesOf(tree, role).some((row) => assigned.includes(row.path.slice(0, -1)));
}

const rolesOf = (tree: Tree, role: string) => rows(tree, ROLES).filter((row) => tree.text(row, "Name") === role);

function socketOf(tree: Tree, mtp: string): string {
  const settings = tree.at(`${mtp}UDS.`);
  return (settings && tree.text(settings, "UnixDomainSocketRef")) ?? "";
}

function rows(tree: Tree, table: string): InstanceNode[] {
  const object = tree.object(table);
  return object ? [...tree.all(object)] : [];
}
