/** Options of the agent itself. */
import type { Level } from "../lib/log.ts";
import { argv, bool, file, many, text, endpointId, number, oneOf, type ValuesOf } from "./option.ts";
import { agentSessionOptions } from "./session.ts";

export const agentOptions = {
  endpoint_id: endpointId(
    "The agent's endpoint id; empty: `os::OUI-SERIAL` from the two below, or `self::spin-usp` as a USP Service. `USP_ENDPOINT_ID` in the environment counts over it.",
    "",
  ),
  oui: text("Maker's OUI, six hex digits.", "", /^(?:[0-9A-Fa-f]{6})?$/),
  serial_number: text(
    "Serial number; empty: from the hardware address of the first LAN interface.",
    "",
    /^[A-Za-z0-9._-]{0,64}$/,
  ),
  product_class: text("Product class.", "spin-usp", /^.{0,64}$/),
  manufacturer: text("Maker of the gateway.", "", /^.{0,64}$/),
  model: text("Model of the gateway.", "", /^.{0,64}$/),
  hardware_version: text("Hardware version.", "", /^.{0,64}$/),
  software_version: text("Version of the firmware; empty: that of spin-usp.", "", /^.{0,64}$/),
  state_dir: text("Where everything that must outlive a restart is kept.", "/var/lib/spin-usp", /^\/.+$/),
  log_level: oneOf<Level>("How much is logged.", "info", "error", "warn", "info", "debug"),
  authority: oneOf("Who wins where resident and operator both made a rule.", "Resident", "Resident", "Operator"),
  privacy_level: oneOf(
    "What controllers may see, until one changes it.",
    "Devices",
    "Summary",
    "Devices",
    "Destinations",
  ),
  privacy_ceiling: oneOf(
    "The most that may be shown, until the resident changes it.",
    "Devices",
    "Summary",
    "Devices",
    "Destinations",
  ),
  timezone: text(
    "Name of the home's time zone in the IANA database, such as `Europe/Amsterdam`, by which schedules go; empty: the `zonename` of /etc/config/system where there is one, else that of the process (`TZ`, /etc/localtime).",
    "",
    /^[A-Za-z0-9_+/-]{0,64}$/,
  ),
  max_message_size: number(
    "Largest answer in bytes; a Get that would exceed it is answered 7005 for that path.",
    1_000_000,
    10_000,
    16_000_000,
  ),
  ...agentSessionOptions,
  crl_file: many(
    "PEM files of revocation lists, for all connections: a certificate that one of them names is refused.",
    (path) => path.startsWith("/"),
    "absolute paths",
  ),
  tofu: bool(
    "Whether controllers that are not known may come, by TLS with a certificate of their own, or by a trusted broker, as far as the role Untrusted goes; until a controller changes TOFUAllowed.",
    false,
  ),
  challenge_file: file("File of a passphrase by which a controller that came so gets a role; empty: none."),
  challenge_role: oneOf("That role.", "Operator", "Monitor", "Operator", "Support", "Admin"),
  mdns_interface: many(
    "Interface of the home's side on which the agent's WebSocket ports are told by mDNS, as far as the row's EnableMDNS goes; none: they are not.",
    (value) => /^[A-Za-z0-9_.@-]{1,15}$/.test(value),
    "the name of an interface",
  ),
  discovery_file: file(
    "File in which the DHCP client leaves option 125 or 17 (`opt125=HEX`, `OPTION_17=HEX`), looked at every ten seconds; empty: none. The controller that it names is dialled by WebSocket with TLS and has no rights but those of UntrustedRole and of its certificate.",
  ),
  reboot_command: argv(
    "Program, and its arguments one by one, that restarts the gateway; none: there is no `Device.Reboot()`. Run without a shell, as the agent's user.",
  ),
  factory_reset_command: argv(
    "The same for `Device.FactoryReset()`; it has to restart the gateway too. Whatever it leaves of the state directory is forgotten at the next start, but for the identity.",
  ),
} as const;

export type AgentConfig = ValuesOf<typeof agentOptions>;
