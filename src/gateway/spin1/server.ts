/**
 * JSON-RPC on a Unix stream socket, in the place of SPIN's /var/run/spin_rpc.sock: who may connect is said by the file's
 * group. A request is an object, with or without a line end; each answer is whole, and one line.
 */
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { lstatSync } from "node:fs";
import { bindSocket, forgetSocket, mustBeFree } from "../../mtp/uds-server.ts";
import type { Log } from "../../lib/log.ts";
import { ObjectText } from "./object-text.ts";

export interface RpcServerOptions {
  readonly path: string;
  readonly gid?: number;
  readonly answer: (text: string) => Promise<string | undefined>;
  readonly log: Log;
}

const MAX_CONNECTIONS = 16;
/** SPIN took 4,096; a DOTS signal of many prefixes is longer. */
const MAX_REQUEST_BYTES = 65_536;
/** Of a connection on which nothing comes. */
const SILENCE_MS = 30_000;
/** SPIN ended a connection after its answer, and its tools read until that end. */
const AFTER_ANSWER_MS = 1_000;

/** Until the signal. @throws MtpError or the system's error where it can't listen */
export async function serveRpc(options: RpcServerOptions, signal: AbortSignal): Promise<void> {
  const { path, gid } = options;
  await mustBeFree(path);
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    if (open.size >= MAX_CONNECTIONS) return void socket.destroy();
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    serve(socket, options);
  });
  try {
    await bindSocket(server, gid === undefined ? { path } : { path, gid });
    const inode = lstatSync(path).ino;
    options.log.info(`SPIN's JSON-RPC on ${path}`);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    } finally {
      forgetSocket(path, inode);
    }
  } finally {
    server.close();
    for (const socket of open) socket.destroy();
  }
}

function serve(socket: Socket, { answer, log }: RpcServerOptions): void {
  const texts = new ObjectText(MAX_REQUEST_BYTES);
  let isBusy = false;
  let hasEnded = false;
  const next = async () => {
    if (isBusy) return;
    isBusy = true;
    for (let text = texts.take(); text !== undefined && socket.writable; text = texts.take()) {
      socket.pause();
      socket.setTimeout(0);
      const said = await answer(text);
      if (said !== undefined && socket.writable) socket.write(`${said}\n`);
      // Where no line ended the request, SPIN's way: this was all.
      socket.setTimeout(AFTER_ANSWER_MS);
    }
    isBusy = false;
    if (texts.fault !== undefined) {
      const error = { code: -32_600, message: texts.fault };
      socket.end(`${JSON.stringify({ jsonrpc: "2.0", error, id: null })}\n`, () => socket.destroy());
    } else if (hasEnded) socket.end();
    else socket.resume();
  };
  const failed = (error: unknown) => {
    log.warn("a request through SPIN's socket failed", error);
    socket.destroy();
  };
  socket.setTimeout(SILENCE_MS, () => {
    if (!isBusy) socket.end(() => socket.destroy());
  });
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    texts.push(chunk);
    next().catch(failed);
  });
  socket.on("end", () => {
    hasEnded = true;
    next().catch(failed);
  });
}
