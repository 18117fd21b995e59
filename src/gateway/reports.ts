/** Bulk data of the gateway: its objects before the tree stands, what makes reports once the agent does. */
import { readFileSync } from "node:fs";
import type { Config } from "../config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import type { Tree } from "../model/tree.ts";
import { bulkDataObjects } from "../objects/bulk-data.ts";
import type { MqttStates } from "../objects/mqtt-states.ts";
import type { Agent } from "../usp/agent.ts";
import { BulkData } from "../usp/bulk-data/bulk-data.ts";
import type { HttpPolicy } from "../usp/bulk-data/http.ts";
import { BulkDataStates } from "../usp/bulk-data/state.ts";
import type { GatewayIdentity } from "./identity.ts";
import { mqttPublisher } from "./mqtt-publisher.ts";

export interface ReportsContext {
  readonly tree: Tree;
  readonly agent: Agent;
  readonly identity: GatewayIdentity;
  readonly mqttStates: MqttStates;
  readonly clock: Clock;
  readonly log: Log;
}

export class Reports {
  readonly objects: readonly Implementation[];
  readonly #config: Config;
  readonly #states = new BulkDataStates();
  #bulkData: BulkData | undefined;

  constructor(config: Config, persistence: Persistence) {
    this.#config = config;
    this.objects = bulkDataObjects({
      persistence,
      states: this.#states,
      minInterval: config.bulkData.min_interval,
      force: (profile) => this.#bulkData?.force(profile),
    });
  }

  /** Call once. */
  over({ tree, agent, identity, mqttStates, clock, log }: ReportsContext): BulkData {
    const config = this.#config;
    this.#bulkData = new BulkData({
      tree,
      clock,
      log,
      random: Math.random,
      identity: () => identity,
      viewOf: (owner, at) => agent.viewOf(owner, at),
      reaches: (owner) => agent.reaches(owner),
      publish: mqttPublisher({ tree, endpointId: identity.endpointId, config, mqttStates }),
      http: () => httpPolicy(config),
      reportBytes: config.agent.max_message_size,
      states: this.#states,
    });
    return this.#bulkData;
  }
}

function httpPolicy({ bulkData }: Config): HttpPolicy {
  const { allow_plaintext, allow_local, ca_file } = bulkData;
  return {
    allowPlaintext: allow_plaintext,
    allowLocal: allow_local,
    ...(ca_file === "" ? {} : { ca: readFile(ca_file) }),
  };
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`option ca_file: ${(error as Error).message}`, { cause: error });
  }
}
