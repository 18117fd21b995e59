/**
 * UDS rows of `Device.LocalAgent.MTP.{i}.`: those whose socket listens take controllers, the one whose socket connects
 * goes to the USP Broker. Who is at the other end is known by the socket: the controller whose MTP row names it, whatever
 * endpoint id is said there. The file's mode and group are what lets in.
 */
import { readFileSync } from "node:fs";
import { describe } from "../lib/log.ts";
import { Transaction } from "../model/transaction.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { MtpError } from "../mtp/error.ts";
import { connectUds, type UdsConnection } from "../mtp/uds-client.ts";
import { listenUds } from "../mtp/uds-server.ts";
import { ROLE_RESIDENT } from "../objects/privacy.ts";
import { hasRole } from "../objects/resident-door.ts";
import type { Connected, MtpConnector, MtpListener } from "../usp/mtp.ts";
import type { Door } from "../usp/policy.ts";
import type { RetryPolicy } from "../usp/retry.ts";
import type { Connect, ConnectorOptions } from "./connector.ts";

/** R-UDS.10: 1 to 5 s, for ever. */
const CONNECT_RETRY: RetryPolicy = { minimumMs: 1_000, multiplier: 5, maximumMs: 5_000, lastWindow: 1 };
/** Of a socket that can't be listened on. */
const LISTEN_RETRY: RetryPolicy = { minimumMs: 5_000, multiplier: 2, maximumMs: 300_000 };
/** What the agent offers a broker: what no other agent on the device has. */
const VENDOR = /^Device\.X_[A-Za-z0-9_]+\.$/;

export const udsConnector: Connect = (mtp, options) => {
  const settings = options.tree.at(`${mtp.path}UDS.`);
  const reference = settings && options.tree.text(settings, "UnixDomainSocketRef");
  const socket = reference ? options.tree.at(`${reference}.`) : undefined;
  if (!socket) return undefined;
  return options.tree.text(socket, "Mode") === "Connect" ? broker(socket, options) : listener(socket, options);
};

function listener(socket: InstanceNode, options: ConnectorOptions): MtpListener | undefined {
  const { tree, config, log } = options;
  const path = tree.text(socket, "Path") as string;
  const section = config.sockets.find((each) => each.path === path);
  if (!section) return undefined;
  const door: Door = { protocol: "UDS", local: true, resident: section.role === "Resident" };
  return {
    protocol: "UDS",
    retry: LISTEN_RETRY,
    watches: [],
    listen: async (signal, { listening, accept }) => {
      const gid = section.group === "" ? {} : { gid: groupNumber(section.group) };
      await listenUds({ ...udsOptions(path, options), ...gid, peerMayLeave: true }, signal, {
        listening,
        accept: (connection) => {
          const controller = controllerOf(tree, socket, connection.peer, door.resident ? ROLE_RESIDENT : undefined);
          if (controller !== undefined) return accept(connected(connection, controller, door));
          log.info(`${connection.peer}: no enabled controller's row names ${path}`);
          connection.link.refuse("no controller of this agent is known by this socket");
        },
        refused: (reason) => log.debug(`refused: ${reason}`),
      });
    },
  };
}

function broker(socket: InstanceNode, options: ConnectorOptions): MtpConnector {
  const { tree } = options;
  const path = tree.text(socket, "Path") as string;
  // Whoever may speak to the broker is behind this door: it is none of the home's own.
  const door: Door = { protocol: "UDS", local: false };
  return {
    protocol: "UDS",
    retry: CONNECT_RETRY,
    watches: [],
    connect: async (signal) => {
      const connection = await connectUds(udsOptions(path, options), signal);
      const controller = controllerOf(tree, socket, connection.peer);
      if (controller === undefined) {
        await connection.link.close();
        throw new MtpError("rejected", `no enabled controller's row names ${path}`);
      }
      keepEndpointId(controller, connection.peer, options);
      const register = [...(tree.object("Device.")?.children.values() ?? [])].map((object) => object.path);
      return {
        ...connected(connection, controller, door),
        register: register.filter((object) => VENDOR.test(object)),
      };
    },
  };
}

const udsOptions = (path: string, { endpointId, maxRecordBytes }: ConnectorOptions) => ({
  path,
  endpointId,
  limits: { recordBytes: maxRecordBytes },
});

const connected = ({ link, peer }: UdsConnection, controller: InstanceNode, door: Door): Connected => ({
  link,
  peer,
  controller: controller.path.slice(0, -1),
  connectRecord: { $case: "udsConnect", value: {} },
  door,
});

/**
 * Of the enabled controllers whose rows name the socket: the one of that endpoint id, else the first.
 * @param role Where given, of those that have it alone: nobody else comes between the resident and its door
 */
function controllerOf(tree: Tree, socket: InstanceNode, endpointId: string, role?: string): InstanceNode | undefined {
  const reference = socket.path.slice(0, -1);
  const isOn = (row: InstanceNode) => tree.text(row, "Enable") === "true";
  let found: InstanceNode | undefined;
  const routes = tree.object("Device.LocalAgent.Controller.{i}.MTP.{i}.");
  for (const row of routes ? tree.all(routes) : []) {
    const controller = tree.at(row.path.replace(/MTP\.\d+\.$/, ""));
    const settings = tree.at(`${row.path}UDS.`);
    if (!controller || !settings || tree.text(settings, "UnixDomainSocketRef") !== reference) continue;
    if (tree.text(row, "Protocol") !== "UDS" || !isOn(row) || !isOn(controller)) continue;
    if (role !== undefined && !hasRole(tree, controller, role)) continue;
    if (tree.text(controller, "EndpointID") === endpointId) return controller;
    found ??= controller;
  }
  return found;
}

/** The broker's row tells which broker it is. Where another row has that endpoint id already, it does not. */
function keepEndpointId(controller: InstanceNode, endpointId: string, { tree, log }: ConnectorOptions): void {
  if (tree.text(controller, "EndpointID") === endpointId) return;
  const transaction = new Transaction(tree);
  try {
    transaction.set(controller, "EndpointID", endpointId);
    transaction.check();
    transaction.commit();
  } catch (error) {
    transaction.rollback();
    log.warn(`${controller.path}EndpointID can't become ${endpointId}: ${describe(error)}`);
  }
}

/** @throws MtpError where there is no such group */
export function groupNumber(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync("/etc/group", "utf8")
    .split("\n")
    .find((text) => text.startsWith(`${group}:`));
  const number = line?.split(":")[2];
  if (number === undefined) throw new MtpError("address", `there is no group ${group} in /etc/group`);
  return Number(number);
}
