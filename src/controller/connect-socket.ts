/** A controller at an agent's local door, `unix:PATH`. Which agent that is, the agent says. */
import { MtpError } from "../mtp/error.ts";
import { connectUds } from "../mtp/uds-client.ts";
import type { UrlOptions } from "./connect.ts";
import { Controller } from "./controller.ts";

/** Of what is read. A whole model is one answer. */
const LIMITS = { recordBytes: 32 << 20, incomingBytes: 64 << 20 };

/** @param options With an empty `agentId`: whoever is there. @throws MtpError */
export async function connectBySocket(options: UrlOptions, signal: AbortSignal): Promise<Controller> {
  const { url, controllerId, agentId, mqtt } = options;
  const path = url.replace(/^unix:(?:\/\/)?/, "");
  const { link, peer } = await connectUds(
    {
      path,
      endpointId: controllerId,
      limits: LIMITS,
      ...(mqtt.connectTimeoutMs === undefined ? {} : { handshakeMs: mqtt.connectTimeoutMs }),
    },
    signal,
  );
  if (agentId !== "" && agentId !== peer) {
    await link.close();
    throw new MtpError("rejected", `${path}: the agent there is ${peer}, not ${agentId}`);
  }
  return new Controller(link, { ...options, agentId: peer });
}
