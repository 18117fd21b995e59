/** A TCP or TLS connection, established, or an error that says in words why not. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { MtpError, type MtpErrorKind } from "./error.ts";

/** PEM text or DER bytes each; without `ca`, the system's roots. */
export interface TlsOptions {
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  /** Name expected in the peer's certificate, where it differs from the host. */
  readonly serverName?: string;
  /** False takes any certificate: for a laboratory. */
  readonly verify?: boolean;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsOptions | undefined;
}

/**
 * Connects within the life of `signal`.
 * @throws MtpError dns, unreachable, tls, or the signal's reason.
 */
export function openSocket(endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
  const { host, port, tls } = endpoint;
  return new Promise((resolve, reject) => {
    const socket = tls === undefined ? connectTcp({ host, port }) : connectTls(tlsOptions(endpoint, tls));
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
      socket.setNoDelay(true);
      resolve(socket);
    });
    socket.on("error", onError);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** The error of a socket as an operator would say it. */
export function explain(error: NodeJS.ErrnoException, peer: string): MtpError {
  const code = error.code ?? "";
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

function tlsOptions({ host, port }: Endpoint, tls: TlsOptions): ConnectionOptions {
  const { ca, cert, key, passphrase, serverName, verify } = tls;
  const name = serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  return {
    host,
    port,
    minVersion: "TLSv1.2",
    rejectUnauthorized: verify !== false,
    ...(ca === undefined ? {} : { ca: ca as string | Buffer | (string | Buffer)[] }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(name === undefined ? {} : { servername: name }),
  };
}
