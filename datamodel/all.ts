/** Every object that the gateway's agent declares; main joins each to its implementation. */
import * as certificates from "./certificates.ts";
import * as bulkData from "./bulk-data.ts";
import * as controllerTrust from "./controller-trust.ts";
import * as device from "./device.ts";
import * as e2eSession from "./e2e-session.ts";
import * as hosts from "./hosts.ts";
import * as localAgent from "./local-agent.ts";
import * as mqtt from "./mqtt.ts";
import type { ObjectSchema } from "./schema.ts";
import * as sockets from "./sockets.ts";
import { spinObjects } from "./spin.ts";
import * as websocket from "./websocket.ts";
import * as stomp from "./stomp.ts";

export const standardObjects: readonly ObjectSchema[] = [
  device,
  localAgent,
  controllerTrust,
  bulkData,
  e2eSession,
  certificates,
  mqtt,
  stomp,
  websocket,
  sockets,
  hosts,
].flatMap((module) => Object.values<ObjectSchema>(module));
export const vendorObjects: readonly ObjectSchema[] = spinObjects;
export const allObjects: readonly ObjectSchema[] = [...standardObjects, ...vendorObjects];
