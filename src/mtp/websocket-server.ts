/**
 * Listens for WebSocket sessions of USP endpoints. Who comes is unknown until the handshake: it is short in time and bytes,
 * and connections are few in number, overall and from one address.
 */
import { WebSocketServer } from "ws";
import { createServer as createHttp, STATUS_CODES, type IncomingMessage, type Server as HttpServer } from "node:http";
import { createServer as createTcp, type Server, type Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { readCertificate } from "../lib/certificate.ts";
import { MtpError } from "./error.ts";
import { peerChain, tlsServer, type TlsServerOptions } from "./tls.ts";
import {
  DEFAULT_WEBSOCKET_LIMITS,
  socketOptions,
  WebSocketLink,
  type WebSocketLimits,
  type WebSocketLinkOptions,
} from "./websocket.ts";
import type { WebSocketConnection } from "./websocket-client.ts";
import { endpointIdIn, extensionOf, readExtensions, SUBPROTOCOL } from "./websocket-handshake.ts";
import { WebSocketSessions } from "./websocket-sessions.ts";

export interface WebSocketServerOptions extends Pick<WebSocketLinkOptions, "keepAliveMs" | "pongMs"> {
  /** To listen on; empty text: all of this machine. */
  readonly addresses: readonly string[];
  /** 0: any that is free. */
  readonly port: number;
  /** `/usp` */
  readonly path: string;
  /** Ours. */
  readonly endpointId: string;
  readonly tls?: TlsServerOptions;
  readonly limits?: Partial<WebSocketLimits>;
  /** Shared with whoever dials the same endpoints. */
  readonly sessions?: WebSocketSessions;
  readonly maxConnections?: number;
  readonly maxConnectionsOfAddress?: number;
  /** Until the session is open. Default 10,000. */
  readonly handshakeMs?: number;
}

export interface WebSocketServerEvents {
  /** @param port That it listens on. */
  readonly listening: (port: number) => void;
  /** The link is the receiver's: it ends it. */
  readonly accept: (connection: WebSocketConnection) => void;
  /** Somebody was not let in. */
  readonly refused: (why: string) => void;
}

/** A home has a handful of controllers; each connection may hold some megabytes. */
const MAX_CONNECTIONS = 32;
const MAX_OF_ADDRESS = 8;
const HANDSHAKE_MS = 10_000;
/** Of the request line and all headers. A certificate does not travel in them. */
const HEADER_BYTES = 8 << 10;
/** A peer that was refused has so long to read why. */
const FAREWELL_MS = 1_000;

/**
 * Listens until the signal, then resolves; connections that were accepted stay.
 * @throws MtpError where it can't listen or no longer can.
 */
export async function serveWebSocket(
  options: WebSocketServerOptions,
  signal: AbortSignal,
  events: WebSocketServerEvents,
): Promise<void> {
  const door = new Door(options, events);
  const servers = options.addresses.map(() => door.server());
  try {
    let { port } = options;
    for (const [at, server] of servers.entries()) port = await listen(server, options.addresses[at] as string, port);
    if (signal.aborted) return;
    events.listening(port);
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      for (const server of servers) server.once("error", (error) => reject(cannotListen(error, options)));
    });
  } finally {
    for (const server of servers) server.close();
    door.close();
  }
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(cannotListen(error, { addresses: [host], port }));
    server.once("error", fail);
    server.listen({ ...(host === "" ? {} : { host }), port }, () => {
      server.removeListener("error", fail);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there already",
  EACCES: "listening there is not permitted",
  EADDRNOTAVAIL: "this machine has no such address",
};

function cannotListen(
  error: NodeJS.ErrnoException,
  { addresses, port }: Pick<WebSocketServerOptions, "addresses" | "port">,
): MtpError {
  const where = addresses.map((address) => (address === "" ? "this machine" : address)).join(", ");
  const why = LISTEN_ERRORS[error.code ?? ""] ?? error.message;
  return new MtpError("address", `can't listen on port ${port} of ${where}: ${why}`, { cause: error });
}

class Door {
  readonly #options: WebSocketServerOptions;
  readonly #events: WebSocketServerEvents;
  readonly #limits: WebSocketLimits;
  readonly #sessions: WebSocketSessions;
  /** Parses requests; the connections come from `server`. */
  readonly #http: HttpServer;
  readonly #upgrader: WebSocketServer;
  /** Of all that is open, by address. */
  readonly #counts = new Map<string, number>();
  #count = 0;
  /** Not yet sessions, with the time that each has left. */
  readonly #early = new Map<Socket, NodeJS.Timeout>();

  constructor(options: WebSocketServerOptions, events: WebSocketServerEvents) {
    this.#options = options;
    this.#events = events;
    this.#limits = { ...DEFAULT_WEBSOCKET_LIMITS, ...options.limits };
    this.#sessions = options.sessions ?? new WebSocketSessions();
    this.#http = createHttp({ maxHeaderSize: HEADER_BYTES });
    this.#http.on("request", (request) =>
      this.#refuse(request.socket, 426, "this is a USP endpoint: come by WebSocket"),
    );
    this.#http.on("upgrade", (request, socket: Socket, head) => void this.#upgrade(request, socket, head));
    this.#http.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) =>
      error.code === "HPE_HEADER_OVERFLOW"
        ? this.#refuse(socket, 431, `more than ${HEADER_BYTES} bytes of headers`)
        : this.#refuse(socket, 400, "this is no HTTP request"),
    );
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      handleProtocols: () => SUBPROTOCOL,
      ...socketOptions(this.#limits),
    });
    this.#upgrader.on("headers", (headers, request) => {
      // R-WS.11a: an answer to who offers it, and to nobody else.
      if (readExtensions(request.headers["sec-websocket-extensions"]).isOffered)
        headers.push(`Sec-WebSocket-Extensions: ${extensionOf(options.endpointId)}`);
    });
  }

  /** One that hands its connections in here. */
  server(): Server {
    const { tls } = this.#options;
    const server = tls
      ? tlsServer(
          tls,
          (socket) => this.#enter(socket),
          (error) => this.#events.refused(error.message),
        )
      : createTcp((socket) => this.#enter(socket));
    server.prependListener("connection", (socket: Socket) => this.#makeRoom(socket));
    return server;
  }

  close(): void {
    for (const [socket, timer] of this.#early) {
      clearTimeout(timer);
      socket.destroy();
    }
    this.#early.clear();
  }

  /** Before TLS: whether there is room for one more. */
  #makeRoom(socket: Socket): void {
    const network = networkOf(socket.remoteAddress ?? "");
    const already = this.#counts.get(network) ?? 0;
    const { maxConnections = MAX_CONNECTIONS, maxConnectionsOfAddress = MAX_OF_ADDRESS } = this.#options;
    if (this.#count >= maxConnections || already >= maxConnectionsOfAddress) {
      this.#events.refused(
        this.#count >= maxConnections
          ? `${network}: ${this.#count} connections are open already`
          : `${network}: ${already} connections of it are open already`,
      );
      socket.destroy();
      return;
    }
    this.#count++;
    this.#counts.set(network, already + 1);
    socket.once("close", () => {
      this.#count--;
      const left = (this.#counts.get(network) ?? 1) - 1;
      if (left === 0) this.#counts.delete(network);
      else this.#counts.set(network, left);
    });
  }

  #enter(socket: Socket): void {
    if (socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), this.#options.handshakeMs ?? HANDSHAKE_MS);
    this.#early.set(socket, timer);
    socket.once("close", () => this.#settle(socket));
    this.#http.emit("connection", socket);
  }

  #settle(socket: Socket): void {
    clearTimeout(this.#early.get(socket));
    this.#early.delete(socket);
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Its end is noticed by what follows.
    const ignore = () => undefined;
    socket.on("error", ignore);
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    if (path !== this.#options.path) return this.#refuse(socket, 404, "there is no USP endpoint at this path");
    const protocols = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((each) => each.trim());
    // R-WS.12a: `ws` itself would let it in.
    if (!protocols.includes(SUBPROTOCOL))
      return this.#refuse(socket, 400, `a USP session needs the WebSocket subprotocol ${SUBPROTOCOL}`);
    const asked = endpointIdIn(query);
    if (asked === null) return this.#refuse(socket, 400, "eid is no endpoint id");
    const older = readExtensions(request.headers["sec-websocket-extensions"]).eid;
    const peer = asked ?? older;
    if (peer === this.#options.endpointId) return this.#refuse(socket, 403, "this is the endpoint id of this end");
    const chain = socket instanceof TLSSocket ? peerChain(socket) : undefined;
    const names = chain?.[0] ? readCertificate(chain[0]).endpointIds : [];
    // R-SEC.0a. Else one controller could hold another's only session (R-WS.4). Who bears no id is judged by who takes it.
    if (peer !== undefined && names.length > 0 && !names.includes(peer))
      return this.#refuse(socket, 403, `its certificate is of ${names.join(", ").slice(0, 128)}, not of ${peer}`);
    const isVerified = peer !== undefined && names.includes(peer) && this.#isVouchedFor(socket as TLSSocket);
    if (peer !== undefined && !(await this.#sessions.admits(peer, isVerified)))
      return this.#refuse(socket, 409, `a session with ${peer} is open already`);
    if (socket.destroyed) return;
    socket.removeListener("error", ignore);
    this.#upgrader.handleUpgrade(request, socket, head, (webSocket) => {
      this.#settle(socket);
      const remoteAddress = plainAddress(socket.remoteAddress ?? "");
      const link = new WebSocketLink(webSocket, {
        ...this.#options,
        peer: `${peer ?? "an endpoint"} at ${remoteAddress}`,
        limits: this.#limits,
      });
      const connection = {
        link,
        remoteAddress,
        ...(peer === undefined ? {} : { peer }),
        ...(chain === undefined ? {} : { tls: { chain } }),
      };
      if (peer === undefined) return this.#events.accept(connection);
      void this.#sessions.add(peer, link, isVerified).then((isAdded) => {
        if (isAdded) this.#events.accept(connection);
        else void link.close();
      });
    });
  }

  /** Whether an authority that is known here issued the certificate: with trust on first use anybody makes one. */
  #isVouchedFor(socket: TLSSocket): boolean {
    return this.#options.tls?.anyIssuer?.() !== true || socket.authorized;
  }

  #refuse(socket: Socket, status: number, why: string): void {
    if (socket.writableEnded) return;
    this.#events.refused(`${plainAddress(socket.remoteAddress ?? "a peer")}: ${why}`);
    socket.on("error", () => undefined);
    const body = `${why}\n`;
    socket.end(
      [
        `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
        "Connection: close",
        ...(status === 426 ? ["Upgrade: websocket"] : []),
        "Content-Type: text/plain; charset=utf-8",
        `Content-Length: ${Buffer.byteLength(body)}`,
        `\r\n${body}`,
      ].join("\r\n"),
    );
    setTimeout(() => socket.destroy(), FAREWELL_MS).unref();
  }
}

/** IPv4 as it is written, where a socket of both kinds took it. */
const plainAddress = (address: string) => address.replace(/^::ffff:(?=[\d.]+$)/i, "");

/** What one subscriber has: an IPv4 address, or a /64. */
function networkOf(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::", 2);
  const words = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const rest = tail === "" ? 0 : tail.split(":").length;
    while (words.length + rest < 8) words.push("0");
  }
  return `${words.slice(0, 4).join(":")}::/64`;
}
