/**
 * The configuration: a file in UCI syntax → a frozen, typed value. Every option, its meaning and its default stands in
 * the tables below, from which the manual prints its chapter. What controllers may change is only seeded from here, at
 * the first start; the state directory knows the rest.
 */
import { isIPv4, parseAddress } from "./lib/address.ts";
import { endpointIdFault } from "./lib/endpoint-id.ts";
import { parseUci, UciError, type UciSection } from "./lib/uci.ts";
import type { Level } from "./lib/log.ts";
import { RESIDENT_PORTS } from "./lib/resident-ports.ts";

export interface Config {
  readonly agent: AgentConfig;
  readonly mqtt: readonly MqttConfig[];
  readonly controllers: readonly ControllerConfig[];
  readonly capture: CaptureConfig;
  readonly enforce: EnforceConfig;
}

export type AgentConfig = ValuesOf<typeof agentOptions>;
export type MqttConfig = ValuesOf<typeof mqttOptions> & { readonly name: string };
export type ControllerConfig = ValuesOf<typeof controllerOptions> & { readonly name: string };
export type CaptureConfig = ValuesOf<typeof captureOptions>;
export type EnforceConfig = ValuesOf<typeof enforceOptions>;

/** Says option, value and line, in words for whoever wrote the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

interface Option<T> {
  readonly description: string;
  readonly default: T | undefined;
  readonly isList: boolean;
  /** Throws Error saying what the value should be. */
  parse(values: readonly string[]): T;
}

type Options = Readonly<Record<string, Option<unknown>>>;
type ValuesOf<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

const one = <T>(description: string, fallback: T | undefined, parse: (text: string) => T): Option<T> => ({
  description,
  default: fallback,
  isList: false,
  parse: ([value]) => parse(value as string),
});

const text = (description: string, fallback?: string, pattern = /^.{0,4096}$/) =>
  one(description, fallback, (value) => {
    if (/\p{Cc}/u.test(value)) throw new Error("must not hold control characters");
    if (!pattern.test(value)) throw new Error(`must match ${String(pattern)}`);
    return value;
  });

/** Of a file: empty where none is meant, `words` that mean something else. */
const file = (description: string, ...words: string[]) =>
  one(description, "", (value) => {
    if (value !== "" && !words.includes(value) && !/^\/[^\p{Cc}]*$/u.test(value))
      throw new Error(`must be ${[...words, "an absolute path"].join(" or ")}`);
    return value;
  });

