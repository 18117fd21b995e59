/** A STOMP broker that answers as a test tells it, to see what exactly a client sends and how it takes odd answers. */
import { once } from "node:events";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { encodeFrame, StompDecoder, type StompFrame } from "../../src/mtp/stomp-codec.ts";

type Headers = Readonly<Record<string, string>>;

export interface StompScript {
  /** Headers of CONNECTED over `version:1.2`; "silence" never answers; a Buffer is sent as it is. */
  readonly connected?: Headers | "silence" | Buffer;
  /** Sent instead of the receipt that SUBSCRIBE asks for; "silence" sends none. */
  readonly subscribed?: Buffer | "silence";
  /** Whether DISCONNECT gets its receipt. Default true. */
  readonly farewell?: boolean;
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly ca?: Buffer; readonly requestCert?: boolean };
}

export interface ScriptedStomp {
  readonly url: string;
  /** Frames that came, in order. */
  readonly seen: StompFrame[];
  /** Bytes that came which are no frames: heart-beats. */
  beats(): number;
  /** The newest connection. */
  socket(): Socket;
  send(command: string, headers: Headers, body?: Uint8Array): void;
  /** The first frame of a kind, as soon as it came. */
  frame(command: string): Promise<StompFrame>;
  stop(): Promise<void>;
}

export async function startScriptedStomp(script: StompScript = {}): Promise<ScriptedStomp> {
  const seen: StompFrame[] = [];
  const sockets = new Set<Socket>();
  let newest: Socket | undefined;
  let beats = 0;
  let notify: () => void = () => undefined;
  const take = (socket: Socket) => {
    const decoder = new StompDecoder({ bodyBytes: 64 << 20 });
    sockets.add(socket);
    newest = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    const write = (command: string, headers: Headers) =>
      void socket.write(encodeFrame(command, Object.entries(headers)));
    socket.on("data", (chunk: Buffer) => {
      if (/^[\r\n]+$/.test(chunk.toString("latin1"))) beats += chunk.length;
      decoder.push(chunk);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        seen.push(frame);
        notify();
        const receipt = frame.headers.get("receipt");
        if (frame.command === "STOMP" || frame.command === "CONNECT") {
          const { connected = {} } = script;
          if (connected instanceof Buffer) socket.write(connected);
          else if (connected !== "silence") write("CONNECTED", { version: "1.2", ...(connected as Headers) });
        } else if (frame.command === "SUBSCRIBE" && script.subscribed !== undefined) {
          if (script.subscribed !== "silence") socket.write(script.subscribed);
        } else if (receipt !== undefined && (frame.command !== "DISCONNECT" || script.farewell !== false))
          write("RECEIPT", { "receipt-id": receipt });
      }
    });
  };
  const server = script.tls ? createTlsServer({ ...script.tls }, take) : createTcpServer(take);
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `${script.tls ? "stomps" : "stomp"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    beats: () => beats,
    socket: () => newest as Socket,
    send: (command, headers, body) => void newest?.write(encodeFrame(command, Object.entries(headers), body)),
    async frame(command) {
      for (;;) {
        const found = seen.find((frame) => frame.command === command);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => (notify = resolve));
      }
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
