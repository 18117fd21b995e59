/** Options of a local door: a Unix socket on which controllers of one role reach the agent. */
import { SOCKET_FOLDER } from "../lib/resident-socket.ts";
import { bool, endpointId, file, oneOf, text, type ValuesOf } from "./option.ts";

export const socketOptions = {
  enable: bool("Whether the agent listens there.", true),
  path: file("The socket's file; empty: `/run/spin-usp/NAME.sock`."),
  role: oneOf("What whoever connects there may do.", "Operator", "Monitor", "Operator", "Support", "Admin", "Resident"),
  group: text(
    "Group whose members may connect besides the agent's own user and root; empty: the agent's own group.",
    "",
    /^[A-Za-z0-9_.-]{0,32}$/,
  ),
  endpoint_id: endpointId("Endpoint id that its controller's row gets; empty: `self::NAME`.", ""),
  secured: bool("Put its role into SecuredRoles: it may read secured values, within PrivacyLevel.", false),
} as const;

export type SocketConfig = ValuesOf<typeof socketOptions> & { readonly name: string };

/** The system's longest (sun_path of unix(7)), less what a draft's name adds. */
const MAX_PATH = 103;
const RESIDENT: SocketConfig = {
  name: "resident",
  enable: true,
  path: "",
  role: "Resident",
  group: "",
  endpoint_id: "",
  secured: false,
};

/** With what follows from the names; the resident has a door unless the configuration takes it away. */
export function completeSockets(given: readonly SocketConfig[]): readonly SocketConfig[] {
  const isThere = given.some(({ role, name }) => role === "Resident" || name === RESIDENT.name);
  return [...(isThere ? [] : [RESIDENT]), ...given].map((socket) => ({
    ...socket,
    path: socket.path === "" ? `${SOCKET_FOLDER}/${socket.name}.sock` : socket.path,
    endpoint_id: socket.endpoint_id === "" ? `self::${socket.name}` : socket.endpoint_id,
  }));
}

/** Whoever may come in has one endpoint id of its own: it is how its rights are known. */
export function endpointFault(
  sockets: readonly Pick<SocketConfig, "name" | "endpoint_id" | "role">[],
  controllers: readonly { readonly name: string; readonly endpoint_id: string; readonly role: string }[],
): string | undefined {
  const owners = new Map<string, string>();
  for (const { name, endpoint_id } of sockets) {
    const other = owners.get(endpoint_id);
    if (other !== undefined) return `socket '${name}' option endpoint_id is "${endpoint_id}", as that of '${other}' is`;
    owners.set(endpoint_id, name);
  }
  for (const { name, endpoint_id, role } of controllers) {
    const socket = sockets.find((each) => each.endpoint_id === endpoint_id);
    if (socket && socket.role !== role)
      return `controller '${name}' option role is "${role}", but socket '${socket.name}' gives the same endpoint id the role ${socket.role}`;
  }
  return undefined;
}

/** What in the sections does not go together, in words. */
export function socketFault(sockets: readonly SocketConfig[], others: readonly string[]): string | undefined {
  const paths = new Set(others);
  for (const { name, path, group, secured, role } of sockets) {
    if (!/^[A-Za-z0-9_.-]{1,32}$/.test(name))
      return `socket '${name}': the name of a socket has letters, digits, - . _ only`;
    if (Buffer.byteLength(path) > MAX_PATH)
      return `socket '${name}' option path has ${Buffer.byteLength(path)} bytes; a socket's path may have ${MAX_PATH}`;
    if (paths.has(path)) return `socket '${name}' option path is "${path}", as another's is`;
    if (role === "Resident" && secured)
      return `socket '${name}' option secured is "1": the resident sees all anyway; leave it out`;
    if (role === "Resident" && group === "nogroup")
      return `socket '${name}' option group is "nogroup": programs of no trust run in it`;
    paths.add(path);
  }
  return undefined;
}
