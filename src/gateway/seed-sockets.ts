/**
 * The local doors, at each start: the sockets are the configuration's, and so are the rows that name them. What stands on
 * a socket (an MTP row, and the controller that is known by it) is made once, and is the model's from then on.
 */
import type { Config } from "../config.ts";
import { Transaction } from "../model/transaction.ts";
import type { ModelTree } from "../model/implementation.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { addRow, mustBe, pathOf, rowWith, setAll } from "./seed-rows.ts";

interface Door {
  readonly name: string;
  readonly path: string;
  readonly mode: "Listen" | "Connect";
  readonly role: string;
  readonly endpointId: string;
  readonly secured: boolean;
}

const SOCKETS = "Device.UnixDomainSockets.UnixDomainSocket.";
const TRUST = "Device.LocalAgent.ControllerTrust.";
const MTPS = "Device.LocalAgent.MTP.";
const CONTROLLERS = "Device.LocalAgent.Controller.";

/**
 * @param furnished Paths of the sockets whose MTP and controller were made at an earlier start
 * @returns the same, now
 */
export function seedSockets(tree: Tree, config: Config, furnished: readonly string[]): readonly string[] {
  const doors = doorsOf(config);
  const paths = doors.map(({ path }) => path);
  const transaction = new Transaction(tree);
  for (const row of [...tree.all(mustBe(tree.object(SOCKETS)))])
    if (!paths.includes(tree.text(row, "Path") as string)) removeSocket(transaction, row);
  for (const door of doors) {
    const socket = socketRow(transaction, door);
    if (!furnished.includes(door.path)) furnish(transaction, door, socket);
  }
  transaction.check();
  transaction.commit();
  return paths;
}

function doorsOf({ sockets, service }: Config): Door[] {
  const local = sockets
    .filter(({ enable }) => enable)
    .map(({ name, path, role, endpoint_id, secured }) => ({
      ...{ name, path, role, secured },
      mode: "Listen" as const,
      endpointId: endpoint_id,
    }));
  if (!service.enable) return local;
  const { broker, role, endpoint_id, secured } = service;
  return [...local, { name: "broker", path: broker, mode: "Connect", role, endpointId: endpoint_id, secured }];
}

/** @returns its path without final dot */
function socketRow(transaction: Transaction, { path, mode, name }: Door): string {
  const found = rowWith(transaction, SOCKETS, "Path", path);
  const socket =
    found === undefined
      ? addRow(transaction, "Device.UnixDomainSockets.", SOCKETS, { Alias: `cpe-${name}` })
      : mustBe(transaction.tree.at(`${found}.`));
  transaction.write(socket, "Path", path);
  transaction.write(socket, "Mode", mode);
  return pathOf(socket);
}

function furnish(transaction: Transaction, door: Door, socket: string): void {
  const { tree } = transaction;
  const reference = { UnixDomainSocketRef: socket };
  // Where it is not known what was made at an earlier start, what stands on the socket is found by its name.
  if (!rowsNaming(tree, "Device.LocalAgent.MTP.{i}.", socket).next().value) {
    const mtp = addRow(transaction, "Device.LocalAgent.", MTPS, { Enable: "true", Protocol: "UDS" });
    setAll(transaction, `${mtp.path}UDS.`, reference);
  }
  const role = rowWith(transaction, `${TRUST}Role.`, "Name", door.role);
  const found = rowWith(transaction, CONTROLLERS, "EndpointID", door.endpointId);
  const controller =
    found === undefined
      ? addRow(transaction, "Device.LocalAgent.", CONTROLLERS, {
          EndpointID: door.endpointId,
          Enable: "true",
          OnBoardingComplete: "true",
          ...(role === undefined ? {} : { AssignedRole: role }),
        })
      : mustBe(tree.at(`${found}.`));
  const routes = mustBe(controller.object.children.get("MTP"));
  const known = [...tree.rows(controller, routes)].find((row) => tree.text(row, "Protocol") === "UDS");
  const route =
    known ??
    addRow(transaction, controller.path, "Device.LocalAgent.Controller.{i}.MTP.", {
      Enable: "true",
      Protocol: "UDS",
      Order: "1",
    });
  setAll(transaction, `${route.path}UDS.`, reference);
  if (!door.secured || role === undefined) return;
  const trust = mustBe(tree.at(TRUST));
  const already = trust.object.params.get("SecuredRoles")?.read(trust.row) as readonly string[];
  transaction.write(trust, "SecuredRoles", [...new Set([...already, role])]);
}

/** The configuration names it no longer: what would use it goes too. The controller keeps its row. */
function removeSocket(transaction: Transaction, socket: InstanceNode): void {
  const { tree } = transaction;
  for (const table of ["Device.LocalAgent.MTP.{i}.", "Device.LocalAgent.Controller.{i}.MTP.{i}."] as const)
    for (const row of [...rowsNaming(tree, table, pathOf(socket))]) transaction.remove(row);
  transaction.remove(socket);
}

/** MTP rows, the agent's or controllers', that name the socket (instance path without final dot). */
function* rowsNaming(tree: ModelTree, table: string, socket: string): Generator<InstanceNode, undefined> {
  for (const row of tree.all(mustBe(tree.object(table))))
    if (tree.text(mustBe(tree.at(`${row.path}UDS.`)), "UnixDomainSocketRef") === socket) yield row;
  return undefined;
}
