/** A TCP or TLS connection, established, or an error that says in words why not. */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { MtpError, type MtpErrorKind } from "./error.ts";
import { clientContext, judgeServer, tlsReason, type TlsOptions } from "./tls.ts";

export type { TlsOptions } from "./tls.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsOptions | undefined;
}

/** Who is told whom this process dials: where each name leads, before anything is sent there. */
export interface DialObserver {
  /** @returns to be called when the connection is over, or did not come about */
  dialled(addresses: readonly string[], port: number): () => void;
}

let observer: DialObserver | undefined;

/** One for the process: whatever the MTP, its connections are of the same concern. `undefined`: none from now on. */
export function observeDials(next: DialObserver | undefined): void {
  observer = next;
}

/**
 * Connects within the life of `signal`.
 * @throws MtpError dns, unreachable, tls, or the signal's reason.
 */
export function openSocket(endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
  const { host, port, tls } = endpoint;
  return new Promise((resolve, reject) => {
    const socket = tls === undefined ? connectTcp({ host, port }) : connectTls(clientContext(host, port, tls));
    if (observer) tell(observer, socket, endpoint);
    const settle = () => {
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", onError);
    };
    const onAbort = () => {
      settle();
      socket.on("error", () => undefined);
      socket.destroy();
      reject(signal.reason as Error);
    };
    const onError = (error: NodeJS.ErrnoException) => {
      settle();
      socket.destroy();
      reject(explain(error, `${host}:${port}`));
    };
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      settle();
      try {
        if (tls !== undefined) judgeServer(socket as TLSSocket, host, `${host}:${port}`, tls);
      } catch (error) {
        socket.on("error", () => undefined);
        socket.destroy();
        return reject(error instanceof MtpError ? error : new MtpError("tls", `${host}:${port}: ${String(error)}`));
      }
      socket.setNoDelay(true);
      resolve(socket);
    });
    socket.on("error", onError);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

function tell(watching: DialObserver, socket: Socket, { host, port }: Endpoint): void {
  const over: (() => void)[] = [];
  const dialled = (address: string) => over.push(watching.dialled([address], port));
  if (isIP(host) !== 0) dialled(host);
  // One address after the other, each before it is tried.
  else socket.on("lookup", (error: Error | null, address: string) => error ?? dialled(address));
  socket.once("close", () => {
    for (const end of over) end();
  });
}

/** The error of a socket as an operator would say it. */
export function explain(error: NodeJS.ErrnoException, peer: string): MtpError {
  const code = error.code ?? "";
  const reason = tlsReason(error);
  if (reason !== undefined) return new MtpError("tls", `${peer}: ${reason}`, { cause: error });
  const [kind, text] = KNOWN[code] ?? (isTlsCode(code) ? TLS : OTHER);
  const detail = error.message === "" ? code : error.message;
  return new MtpError(kind, `${peer}: ${text}${kind === "tls" || text === OTHER[1] ? ` (${detail})` : ""}`, {
    cause: error,
  });
}

const KNOWN: { readonly [code: string]: readonly [MtpErrorKind, string] } = {
  ENOTFOUND: ["dns", "the name of the host is not known"],
  EAI_AGAIN: ["dns", "the name of the host could not be looked up just now"],
  ECONNREFUSED: ["unreachable", "connection refused: nothing listens there"],
  ECONNRESET: ["closed", "the peer reset the connection"],
  EPIPE: ["closed", "the peer closed the connection"],
  EHOSTUNREACH: ["unreachable", "no route to the host"],
  ENETUNREACH: ["unreachable", "no route to the network"],
  ETIMEDOUT: ["unreachable", "the host did not answer in time"],
};
const TLS = ["tls", "TLS failed"] as const;
const OTHER = ["unreachable", "the connection failed"] as const;

function isTlsCode(code: string): boolean {
  return /^(ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA|ERR_OSSL)/.test(
    code,
  );
}
