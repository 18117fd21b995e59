/** A controller over STOMP. */
import { connectStomp } from "../mtp/stomp.ts";
import {
  AGENT_DESTINATION,
  CONTROLLER_DESTINATION,
  destinationOf,
  type StompInfo,
  type StompOptions,
} from "../mtp/stomp-options.ts";
import type { UrlOptions } from "./connect.ts";
import { Controller, type ControllerOptions } from "./controller.ts";

export interface StompConnectOptions extends Omit<ControllerOptions, "agentTopic"> {
  readonly stomp: Omit<StompOptions, "endpointId" | "destination">;
  /** Where the agent listens; default `/topic/usp.v1.agent.ENDPOINT-ID`. */
  readonly agentDestination?: string | undefined;
  /** Where answers and notifications come, unless the broker names another; default as above, of the controller. */
  readonly controllerDestination?: string | undefined;
}

/** @throws MtpError */
export async function connectByStomp(
  options: StompConnectOptions,
  signal: AbortSignal,
): Promise<{ controller: Controller; info: StompInfo }> {
  const { stomp, agentId, controllerId, agentDestination, controllerDestination } = options;
  const { link, info } = await connectStomp(
    {
      ...stomp,
      endpointId: controllerId,
      destination: controllerDestination ?? destinationOf(CONTROLLER_DESTINATION, controllerId),
      limits: { recordBytes: 32 << 20, incomingBytes: 64 << 20, ...stomp.limits },
    },
    signal,
  );
  const agentTopic = agentDestination ?? destinationOf(AGENT_DESTINATION, agentId);
  return { controller: new Controller(link, { ...options, agentTopic }), info };
}

/** The same with the options of ctl: credentials and TLS as for MQTT, `{eid}` and `{ceid}` in destinations. */
export async function connectByStompUrl(options: UrlOptions, signal: AbortSignal): Promise<Controller> {
  const { url, mqtt, agentId, controllerId, agentTopic, controllerTopic, ...rest } = options;
  const { username, password, tls, connectTimeoutMs } = mqtt;
  const filled = (template: string | undefined) =>
    template?.replace("{eid}", destinationOf("", agentId)).replace("{ceid}", destinationOf("", controllerId));
  const { controller } = await connectByStomp(
    {
      ...rest,
      agentId,
      controllerId,
      agentDestination: filled(agentTopic),
      controllerDestination: filled(controllerTopic),
      stomp: {
        url,
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
        ...(tls === undefined ? {} : { tls }),
        ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      },
    },
    signal,
  );
  return controller;
}
