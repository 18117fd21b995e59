/** Options of what is observed. */
import { file, bool, number, many, type ValuesOf } from "./option.ts";

const interfaceName = (value: string) => /^[A-Za-z0-9_.@-]{1,15}$/.test(value);

export const captureOptions = {
  enable: bool("Observe traffic. Without it no rule is brought into force after a start.", true),
  interface: many("LAN interface; none: found from routes and bridges.", interfaceName, "the name of an interface"),
  counter_interval: number("Seconds that a counter may be old.", 5, 1, 60),
  leases: many(
    "File of DHCP leases, of dnsmasq or odhcpd; none: where they usually are.",
    (value) => value.startsWith("/"),
    "an absolute path",
  ),
  helper: file("Program that speaks netfilter; empty: where it was installed; `none`: do without.", "none"),
} as const;

export type CaptureConfig = ValuesOf<typeof captureOptions>;
