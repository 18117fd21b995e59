/** Unix domain sockets for tests: a folder of their own, a peer that says byte for byte what it is told, and a way to cut. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeFrame, FrameReader, TlvType, type Tlv } from "../../src/mtp/uds-codec.ts";
import { eventually } from "./eventually.ts";

/** Short, because the system takes but 107 bytes of a socket's path. */
export function socketFolder(): { readonly path: (name: string) => string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "spin-uds-"));
  return { path: (name) => join(folder, name), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** One end of a connection, without any of the code under test but the codec. */
export class RawPeer {
  readonly tlvs: Tlv[] = [];
  isClosed = false;
  readonly #reader = new FrameReader(1 << 30);

  constructor(readonly socket: Socket) {
    socket.on("error", () => undefined);
    socket.on("close", () => (this.isClosed = true));
    socket.on("data", (chunk: Buffer) => {
      this.#reader.push(chunk);
      for (let next = this.#reader.next(); next; next = this.#reader.next()) this.tlvs.push(...next);
    });
  }

  static async connect(path: string): Promise<RawPeer> {
    const socket = connect({ path });
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RawPeer(socket);
  }

  say(type: number, value: string | Uint8Array): void {
    this.write(encodeFrame(type, Buffer.from(value as string)));
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Connects as that endpoint and waits for the answer. @returns the other end's endpoint id */
  async shake(endpointId: string): Promise<string> {
    this.say(TlvType.handshake, endpointId);
    return this.text(TlvType.handshake);
  }

  /** The first TLV of that type, as text. */
  async text(type: number): Promise<string> {
    const found = await eventually(
      () => this.tlvs.find((tlv) => tlv.type === type),
      (tlv) => tlv !== undefined,
      { everyMs: 5, what: `a TLV of type ${type}` },
    );
    return Buffer.from((found as Tlv).value).toString();
  }

  async closed(): Promise<void> {
    await eventually(
      () => this.isClosed,
      (isClosed) => isClosed,
      { everyMs: 5, what: "the end of the connection" },
    );
  }

  end(): void {
    this.socket.destroy();
  }
}

/** Stands between a path and another, and can cut what goes through. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(to: string) {
    this.#server = createServer((near) => {
      const far = connect({ path: to });
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined);
      }
      near.pipe(far).pipe(near);
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
    });
  }

  static async open(path: string, to: string): Promise<Relay> {
    const relay = new Relay(to);
    await new Promise<void>((resolve) => relay.#server.listen(path, resolve));
    return relay;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}
