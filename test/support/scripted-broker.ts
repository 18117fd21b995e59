/** A broker that answers as a test tells it, to see what exactly a client sends and how it takes odd answers. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import mqttPacket from "mqtt-packet";

export type Sent = mqttPacket.Packet & { [name: string]: unknown };

export interface Script {
  readonly version: 4 | 5;
  /** Fields of the CONNACK; `undefined` closes the connection instead; "silence" never answers. */
  readonly connack?: { [name: string]: unknown } | "close" | "silence";
  /** Code of each subscription, by topic filter; 0 by default. */
  readonly suback?: (topic: string) => number;
}

export interface ScriptedBroker {
  readonly url: string;
  /** Packets that came, in order. */
  readonly seen: Sent[];
  /** Sends a packet on the newest connection. */
  send(packet: { cmd: string; [name: string]: unknown }): void;
  /** Ends the newest connection after what was sent on it. */
  hangUp(): void;
  /** The first packet of a kind, as soon as it came. */
  packet(cmd: string): Promise<Sent>;
  stop(): Promise<void>;
}

export async function startScriptedBroker(script: Script): Promise<ScriptedBroker> {
  const seen: Sent[] = [];
  const sockets = new Set<Socket>();
  let newest: Socket | undefined;
  let notify: () => void = () => undefined;
  const options = { protocolVersion: script.version };
  const write = (socket: Socket, packet: object) =>
    mqttPacket.writeToStream(packet as mqttPacket.Packet, socket, options);
  const server = createServer((socket) => {
    sockets.add(socket);
    newest = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    const parser = mqttPacket.parser(options);
    parser.on("packet", (packet) => {
      seen.push(packet as Sent);
      notify();
      if (packet.cmd === "connect") {
        const answer = script.connack ?? {};
        if (answer === "close") socket.destroy();
        else if (answer !== "silence")
          write(socket, { cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false, ...answer });
      } else if (packet.cmd === "subscribe") {
        const topics = packet.subscriptions.map(({ topic }) => topic);
        write(socket, {
          cmd: "suback",
          messageId: packet.messageId,
          granted: topics.map((topic) => script.suback?.(topic) ?? 0),
        });
      } else if (packet.cmd === "publish" && packet.qos === 1) {
        write(socket, { cmd: "puback", messageId: packet.messageId, reasonCode: 0 });
      } else if (packet.cmd === "disconnect") socket.end();
    });
    socket.on("data", (chunk) => parser.parse(chunk));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    send: (packet) => void (newest && write(newest, packet)),
    hangUp: () => void newest?.end(),
    async packet(cmd) {
      for (;;) {
        const found = seen.find((packet) => packet.cmd === cmd);
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