/** One that can be published to. */
const topic = (description: string) =>
  one(description, "", (value) => {
    if (/[#+\p{Cc}]/u.test(value) || Buffer.byteLength(value) > 65_535)
      throw new Error("must be a topic without wildcards # and +");
    return value;
  });

const endpointId = (description: string, fallback?: string) =>
  one(description, fallback, (value) => {
    const fault = value === "" ? undefined : endpointIdFault(value);
    if (fault !== undefined) throw new Error(`must be an endpoint id: ${fault}`);
    if (value === "" && fallback === undefined) throw new Error("must not be empty");
    return value;
  });

const isAddressAndPort = (value: string) => {
  const [address, port, ...rest] = value.split(" ");
  if (address === undefined || port === undefined || rest.length > 0 || !/^[1-9]\d{0,4}$/.test(port)) return false;
  return Number(port) <= 65_535 && parseAddress(address) !== undefined;
};

const bool = (description: string, fallback: boolean) =>
  one(description, fallback, (value) => {
    if (/^(?:1|true|yes|on|enabled)$/.test(value)) return true;
    if (/^(?:0|false|no|off|disabled)$/.test(value)) return false;
    throw new Error("must be 1 or 0");
  });

const number = (description: string, fallback: number, min: number, max: number) =>
  one(description, fallback, (value) => {
    if (!/^\d{1,10}$/.test(value) || Number(value) < min || Number(value) > max)
      throw new Error(`must be a number from ${min} to ${max}`);
    return Number(value);
  });

const oneOf = <const V extends string>(description: string, fallback: V, ...values: V[]): Option<V> =>
  one<V>(description, fallback, (value) => {
    if (!values.includes(value as V)) throw new Error(`must be one of ${values.join(", ")}`);
    return value as V;
  });

const many = (description: string, check: (value: string) => boolean, what: string): Option<readonly string[]> => ({
  description,
  default: [],
  isList: true,
  parse: (values) => {
    for (const value of values) if (!check(value)) throw new Error(`must be ${what}`);
    return values;
  },
});

const interfaceName = (value: string) => /^[A-Za-z0-9_.@-]{1,15}$/.test(value);

export const agentOptions = {
  endpoint_id: endpointId("The agent's endpoint id; empty: `os::OUI-SERIAL` from the two below.", ""),
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
  max_message_size: number(
    "Largest answer in bytes; a Get that would exceed it is answered 7005 for that path.",
    1_000_000,
    10_000,
    16_000_000,
  ),
} as const;

export const mqttOptions = {
  host: one("Name or address of the broker.", undefined, (value) => {
    const isAddress = value.includes(":") || /^[\d.]+$/.test(value);
    if (!/^[A-Za-z0-9._:-]{1,255}$/.test(value) || (isAddress && parseAddress(value) === undefined))
      throw new Error("must be a name or an address");
    return value;
  }),
  port: number("Port; 0: 8883 with TLS, 1883 without.", 0, 0, 65535),
  version: oneOf("MQTT version.", "5.0", "5.0", "3.1.1"),
  tls: bool("Use TLS.", true),
  allow_plaintext: bool("Permit a connection without TLS to a broker beyond this machine.", false),
  ca_file: file("PEM file of the trusted authorities; empty: the system's."),
  cert_file: file("PEM file of the client certificate."),
  key_file: file("PEM file of its key."),
  username: text("User name.", "", /^.{0,256}$/),
  password_file: file("File that holds the password, readable by the agent alone."),
  client_id: text("Client id; empty: the broker's choice (5.0), the endpoint id (3.1.1).", ""),
  topic: topic("Where controllers send to the agent; empty: `usp/v1/agent/ENDPOINT-ID`."),
  qos: number(
    "QoS of what the agent sends. At 1, a mosquitto without `set_tcp_nodelay true` adds 40 ms to each answer.",
    0,
    0,
    2,
  ),
  keepalive: number("Seconds between keep-alives; 0: none.", 60, 0, 65535),
} as const;

export const controllerOptions = {
  endpoint_id: endpointId("The controller's endpoint id."),
  enable: bool("Whether its Messages are taken.", true),
  role: oneOf("What it may do.", "Operator", "Monitor", "Operator", "Support", "Admin", "Resident", "Untrusted"),
  mqtt: text("Name of the `mqtt` section by which it is reached.", ""),
  topic: topic("Topic for what answers no request: notifications; empty: `usp/v1/controller/ENDPOINT-ID`."),
  secured: bool("Put its role into SecuredRoles: it may read secured values, within PrivacyLevel.", false),
  periodic_interval: number("Seconds between Periodic! events.", 86400, 1, 4294967295),
} as const;

export const captureOptions = {
  enable: bool("Observe traffic.", true),
  interface: many("LAN interface; none: found from routes and bridges.", interfaceName, "the name of an interface"),
  counter_interval: number("Seconds that a counter may be old.", 5, 1, 60),
  leases: many(
    "File of DHCP leases, of dnsmasq or odhcpd; none: where they usually are.",
    (value) => value.startsWith("/"),
    "an absolute path",
  ),
  helper: file("Program that speaks netfilter; empty: where it was installed; `none`: do without.", "none"),
} as const;

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

/** The sections in the order of the manual. `named` ones may appear several times. */
export const sections: Readonly<
  Record<string, { readonly options: Options; readonly named: boolean; readonly description: string }>
> = {
  agent: { options: agentOptions, named: false, description: "The agent itself." },
  mqtt: {
    options: mqttOptions,
    named: true,
    description: "A broker. Seeds a row of Device.MQTT.Client and of LocalAgent.MTP.",
  },
  controller: {
    options: controllerOptions,
    named: true,
    description: "A controller. Seeds a row of LocalAgent.Controller.",
  },
  capture: { options: captureOptions, named: false, description: "What is observed, and how." },
  enforce: { options: enforceOptions, named: false, description: "How rules are enforced." },
};

/** @throws ConfigError naming option, value and line */
export function parseConfig(source: string): Config {
  const parsed = readSections(source);
  const single = <O extends Options>(type: string, options: O) => {
    const found = parsed.filter((section) => section.type === type);
    if (found.length > 1) throw new ConfigError(`line ${found[1]?.line}: there may be only one ${type} section`);
    return readOptions(found[0] ?? { type, name: "", line: 0, options: new Map() }, options);
  };
  const named = <O extends Options>(type: string, options: O) => {
    const names = new Set<string>();
    return parsed
      .filter((section) => section.type === type)
      .map((section) => {
        const name = section.name === "" ? `${type}${names.size + 1}` : section.name;
        if (names.has(name)) throw new ConfigError(`line ${section.line}: a second ${type} is named '${name}'`);
        names.add(name);
        return { name, ...readOptions(section, options) };
      });
  };
  const config: Config = {
    agent: single("agent", agentOptions),
    mqtt: named("mqtt", mqttOptions),
    controllers: named("controller", controllerOptions),
    capture: single("capture", captureOptions),
    enforce: single("enforce", enforceOptions),
  };
  checkTogether(config);
  return deepFreeze(config);
}

function readSections(source: string): UciSection[] {
  try {
    const parsed = parseUci(source);
    for (const { type, line } of parsed)
      if (!Object.hasOwn(sections, type))
        throw new ConfigError(
          `line ${line}: there is no section ${type}; known are ${Object.keys(sections).join(", ")}`,
        );
    return parsed;
  } catch (error) {
    if (error instanceof UciError) throw new ConfigError(error.message);
    throw error;
  }
}

function readOptions<O extends Options>(section: UciSection, options: O): ValuesOf<O> {
  for (const [name, { line }] of section.options)
    if (!Object.hasOwn(options, name))
      throw new ConfigError(
        `line ${line}: ${section.type} has no option ${name}; known are ${Object.keys(options).join(", ")}`,
      );
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const given = section.options.get(name);
    if (!given) {
      if (option.default === undefined)
        throw new ConfigError(`line ${section.line}: ${section.type} '${section.name}' needs option ${name}`);
      values[name] = option.default;
      continue;
    }
    if (given.isList && !option.isList) throw new ConfigError(`line ${given.line}: ${name} is an option, not a list`);
    try {
      values[name] = option.parse(given.values);
    } catch (error) {
      const shown = given.values.map((value) => JSON.stringify(value.slice(0, 80))).join(", ");
      throw new ConfigError(
        `line ${given.line}: ${section.type} option ${name} is ${shown}; it ${(error as Error).message}`,
      );
    }
  }
  return values as ValuesOf<O>;
}

function checkTogether({ agent, mqtt, controllers }: Config): void {
  const levels = ["Summary", "Devices", "Destinations"];
  if (levels.indexOf(agent.privacy_level) > levels.indexOf(agent.privacy_ceiling))
    throw new ConfigError(
      `agent option privacy_level is "${agent.privacy_level}", above privacy_ceiling "${agent.privacy_ceiling}"`,
    );
  const brokers = new Set(mqtt.map(({ name }) => name));
  for (const { name, host, tls, allow_plaintext, cert_file, key_file } of mqtt) {
    if (!tls && !allow_plaintext && !isLoopback(host))
      throw new ConfigError(
        `mqtt '${name}' option tls is "0" and host is "${host}", beyond this machine: set option allow_plaintext '1' to permit it`,
      );
    if ((cert_file === "") !== (key_file === ""))
      throw new ConfigError(`mqtt '${name}' needs both of cert_file and key_file, or none`);
  }
  const ids = new Set<string>();
  for (const { name, mqtt: broker, endpoint_id, role } of controllers) {
    if (broker !== "" && role === "Resident")
      throw new ConfigError(
        `controller '${name}' option role is "Resident", which counts only at the home's own door, not by MQTT: use another, or no option mqtt`,
      );
    if (broker !== "" && !brokers.has(broker))
      throw new ConfigError(`controller '${name}' option mqtt is "${broker}", but there is no such mqtt section`);
    if (ids.has(endpoint_id))
      throw new ConfigError(`controller '${name}' option endpoint_id is "${endpoint_id}", as another's is`);
    ids.add(endpoint_id);
  }
}

export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const words = parseAddress(host);
  if (!words) return false;
  return isIPv4(words) ? (words[3] as number) >>> 24 === 127 : !words[0] && !words[1] && !words[2] && words[3] === 1;
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value))
    if (typeof member === "object" && member !== null) deepFreeze(member as object);
  return Object.freeze(value);
}
