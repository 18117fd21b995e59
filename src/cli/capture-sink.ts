/** Where the agent brings a capture: an HTTP server for one request, at a path that nobody guesses, into a stream. */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { isIPv6, type AddressInfo } from "node:net";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface CaptureSink {
  readonly url: string;
  /** Bytes that came. */
  readonly bytes: number;
  /** Resolves when the file is whole; rejects where it broke off: the agent, or what it is written to. */
  readonly whole: Promise<void>;
  close(): Promise<void>;
}

/** `begin` comes before the first byte. @throws Error where the address is none of ours, or its port is taken */
export async function openCaptureSink(
  out: Writable,
  host: string,
  port: number,
  begin?: () => Promise<void>,
): Promise<CaptureSink> {
  const path = `/${randomBytes(16).toString("hex")}.pcap`;
  let bytes = 0;
  let taken = false;
  let settle!: { resolve: () => void; reject: (error: Error) => void };
  const whole = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
  whole.catch(() => undefined);
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    try {
      await begin?.();
      await pipeline(request, out, { end: false });
      response.writeHead(201).end();
      settle.resolve();
    } catch (error) {
      response.destroy();
      settle.reject(error as Error);
    }
  };
  const server = createServer((request, response) => {
    if (request.method !== "PUT" || request.url !== path) return void response.writeHead(404).end();
    if (taken) return void response.writeHead(409).end();
    taken = true;
    void take(request, response);
  });
  // A quiet device sends nothing for long.
  server.requestTimeout = 0;
  server.timeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${bound}${path}`,
    get bytes() {
      return bytes;
    },
    whole,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The address by which this machine speaks to a host. Sends nothing. @throws Error where there is no way to it */
export function ownAddressTowards(host: string): Promise<string> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  return new Promise<string>((resolve, reject) => {
    socket.once("error", reject);
    socket.connect(9, host, () => resolve(socket.address().address));
  }).finally(() => socket.close());
}
