/** `Device.DeviceInfo.`: what the gateway is, and how it fares. */
import { cpus, freemem, hostname, totalmem, uptime } from "node:os";
import { DeviceInfo, MemoryStatus, ProcessStatus } from "../../datamodel/device.ts";
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

export function deviceStatus(): Implementation[] {
  let usage = 0;
  let before = processorTimes();
  return [
    bind(MemoryStatus, {
      get: { Total: () => Math.floor(totalmem() / 1024), Free: () => Math.floor(freemem() / 1024) },
    }),
    bind(ProcessStatus, {
      get: {
        CPUUsage: () => {
          const now = processorTimes();
          // Ticks are hundredths of a second: asked twice at once, it says the same.
          if (now.all - before.all >= MIN_SPAN_MS) {
            usage = Math.round((100 * (now.busy - before.busy)) / (now.all - before.all));
            before = now;
          }
          return Math.min(Math.max(usage, 0), 100);
        },
      },
    }),
  ];
}

const MIN_SPAN_MS = 200;

/** Milliseconds since the start of the machine, of all processors together. */
function processorTimes(): { readonly busy: number; readonly all: number } {
  let all = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    for (const ms of Object.values(times)) all += ms;
    idle += times.idle;
  }
  return { busy: all - idle, all };
}
