/** A controller over MQTT, with the topics of a preset. */
import type { MqttInfo, MqttOptions } from "../mtp/mqtt-options.ts";
import { TOPIC_PRESETS, topicOf, type TopicPresetName } from "../lib/topics.ts";
import { Controller, type ControllerOptions } from "./controller.ts";

export interface ConnectOptions extends Omit<ControllerOptions, "agentTopic"> {
  readonly mqtt: Omit<MqttOptions, "endpointId" | "responseTopic" | "subscriptions">;
  /** Default `spin`: `usp/v1/agent/{eid}` and `usp/v1/controller/{ceid}`. */
  readonly preset?: TopicPresetName;
  /** Over the preset's; `{eid}` and `{ceid}` stand for the endpoint ids. */
  readonly agentTopic?: string;
  /** Where answers and notifications come, over the preset's. */
  readonly controllerTopic?: string;
  /** Of the agent itself, without a broker: `wss://192.0.2.1:8443/usp`. `connectByUrl` takes it. */
  readonly url?: string;
}

export interface UrlOptions extends ConnectOptions {
  readonly url: string;
}

/**
 * Connects and subscribes. Without a controller topic of its own, answers come to one below the preset's, so that several
 * controllers of one name do not read each other's.
 * @throws MtpError
 */
export async function connectController(
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<{ controller: Controller; info: MqttInfo }> {
  const preset = TOPIC_PRESETS[options.preset ?? "spin"];
  const ids = { eid: options.agentId, ceid: options.controllerId };
  const agentTopic = topicOf(options.agentTopic ?? preset.agent, ids);
  const topic = topicOf(options.controllerTopic ?? preset.controller, ids);
  const own = globalThis.crypto.randomUUID().slice(0, 8);
  const isV5 = options.mqtt.version === "5";
  const qos = options.mqtt.publishQos ?? 0;
  const { connectMqtt } = await import("../mtp/mqtt.ts");
  const { link, info } = await connectMqtt(
    {
      // A 3.1.1 client without an id of its own would take its endpoint id, and end the other one of that name.
      ...(isV5 ? {} : { clientId: `spin-ctl-${own}` }),
      ...options.mqtt,
      endpointId: options.controllerId,
      subscriptions: [{ topic: isV5 ? topic : `${topic}/#`, qos }],
      responseTopic: options.controllerTopic === undefined ? `${topic}/${own}` : topic,
      limits: { recordBytes: 32 << 20, incomingBytes: 64 << 20, ...options.mqtt.limits },
    },
    signal,
  );
  return { controller: new Controller(link, { ...options, agentTopic }), info };
}
