/**
 * The resident's own way in, which no controller closes or changes: the row of the resident's role with its permissions,
 * the controllers that have it with all that hangs on them, and the MTP rows of the sockets that they name.
 */
import type { InstanceNode, Tree } from "../model/tree.ts";

const AGENT = "Device.LocalAgent.";
const ROLES = `${AGENT}ControllerTrust.Role.`;
const CONTROLLERS = `${AGENT}Controller.`;
const MTPS = `${AGENT}MTP.`;

/** @param role The role's name */
export function isOfDoor(tree: Tree, { path }: InstanceNode, role: string): boolean {
  if (!path.startsWith(AGENT)) return false;
  const roles = rows(tree, ROLES).filter((row) => tree.text(row, "Name") === role);
  if (path.startsWith(ROLES)) return roles.some((row) => path.startsWith(row.path));
  if (!path.startsWith(CONTROLLERS) && !path.startsWith(MTPS)) return false;
  const paths = roles.map((row) => row.path.slice(0, -1));
  const controllers = rows(tree, CONTROLLERS).filter((row) => listOf(tree, row).some((each) => paths.includes(each)));
  if (path.startsWith(CONTROLLERS)) return controllers.some((row) => path.startsWith(row.path));
  const own = /^Device\.LocalAgent\.MTP\.\d+\./.exec(path)?.[0];
  const socket = own === undefined ? "" : socketOf(tree, own);
  if (socket === "") return false;
  return rows(tree, `${CONTROLLERS}{i}.MTP.`).some(
    (row) => controllers.some((each) => row.path.startsWith(each.path)) && socketOf(tree, row.path) === socket,
  );
}

const listOf = (tree: Tree, row: InstanceNode) => (tree.text(row, "AssignedRole") ?? "").split(",");

function socketOf(tree: Tree, mtp: string): string {
  const settings = tree.at(`${mtp}UDS.`);
  return (settings && tree.text(settings, "UnixDomainSocketRef")) ?? "";
}

function rows(tree: Tree, table: string): InstanceNode[] {
  const object = tree.object(table);
  return object ? [...tree.all(object)] : [];
}
