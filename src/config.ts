/**
 * The configuration: a file in UCI syntax → a frozen, typed value. Every option, its meaning and its default stands in
 * the tables of config/, from which the manual prints its chapter. What controllers may change is only seeded from here, at
 * the first start; the state directory knows the rest.
 */
import { agentOptions, type AgentConfig } from "./config/agent.ts";
import { bulkDataOptions, type BulkDataConfig } from "./config/bulk-data.ts";
import { captureOptions, type CaptureConfig } from "./config/capture.ts";
import { controllerOptions, type ControllerConfig } from "./config/controller.ts";
import { flowLogOptions, type FlowLogConfig } from "./config/flow-log.ts";
import { enforceOptions, type EnforceConfig } from "./config/enforce.ts";
import { listFault, listOptions, type ListConfig } from "./config/list.ts";
import { localBrokerFault, localBrokerOptions, type LocalBrokerConfig } from "./config/local-broker.ts";
import { mqttOptions, type MqttConfig } from "./config/mqtt.ts";
import { noticeFault, noticeOptions, type NoticeConfig } from "./config/notice.ts";
import { isLoopback, type Options, type ValuesOf } from "./config/option.ts";
import { sessionFault } from "./config/session.ts";
import { stompFault, stompOptions, stompRouteFault, stompTwins, type StompConfig } from "./config/stomp.ts";
import { completeService, serviceOptions, type ServiceConfig } from "./config/service.ts";
import { completeSockets, endpointFault, socketFault, socketOptions, type SocketConfig } from "./config/socket.ts";
import { spin1Fault, spin1Options, type Spin1Config } from "./config/spin1.ts";
import { webSocketDialFault, webSocketFault, webSocketOptions, type WebSocketConfig } from "./config/websocket.ts";
import { parseUci, UciError, type UciSection } from "./lib/uci.ts";

export interface Config {
  readonly agent: AgentConfig;
  readonly mqtt: readonly MqttConfig[];
  readonly stomp: readonly StompConfig[];
  readonly websockets: readonly WebSocketConfig[];
  readonly sockets: readonly SocketConfig[];
  readonly service: ServiceConfig;
  readonly controllers: readonly ControllerConfig[];
  readonly capture: CaptureConfig;
  readonly flowLog: FlowLogConfig;
  readonly enforce: EnforceConfig;
  readonly bulkData: BulkDataConfig;
  readonly lists: readonly ListConfig[];
  readonly localBroker: LocalBrokerConfig;
  readonly notice: NoticeConfig;
  readonly spin1: Spin1Config;
}

/** Says option, value and line, in words for whoever wrote the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

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
  stomp: {
    options: stompOptions,
    named: true,
    description: "A STOMP broker. Seeds a row of Device.STOMP.Connection and of LocalAgent.MTP.",
  },
  websocket: {
    options: webSocketOptions,
    named: true,
    description: "A port for controllers that come by WebSocket. Seeds a row of LocalAgent.MTP.",
  },
  socket: {
    options: socketOptions,
    named: true,
    description:
      "A local door: a Unix socket for controllers of one role, who are known by it. Without one of role Resident there is one of name `resident` for root.",
  },
  service: {
    options: serviceOptions,
    named: false,
    description: "The agent as a USP Service, behind the USP Broker of the device's own agent.",
  },
  controller: {
    options: controllerOptions,
    named: true,
    description: "A controller. Seeds a row of LocalAgent.Controller.",
  },
  capture: { options: captureOptions, named: false, description: "What is observed, and how." },
  flow_log: {
    options: flowLogOptions,
    named: false,
    description: "What has been: flows, questions to DNS and what was blocked.",
  },
  enforce: { options: enforceOptions, named: false, description: "How rules are enforced." },
  list: {
    options: listOptions,
    named: true,
    description:
      "A list of addresses and names that the firmware brings. Its name is the Alias of its row in Device.X_SPIN.List, which follows the file at each start.",
  },
  bulk_data: { options: bulkDataOptions, named: false, description: "Reports to collectors: `Device.BulkData.`." },
  notice: {
    options: noticeOptions,
    named: false,
    description: "What the resident is told, and where. Off as shipped.",
  },
  local_broker: {
    options: localBrokerOptions,
    named: false,
    description:
      "A broker inside the home, for notices to the resident and for SPIN's own topics; never for controllers.",
  },
  spin1: {
    options: spin1Options,
    named: false,
    description: "SPIN 1.0's own interfaces, for tools that were made for it. Off as shipped.",
  },
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
    stomp: named("stomp", stompOptions),
    websockets: named("websocket", webSocketOptions),
    sockets: completeSockets(named("socket", socketOptions)),
    service: completeService(single("service", serviceOptions)),
    controllers: named("controller", controllerOptions),
    capture: single("capture", captureOptions),
    flowLog: single("flow_log", flowLogOptions),
    enforce: single("enforce", enforceOptions),
    bulkData: single("bulk_data", bulkDataOptions),
    lists: named("list", listOptions),
    localBroker: single("local_broker", localBrokerOptions),
    notice: single("notice", noticeOptions),
    spin1: single("spin1", spin1Options),
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

function checkTogether(config: Config): void {
  const { agent, mqtt, stomp, websockets, controllers, sockets, service, lists, localBroker, notice, spin1 } = config;
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
  const ports = new Set(websockets.map(({ name }) => name));
  for (const fault of [
    socketFault(sockets, service.enable ? [service.broker] : []),
    endpointFault(
      [...sockets.filter(({ enable }) => enable), ...(service.enable ? [{ ...service, name: "service" }] : [])],
      controllers,
    ),
    ...stomp.map(stompFault),
    ...lists.map(listFault),
    localBrokerFault(localBroker),
    noticeFault(notice, localBroker),
    spin1Fault(
      spin1,
      localBroker,
      sockets.some(({ enable, role }) => enable && role === "Resident"),
    ),
    stompTwins(stomp),
    sessionFault(agent, controllers),
    ...controllers.map((each) => stompRouteFault(each, stomp)),
    ...websockets.map(webSocketFault),
    ...controllers.map((each) => webSocketDialFault(each, { allowPlaintext: each.allow_plaintext, sections: ports })),
  ])
    if (fault !== undefined) throw new ConfigError(fault);
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

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value))
    if (typeof member === "object" && member !== null) deepFreeze(member as object);
  return Object.freeze(value);
}
