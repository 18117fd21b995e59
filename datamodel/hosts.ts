/** TR-181 2.19: the hosts of the LAN, for controllers that know the standard model alone. Absent where we are a USP Service. */
import { counter, object, readOnly } from "./schema.ts";
import { ipAddress } from "./types.ts";
import { boolean, dateTime, list, statsCounter64, string } from "./values.ts";

const HOST = "Device.Hosts.Host.{i}.";
/** Of objects that we do not have: always empty. */
const absent = (what: string) =>
  readOnly(string({ maxLength: 256 }), `Row of ${what}, which this model does not have: empty.`);
const ofFamily = (family: 4 | 6) => ({
  ...ipAddress,
  facets: { ...ipAddress.facets, dataType: `IPv${family}Address` },
});

export const Hosts = object("Device.Hosts.", { description: "The hosts of the LAN." });

export const Host = object(HOST, {
  description: "A host: the same device as the row of Device.X_SPIN.Device.{i}. with the same instance number.",
  functionalKeys: [["PhysAddress"]],
  params: {
    PhysAddress: readOnly(string({ maxLength: 64 }), "Hardware address."),
    IPAddress: readOnly(ipAddress, "The address confirmed last, IPv4 before IPv6; empty: none is known."),
    DHCPClient: readOnly(list(string()), "Rows of DHCP clients, which this model does not have: empty."),
    AssociatedDevice: absent("the Wi-Fi station"),
    Layer1Interface: absent("the physical interface"),
    Layer3Interface: absent("the IP interface"),
    HostName: readOnly(string({ maxLength: 64 }), "As Device.X_SPIN.Device.{i}.HostName, cut to its length."),
    Active: readOnly(boolean, "It sent something by itself in the last 5 minutes."),
    ActiveLastChange: readOnly(dateTime, "When Active last changed; unknown where it has not since the host is known."),
  },
});

export const HostIPv4Address = object(`${HOST}IPv4Address.{i}.`, {
  description: "An IPv4 address of the host. Its instance number is the address's until a restart.",
  functionalKeys: [["IPAddress"]],
  params: { IPAddress: readOnly(ofFamily(4), "The address.") },
});

export const HostIPv6Address = object(`${HOST}IPv6Address.{i}.`, {
  description: "An IPv6 address of the host. Its instance number is the address's until a restart.",
  functionalKeys: [["IPAddress"]],
  params: { IPAddress: readOnly(ofFamily(6), "The address.") },
});

export const HostWANStats = object(`${HOST}WANStats.`, {
  description: "What the host moved to and from the Internet since it was first seen. IP header included.",
  params: {
    BytesSent: counter(statsCounter64, "Towards the Internet."),
    BytesReceived: counter(statsCounter64, "From the Internet."),
    PacketsSent: counter(statsCounter64, "Towards the Internet."),
    PacketsReceived: counter(statsCounter64, "From the Internet."),
  },
});
