/** A USP WebSocket server of the test's, and sessions with it through a proxy that can be cut. */
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import type { WebSocketConnection } from "../../src/mtp/websocket-client.ts";
import { serveWebSocket, type WebSocketServerOptions } from "../../src/mtp/websocket-server.ts";

export interface RunningServer {
  readonly port: number;
  /** What was let in and not been taken yet. */
  next(): Promise<WebSocketConnection>;
  readonly accepted: readonly WebSocketConnection[];
  readonly refused: readonly string[];
  stop(): Promise<void>;
}

export async function startServer(options: Partial<WebSocketServerOptions> = {}): Promise<RunningServer> {
  const stopping = new AbortController();
  const accepted: WebSocketConnection[] = [];
  const refused: string[] = [];
  const arrived: WebSocketConnection[] = [];
  const waiting: ((connection: WebSocketConnection) => void)[] = [];
  let ended: Promise<void> = Promise.resolve();
  const port = await new Promise<number>((resolve, reject) => {
    ended = serveWebSocket(
      { addresses: ["127.0.0.1"], port: 0, path: "/usp", endpointId: "self::server", ...options },
      stopping.signal,
      {
        listening: resolve,
        accept: (connection) => {
          accepted.push(connection);
          const taker = waiting.shift();
          if (taker) taker(connection);
          else arrived.push(connection);
        },
        refused: (why) => refused.push(why),
      },
    );
    ended.catch(reject);
  });
  return {
    port,
    accepted,
    refused,
    next: () => {
      const first = arrived.shift();
      return first ? Promise.resolve(first) : new Promise((resolve) => waiting.push(resolve));
    },
    stop: async () => {
      stopping.abort();
      await Promise.all([ended, ...accepted.map(({ link }) => link.close())]);
    },
  };
}

/** Passes bytes on to a port, until it breaks all that it carries. */
export async function startProxy(target: number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port: target });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => undefined);
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    /** As a cable that is pulled and tells nobody. */
    freeze: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
