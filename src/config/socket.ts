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

const FOLDER = "/run/spin-usp";
const RESIDENT: SocketConfig = {
  name: "resident",
  enable: true,
  path: "",
  role: "Resident",
  group: "",
  endpoint_id: "",
  secured: false,
};

/** Where `ctl` looks for the resident's door. */
export const RESIDENT_SOCKET = `${FOLDER}/resident.sock`;

/** With what follows from the names; the resident has a door unless the configuration takes it away. */
export function completeSockets(given: readonly SocketConfig[]): readonly SocketConfig[] {
  const isThere = given.some(({ role, name }) => role === "Resident" || name === RESIDENT.name);
  return [...(isThere ? [] : [RESIDENT]), ...given].map((socket) => ({
    ...socket,
    path: socket.path === "" ? `${SOCKET_FOLDER}/${socket.name}.sock` : socket.path,
    endpoint_id: socket.endpoint_id === "" ? `self::${socket.name}` : socket.endpoint_id,
  }));
}

/** What in the sections does not go together, in words. */
export function socketFault(sockets: readonly SocketConfig[], others: readonly string[]): string | undefined {
  const paths = new Set(others);
  for (const { name, path, group, secured, role } of sockets) {
    if (!/^[A-Za-z0-9_.-]{1,32}$/.test(name))
      return `socket '${name}': the name of a socket has letters, digits, - . _ only`;
    if (paths.has(path)) return `socket '${name}' option path is "${path}", as another's is`;
    if (role === "Resident" && secured)
      return `socket '${name}' option secured is "1": the resident sees all anyway; leave it out`;
    if (role === "Resident" && group === "nogroup")
      return `socket '${name}' option group is "nogroup": programs of no trust run in it`;
    paths.add(path);
  }
  return undefined;
}
