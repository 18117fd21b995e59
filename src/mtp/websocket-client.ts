/** Opens a WebSocket session with a USP endpoint that listens. */
import { WebSocket } from "ws";
import { TLSSocket } from "node:tls";
import { attempting } from "./attempt.ts";
import { MtpError } from "./error.ts";
import { openSocket, type Endpoint, type TlsOptions } from "./socket.ts";
import { peerChain } from "./tls.ts";
import {
  DEFAULT_WEBSOCKET_LIMITS,
  socketOptions,
  WebSocketLink,
  type WebSocketLimits,
  type WebSocketLinkOptions,
} from "./websocket.ts";
import { extensionOf, readExtensions, SUBPROTOCOL, withEndpointId } from "./websocket-handshake.ts";

export interface WebSocketClientOptions extends Pick<WebSocketLinkOptions, "keepAliveMs" | "pongMs"> {
  /** `ws://192.0.2.1:8080/usp` or `wss://…` */
  readonly url: string;
  /** Ours. */
  readonly endpointId: string;
  /** The peer's. Where its certificate or its handshake names another, it is not used. */
  readonly peer?: string;
  readonly tls?: TlsOptions;
  /** In milliseconds, for everything up to the open session. Default 10,000. */
  readonly connectTimeoutMs?: number;
  readonly limits?: Partial<WebSocketLimits>;
}

export interface WebSocketConnection {
  readonly link: WebSocketLink;
  /** Address of the other end. */
  readonly remoteAddress: string;
  /** Of the other end, where it said so. */
  readonly peer?: string;
  readonly tls?: { readonly chain: readonly Uint8Array[] };
}

/**
 * Connects. `signal` ends the attempt; the link that comes of it is ended by `link.close()`.
 * @throws MtpError with the cause in words.
 */
export function connectWebSocket(options: WebSocketClientOptions, signal: AbortSignal): Promise<WebSocketConnection> {
  return attempting(options, signal, async (attempt) => {
    const { url, endpoint } = readUrl(options);
    const socket = await openSocket(endpoint, attempt);
    return await handshake(socket, url, endpoint, options, attempt);
  });
}

function handshake(
  socket: Awaited<ReturnType<typeof openSocket>>,
  url: string,
  { host, port }: Endpoint,
  options: WebSocketClientOptions,
  signal: AbortSignal,
): Promise<WebSocketConnection> {
  const peer = `${host}:${port}`;
  const limits = { ...DEFAULT_WEBSOCKET_LIMITS, ...options.limits };
  return new Promise((resolve, reject) => {
    const webSocket = new WebSocket(url, SUBPROTOCOL, {
      ...socketOptions(limits),
      createConnection: () => socket,
      headers: { "Sec-WebSocket-Extensions": extensionOf(options.endpointId) },
    });
    let theirs: string | undefined;
    const fail = (error: MtpError) => {
      signal.removeEventListener("abort", onAbort);
      webSocket.on("error", () => undefined);
      webSocket.terminate();
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(signal.reason as MtpError);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) return onAbort();
    webSocket.once("error", (error: NodeJS.ErrnoException) => {
      const isCut = error.code === "ECONNRESET" || error.code === "EPIPE";
      // Who refuses a certificate after the handshake of TLS 1.3 says no more than that.
      const hint = socket instanceof TLSSocket ? "; does it want a client certificate, or another?" : "";
      const why = isCut ? `it ended the connection without an answer${hint}` : error.message;
      fail(new MtpError("rejected", `${peer}: ${why}`, { cause: error }));
    });
    webSocket.once("unexpected-response", (_, { statusCode, statusMessage }) =>
      fail(new MtpError("rejected", `${peer}: it answers ${statusCode} ${statusMessage} instead of a WebSocket`)),
    );
    webSocket.once("upgrade", ({ headers }) => {
      // `ws` takes no answer about an extension that it does not know itself.
      const { eid, isOffered, rest } = readExtensions(headers["sec-websocket-extensions"]);
      if (!isOffered) return;
      if (rest === "") delete headers["sec-websocket-extensions"];
      else headers["sec-websocket-extensions"] = rest;
      theirs = eid;
    });
    webSocket.once("open", () => {
      if (options.peer !== undefined && theirs !== undefined && theirs !== options.peer)
        return fail(
          new MtpError("rejected", `${peer}: it says that it is ${theirs.slice(0, 100)}, not ${options.peer}`),
        );
      signal.removeEventListener("abort", onAbort);
      webSocket.removeAllListeners("error");
      resolve({
        link: new WebSocketLink(webSocket, { ...options, peer, limits }),
        remoteAddress: socket.remoteAddress ?? host,
        ...(theirs === undefined ? {} : { peer: theirs }),
        ...(socket instanceof TLSSocket ? { tls: { chain: peerChain(socket) } } : {}),
      });
    });
  });
}

function readUrl({ url: text, endpointId, peer, tls }: WebSocketClientOptions): { url: string; endpoint: Endpoint } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new MtpError("address", `${JSON.stringify(text)} is no address of an endpoint, as wss://192.0.2.1/usp is`);
  }
  const isTls = url.protocol === "wss:";
  if (!isTls && url.protocol !== "ws:")
    throw new MtpError("address", `${text}: a WebSocket's address begins with ws:// or wss://`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return {
    url: withEndpointId(`${url.protocol}//${url.host}${url.pathname}${url.search}`, endpointId),
    endpoint: {
      host,
      port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
      tls: isTls ? { ...(peer === undefined ? {} : { endpointId: peer }), ...tls } : undefined,
    },
  };
}
