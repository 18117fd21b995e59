/** Connects to a Unix domain socket: to a USP Broker as its Service, or to an agent as its controller. */
import { connect, type Socket } from "node:net";
import { MtpError } from "./error.ts";
import { UdsLink, type UdsLinkOptions } from "./uds.ts";

export interface UdsConnection {
  readonly link: UdsLink;
  /** Endpoint id of the one who listens there. */
  readonly peer: string;
}

/** Longest path that the system takes, in bytes (`sun_path` of unix(7) less its end). */
export const MAX_SOCKET_PATH = 107;

/**
 * Connects and shakes hands. Aborting the signal ends the attempt; the link that comes of it is ended by `link.close()`.
 * @throws MtpError with the cause in words
 */
export async function connectUds(options: UdsLinkOptions, signal: AbortSignal): Promise<UdsConnection> {
  const { path } = options;
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
    throw new MtpError("address", `${path}: a socket's path may have ${MAX_SOCKET_PATH} bytes`);
  if (signal.aborted) throw aborted(path);
  const socket = connect({ path });
  const giveUp = () => socket.destroy(aborted(path));
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    await established(socket, path);
    const link = new UdsLink(socket, options);
    return { link, peer: await link.handshake("client") };
  } catch (error) {
    throw signal.aborted ? aborted(path) : error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

function established(socket: Socket, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      socket.destroy();
      reject(explain(error, path));
    };
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.removeListener("error", failed);
      resolve();
    });
  });
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: "nothing listens there: there is no such file",
  ECONNREFUSED: "nothing listens there: the file is left from who did",
  EACCES: "no permission: whoever owns the file or is in its group may connect",
  EAGAIN: "too many wait to be connected there",
  ENOTSOCK: "the file is no socket",
};

/** The error of a socket's file as an operator would say it. */
export function explain(error: NodeJS.ErrnoException, path: string): Error {
  if (error instanceof MtpError) return error;
  return new MtpError("unreachable", `${path}: ${WHY[error.code ?? ""] ?? error.message}`, { cause: error });
}

const aborted = (path: string) => new MtpError("aborted", `${path}: the attempt was ended`);
