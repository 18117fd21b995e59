/** `Device.` and `Device.DeviceInfo.`. */
import { hostname, uptime } from "node:os";
import { Device, DeviceInfo } from "../../datamodel/device.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";

/** What the gateway is: firmware configuration. */
export interface Identity {
  readonly manufacturer: string;
  readonly oui: string;
  readonly model: string;
  readonly productClass: string;
  readonly serialNumber: string;
  readonly hardwareVersion: string;
  readonly softwareVersion: string;
}

export function deviceRoot(): Implementation {
  return bind(Device, { get: { RootDataModelVersion: () => "2.19" } });
}

export function deviceInfo(identity: Identity, persistence: Persistence | undefined): Implementation {
  return table(DeviceInfo, {
    persistence,
    computed: {
      Manufacturer: () => identity.manufacturer,
      ManufacturerOUI: () => identity.oui.toUpperCase(),
      ModelName: () => identity.model,
      ModelNumber: () => identity.model,
      Description: () => `${identity.manufacturer} ${identity.model} with spin-usp`.trim(),
      ProductClass: () => identity.productClass,
      SerialNumber: () => identity.serialNumber,
      HardwareVersion: () => identity.hardwareVersion,
      SoftwareVersion: () => identity.softwareVersion,
      UpTime: () => Math.floor(uptime()),
      HostName: () => hostname(),
    },
  });
}
