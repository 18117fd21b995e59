/** A controller over WebSocket: at an agent that listens, or listening for agents that dial. */
import type { WebSocketServerOptions } from "../mtp/websocket-server.ts";
import type { UrlOptions } from "./connect.ts";
import { Controller, type ControllerOptions } from "./controller.ts";

/** Of what is read. A whole model is one answer. */
const LIMITS = { recordBytes: 32 << 20, incomingBytes: 64 << 20 };

/** @throws MtpError */
export async function connectByWebSocket(options: UrlOptions, signal: AbortSignal): Promise<Controller> {
  const { url, controllerId, agentId, mqtt } = options;
  const { connectWebSocket } = await import("../mtp/websocket-ends.ts");
  const { link } = await connectWebSocket(
    {
      url,
      endpointId: controllerId,
      peer: agentId,
      limits: LIMITS,
      ...(mqtt.tls === undefined ? {} : { tls: mqtt.tls }),
      ...(mqtt.connectTimeoutMs === undefined ? {} : { connectTimeoutMs: mqtt.connectTimeoutMs }),
    },
    signal,
  );
  return new Controller(link, options);
}

export interface ListenOptions extends Omit<ControllerOptions, "agentId" | "agentTopic"> {
  readonly server: Omit<WebSocketServerOptions, "endpointId">;
}

export interface ListenEvents {
  /** @param port That it listens on. */
  readonly listening: (port: number) => void;
  /** An agent came. The controller is the receiver's: it closes it. */
  readonly agent: (controller: Controller, agentId: string) => void;
}

/**
 * Until the signal. An agent that does not say who it is (R-WS.10b) is turned away.
 * @throws MtpError where it can't listen
 */
export async function listenForAgents(
  { server, ...options }: ListenOptions,
  signal: AbortSignal,
  { listening, agent }: ListenEvents,
): Promise<void> {
  const { serveWebSocket } = await import("../mtp/websocket-ends.ts");
  const wanted = { ...server, endpointId: options.controllerId, limits: { ...LIMITS, ...server.limits } };
  await serveWebSocket(wanted, signal, {
    listening,
    accept: ({ link, peer }) => {
      if (peer === undefined) link.refuse("an agent names itself: ?eid= in the address that it dials");
      else agent(new Controller(link, { ...options, agentId: peer }), peer);
    },
    refused: () => undefined,
  });
}
