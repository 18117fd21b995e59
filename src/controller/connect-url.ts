/** A controller at a URL: the agent's own, where no broker stands between them, or a STOMP broker's. One function a scheme. */
import { MtpError } from "../mtp/error.ts";
import type { UrlOptions } from "./connect.ts";
import { connectBySocket } from "./connect-socket.ts";
import { connectByStompUrl } from "./connect-stomp.ts";
import { connectByWebSocket } from "./connect-websocket.ts";
import type { Controller } from "./controller.ts";

type Connect = (options: UrlOptions, signal: AbortSignal) => Promise<Controller>;

const SCHEMES: { readonly [scheme: string]: Connect } = {
  ws: connectByWebSocket,
  wss: connectByWebSocket,
  stomp: connectByStompUrl,
  stomps: connectByStompUrl,
  unix: connectBySocket,
};

/** @throws MtpError */
export async function connectByUrl(options: UrlOptions, signal: AbortSignal): Promise<Controller> {
  const scheme = /^([a-z]+):/.exec(options.url)?.[1] ?? "";
  const connect = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme] : undefined;
  if (!connect) {
    const known = Object.keys(SCHEMES).map((each) => `${each}:`);
    throw new MtpError("address", `${options.url}: an address begins with ${known.join(" or ")}`);
  }
  return await connect(options, signal);
}
