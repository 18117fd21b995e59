/** First start, WebSocket: ports to listen on become MTP rows; a controller is dialled, or comes. */
import { webSocketTarget } from "../config/websocket.ts";
import { addRow, pathOf, setAll, type TransportSeed } from "./seed-rows.ts";
import { webSocketAlias } from "./websocket-options.ts";

export const webSocketSeed: TransportSeed = {
  protocol: "WebSocket",
  mtps: (transaction, config) =>
    new Map(
      config.websockets.map(({ name, port, path, tls, keepalive }) => {
        const mtp = addRow(transaction, "Device.LocalAgent.", "Device.LocalAgent.MTP.", {
          Alias: webSocketAlias(name),
          Enable: "true",
          Protocol: "WebSocket",
        });
        setAll(transaction, `${mtp.path}WebSocket.`, {
          Port: `${port}`,
          Path: path,
          EnableEncryption: `${tls}`,
          KeepAliveInterval: `${keepalive}`,
        });
        return [name, pathOf(mtp)];
      }),
    ),
  route: ({ websocket, websocket_url }, mtps) => {
    if (websocket_url === "") return mtps.has(websocket) ? { object: "WebSocket.", values: {} } : undefined;
    const { host, port, path, isTls } = webSocketTarget(websocket_url);
    const values = { Host: host, Port: `${port}`, Path: path, EnableEncryption: `${isTls}` };
    return { object: "WebSocket.", values };
  },
};
