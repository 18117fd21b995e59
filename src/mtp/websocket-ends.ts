/** Both ends of WebSocket, read by whoever needs the first of them: in a gateway they are a file of their own, with `ws`. */
export { connectWebSocket } from "./websocket-client.ts";
export { serveWebSocket } from "./websocket-server.ts";
