/**
 * WebSocket rows: those of `Device.LocalAgent.MTP.{i}.` listen for controllers, those of a controller dial it. With each
 * endpoint there is one session at most, whoever opened it (R-WS.4).
 */
import { isLoopback } from "../config/option.ts";
import type { Log } from "../lib/log.ts";
import { MtpError } from "../mtp/error.ts";
import type { WebSocketConnection } from "../mtp/websocket-client.ts";
import type { Connected } from "../usp/mtp.ts";
import type { RetryPolicy } from "../usp/retry.ts";
import type { Connect, Dial } from "./connector.ts";
import { clientOptions, serverOptions } from "./websocket-options.ts";

/** Of a port that can't be listened on. */
const LISTEN_RETRY: RetryPolicy = { minimumMs: 5_000, multiplier: 2, maximumMs: 300_000 };
/** The retry parameters allow waits that no timer takes. */
const LONGEST_WAIT_MS = 86_400_000;

export const webSocketListener: Connect = (mtp, options) => {
  const settings = options.tree.at(`${mtp.path}WebSocket.`);
  if (!settings) return undefined;
  return {
    protocol: "WebSocket",
    retry: LISTEN_RETRY,
    watches: [],
    listen: async (signal, { listening, accept }) => {
      const wanted = { ...serverOptions(mtp, settings, options), sessions: options.webSocketSessions };
      // Without a file of authorities TLS asks the system's, and so does the agent.
      const trustsSystem = wanted.tls !== undefined && wanted.tls.ca === undefined;
      const { serveWebSocket } = await import("../mtp/websocket-ends.ts");
      await serveWebSocket(wanted, signal, {
        listening: () => listening(),
        accept: (connection) => accept(connected(connection, connection.peer, trustsSystem)),
        refused: sparing(options.log),
      });
    },
  };
};

/** `undefined` where the row has no Host: the controller comes to us. */
export const webSocketDialler: Dial = (mtp, options) => {
  const { tree, webSocketSessions: sessions, webSocketStates: states } = options;
  const settings = tree.at(`${mtp.path}WebSocket.`);
  const controller = tree.at(mtp.path.replace(/MTP\.\d+\.$/, ""));
  const peer = controller && tree.text(controller, "EndpointID");
  if (!settings || !peer || tree.text(settings, "Host") === "") return undefined;
  const row = mtp.path.slice(0, -1);
  const number = (name: string) => Number(tree.text(settings, name));
  let attempts = 0;
  return {
    protocol: "WebSocket",
    retry: {
      minimumMs: 1000 * number("SessionRetryMinimumWaitInterval"),
      multiplier: number("SessionRetryIntervalMultiplier") / 1000,
      maximumMs: LONGEST_WAIT_MS,
    },
    watches: [],
    connect: async (signal) => {
      // What is wrong with the settings is told, whether or not there is a session now.
      const { tls } = clientOptions(settings, peer, options);
      const isVerified = tls !== undefined && tls.verify !== false;
      await sessions.none(peer, isVerified, signal);
      states.set(row, attempts++);
      const { connectWebSocket } = await import("../mtp/websocket-ends.ts");
      const connection = await connectWebSocket(clientOptions(settings, peer, options), signal);
      if (!(await sessions.add(peer, connection.link, isVerified))) {
        await connection.link.close();
        throw new MtpError("rejected", `a session with ${peer} was opened meanwhile`);
      }
      attempts = 1;
      states.set(row, 0);
      return connected(connection, peer);
    },
  };
};

function connected(
  { link, remoteAddress, tls }: WebSocketConnection,
  peer: string | undefined,
  trustsSystem = false,
): Connected {
  return {
    link,
    connectRecord: { $case: "websocketConnect", value: {} },
    door: { protocol: "WebSocket", local: isLoopback(remoteAddress) },
    ...(peer === undefined ? {} : { peer }),
    ...(tls === undefined ? {} : { tls: { ...tls, trustsSystem } }),
  };
}

const BETWEEN_LINES_MS = 10_000;

/** Who is not let in can't fill the log. */
function sparing(log: Log): (why: string) => void {
  let next = 0;
  let left = 0;
  return (why) => {
    if (performance.now() < next) return void left++;
    log.info(`refused ${why}${left === 0 ? "" : ` (and ${left} more)`}`);
    next = performance.now() + BETWEEN_LINES_MS;
    left = 0;
  };
}
