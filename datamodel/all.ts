/** Every object that the gateway's agent declares; main joins each to its implementation. */
import * as device from "./device.ts";
import type { ObjectSchema } from "./schema.ts";
import { spinObjects } from "./spin.ts";

export const standardObjects: readonly ObjectSchema[] = Object.values(device);
export const vendorObjects: readonly ObjectSchema[] = spinObjects;
export const allObjects: readonly ObjectSchema[] = [...standardObjects, ...vendorObjects];
