/** `Device.Hosts.`: the devices of the home as the standard model has them. */
import { Host, HostIPv4Address, HostIPv6Address, Hosts, HostWANStats } from "../../datamodel/hosts.ts";
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { parseMac } from "../lib/address.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { keysOf, type Tree } from "../model/tree.ts";
import type { Home, HomeDevice } from "../spin/types.ts";

const TABLE = "Device.Hosts.Host.";
const MAX_HOST_NAME = 64;

/** Path of a device's row, without final dot. */
export const hostPath = ({ number }: HomeDevice) => `${TABLE}${number}`;

export function hostObjects(home: Home): Implementation[] {
  const numbers = new AddressNumbers();
  const addresses = (device: HomeDevice, family: 4 | 6) =>
    numbers.of(device, family, family === 4 ? device.ipv4Addresses : device.ipv6Addresses);
  const addressTable = (family: 4 | 6) =>
    bind(family === 4 ? HostIPv4Address : HostIPv6Address, {
      rows: {
        instances: (device: HomeDevice) => addresses(device, family).keys(),
        row: (device: HomeDevice, instance: number): string | undefined => addresses(device, family).get(instance),
      },
      get: { IPAddress: (address: string) => address },
    });
  return [
    bind(Hosts, { get: {} }),
    bind(Host, {
      rows: {
        instances: function* (_parent: unknown) {
          for (const { number } of home.devices()) yield number;
        },
        row: (_parent: unknown, instance: number) => home.device(instance),
        find: (_parent: unknown, _param: string, value: unknown) => {
          const mac = parseMac(String(value));
          return mac === undefined ? undefined : home.deviceByMac(mac)?.number;
        },
      },
      get: {
        PhysAddress: (device) => device.physAddress,
        IPAddress: (device) => device.ipv4Addresses[0] ?? device.ipv6Addresses[0] ?? "",
        DHCPClient: () => [],
        AssociatedDevice: () => "",
        Layer1Interface: () => "",
        Layer3Interface: () => "",
        HostName: (device) => device.hostName.slice(0, MAX_HOST_NAME).replace(/[\uD800-\uDBFF]$/, ""),
        Active: (device) => device.active,
        ActiveLastChange: (device) => device.activeChanged || UNKNOWN_TIME,
      },
    }),
    addressTable(4),
    addressTable(6),
    bind(HostWANStats, {
      of: ({ stats }: HomeDevice) => stats,
      get: {
        BytesSent: (stats) => stats.bytesSent,
        BytesReceived: (stats) => stats.bytesReceived,
        PacketsSent: (stats) => stats.packetsSent,
        PacketsReceived: (stats) => stats.packetsReceived,
      },
    }),
  ];
}

/** From SPIN's notices to changes of the table. Returns what ends it. */
export function tellHosts(home: Home, tree: Tree): () => void {
  const { changes } = tree;
  return home.subscribe((notice) => {
    if (notice.kind === "device-added") {
      const path = `${hostPath(notice.device)}.`;
      const node = tree.at(path);
      if (node) changes.emit({ kind: "created", path, supportedPath: Host.path, keys: keysOf(node) });
    } else if (notice.kind === "device-removed")
      changes.emit({ kind: "deleted", path: `${hostPath(notice.device)}.`, supportedPath: Host.path });
    else if (notice.kind === "device-changed") {
      const names = CHANGES[notice.field];
      if (names) changes.value(`${hostPath(notice.device)}.`, ...names);
      return;
    } else return;
    changes.value("Device.Hosts.", "HostNumberOfEntries");
  });
}

const CHANGES: { readonly [field: string]: readonly string[] } = {
  HostName: ["HostName"],
  Active: ["Active", "ActiveLastChange"],
  IPv4Address: ["IPAddress", "IPv4AddressNumberOfEntries"],
  IPv6Address: ["IPAddress", "IPv6AddressNumberOfEntries"],
};

/** Instance numbers of addresses: each keeps its own while its device has it, and none is given twice. */
class AddressNumbers {
  readonly #tables = new WeakMap<HomeDevice, Record<4 | 6, { next: number; rows: Map<number, string> }>>();

  /** Number → address, ascending. */
  of(device: HomeDevice, family: 4 | 6, addresses: readonly string[]): ReadonlyMap<number, string> {
    let tables = this.#tables.get(device);
    if (!tables)
      this.#tables.set(device, (tables = { 4: { next: 1, rows: new Map() }, 6: { next: 1, rows: new Map() } }));
    const table = tables[family];
    for (const [number, address] of table.rows) if (!addresses.includes(address)) table.rows.delete(number);
    const known = new Set(table.rows.values());
    for (const address of addresses) if (!known.has(address)) table.rows.set(table.next++, address);
    return table.rows;
  }
}
