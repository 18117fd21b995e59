/** The embedded broker: aedes (MQTT 3.1.1) on a free port of loopback. */
import { Aedes } from "aedes";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";

export interface EmbeddedBroker {
  readonly port: number;
  close(): Promise<void>;
}

export async function startBroker(): Promise<EmbeddedBroker> {
  const aedes = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    aedes.handle(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
