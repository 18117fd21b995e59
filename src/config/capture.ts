/** Options of what is observed. */
import { SOCKET_FOLDER } from "../lib/resident-socket.ts";
import { file, bool, number, many, text, type ValuesOf } from "./option.ts";

const interfaceName = (value: string) => /^[A-Za-z0-9_.@-]{1,15}$/.test(value);

export const captureOptions = {
  enable: bool("Observe traffic. Without it no rule is brought into force after a start.", true),
  interface: many("LAN interface; none: found from routes and bridges.", interfaceName, "the name of an interface"),
  counter_interval: number("Seconds that a counter may be old.", 5, 1, 60),
  frames: bool("Read what devices tell the LAN by ARP, DHCP, mDNS and LLDP; needs CAP_NET_RAW for the helper.", true),
  hosts: bool("Read the names of devices in /etc/hosts and /etc/ethers.", true),
  leases: many(
    "File of DHCP leases, of dnsmasq or odhcpd; none: where they usually are.",
    (value) => value.startsWith("/"),
    "an absolute path",
  ),
  forget_devices_after: number(
    "Days of silence after which a device is forgotten, unless it has a name or a rule; 0: never.",
    35,
    0,
    3650,
  ),
  folder: text(
    "Where captures are kept that are made without a target, until a day has passed or the agent stops.",
    `${SOCKET_FOLDER}/captures`,
    /^\/.+$/,
  ),
  helper: file("Program that speaks netfilter; empty: where it was installed; `none`: do without.", "none"),
} as const;

export type CaptureConfig = ValuesOf<typeof captureOptions>;
