/** Options of how rules are enforced. */
import { parseAddress } from "../lib/address.ts";
import { RESIDENT_PORTS } from "../lib/resident-ports.ts";
import { oneOf, many, type ValuesOf } from "./option.ts";

const isAddressAndPort = (value: string) => {
  const [address, port, ...rest] = value.split(" ");
  if (address === undefined || port === undefined || rest.length > 0 || !/^[1-9]\d{0,4}$/.test(port)) return false;
  return Number(port) <= 65_535 && parseAddress(address) !== undefined;
};

export const enforceOptions = {
  backend: oneOf(
    "How rules reach the kernel; auto: the helper if it works, else nft, else not at all.",
    "auto",
    "auto",
    "helper",
    "nft",
    "none",
  ),
  management: many(
    "Address and port that no rule may cut, besides the configured brokers, as their names resolve at the start: `192.0.2.1 443`.",
    isAddressAndPort,
    "an address and a port from 1 to 65535",
  ),
  resident_port: many(
    `TCP port of the gateway that no rule closes to a device; none: ${RESIDENT_PORTS.join(", ")}; \`0\`: no port.`,
    (value) => /^\d{1,5}$/.test(value) && Number(value) <= 65535,
    "a port, or 0",
  ),
} as const;

export type EnforceConfig = ValuesOf<typeof enforceOptions>;
