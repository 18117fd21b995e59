/**
 * Listens on a Unix domain socket. Who may connect is said by the file's mode and group: Node has no way to ask the kernel
 * who is at the other end.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { MtpError } from "./error.ts";
import { encodeFrame, TlvType } from "./uds-codec.ts";
import { explain, MAX_SOCKET_PATH, type UdsConnection } from "./uds-client.ts";
import { UdsLink, type UdsLinkOptions } from "./uds.ts";

export interface UdsServerOptions extends UdsLinkOptions {
  /** Number of the group that may connect; absent: this process's own. */
  readonly gid?: number;
  /** At one time, those that have not named themselves yet among them. Default 16. */
  readonly maxConnections?: number;
}

export interface UdsServerEvents {
  readonly listening: () => void;
  readonly accept: (connection: UdsConnection) => void;
  /** A connection that came to nothing, in words. */
  readonly refused?: (reason: string) => void;
}

/** Owner and group: nobody else. */
const MODE = 0o660;
const MAX_CONNECTIONS = 16;
/** Before the file gets its name, which is the system's longest less this. */
const DRAFT = ".new";
const MAX_PATH = MAX_SOCKET_PATH - DRAFT.length;

/**
 * Listens until the signal; connections that were accepted go on. A file left by a process that died is replaced.
 * @throws MtpError in words: another listens there, the file is no socket, the system refuses
 */
export async function listenUds(
  options: UdsServerOptions,
  signal: AbortSignal,
  events: UdsServerEvents,
): Promise<void> {
  const { path } = options;
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new MtpError("address", `${path}: a socket's path may have ${MAX_PATH} bytes`);
  await mustBeFree(path);
  if (signal.aborted) return;
  const server = createServer((socket) => welcome(socket, open, options, events));
  const open = new Set<Socket>();
  try {
    await bindSocket(server, options);
    const inode = lstatSync(path).ino;
    try {
      events.listening();
      await ended(server, signal);
    } finally {
      forgetSocket(path, inode);
    }
  } catch (error) {
    throw explain(error as NodeJS.ErrnoException, path);
  } finally {
    server.close();
  }
}

/** The file gets its name when only those may connect who shall: never is it there with other rights. */
export async function bindSocket(server: Server, { path, gid }: Pick<UdsServerOptions, "path" | "gid">): Promise<void> {
  const draft = path + DRAFT;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  forgetSocket(draft);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const before = process.umask(0o777 & ~MODE);
    try {
      server.listen(draft, resolve);
    } finally {
      process.umask(before);
    }
  });
  if (gid !== undefined) chownSync(draft, process.geteuid?.() ?? -1, gid);
  chmodSync(draft, MODE);
  renameSync(draft, path);
}

function ended(server: Server, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function welcome(socket: Socket, open: Set<Socket>, options: UdsServerOptions, events: UdsServerEvents): void {
  const most = options.maxConnections ?? MAX_CONNECTIONS;
  if (open.size >= most) {
    const why = `${most} connections are open already`;
    socket.on("error", () => undefined);
    socket.end(encodeFrame(TlvType.error, Buffer.from(why)), () => socket.destroy());
    events.refused?.(why);
    return;
  }
  open.add(socket);
  const link = new UdsLink(socket, options);
  void link.closed.then(() => open.delete(socket));
  link.handshake("server").then(
    (peer) => events.accept({ link, peer }),
    (error: unknown) => events.refused?.((error as Error).message),
  );
}

/** Asks whether somebody answers there. */
export async function mustBeFree(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new MtpError("address", `${path}: there is a file of that name that is no socket`);
  const isAlive = await new Promise<boolean>((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(true));
    // Refused: nobody listens. For any other reason: whoever listens is not to be disturbed.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED" && code !== "ENOENT"));
    socket.once("connect", () => socket.destroy());
  });
  if (isAlive) throw new MtpError("address", `${path}: another process listens there`);
}

/** Deletes the file, if it is still the one that was made. */
export function forgetSocket(path: string, inode?: number): void {
  try {
    if (inode === undefined || lstatSync(path).ino === inode) unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
