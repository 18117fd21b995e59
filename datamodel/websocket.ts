/** TR-181 2.19: the WebSocket settings of MTP rows, for controllers that come and for those that the agent dials. */
import { command, object, readOnly, readWrite } from "./schema.ts";
import { seconds, retryMinimum, retryMultiplier, AGENT_MTP, CONTROLLER_MTP } from "./standard.ts";
import { boolean, list, string, unsignedInt } from "./values.ts";

const port = unsignedInt({ min: 1, max: 65535 });
const path = string({ maxLength: 1024 });
const keepAlive = readWrite(seconds({ min: 1 }), "Between Pings.", { default: 60 });

export const MtpWebSocket = object(`${AGENT_MTP}WebSocket.`, {
  description: "Where the agent listens, where Protocol is WebSocket.",
  params: {
    Interfaces: readWrite(
      list(string({ maxLength: 256 }), { maxItems: 8 }),
      "Paths of IP interfaces to listen on; empty: the addresses of the configuration.",
    ),
    Port: readWrite(port, "TCP port.", { default: 8443 }),
    Path: readWrite(path, "Path of the agent's resource: `/usp`."),
    EnableEncryption: readWrite(boolean, "Whether TLS is used.", { default: true }),
    KeepAliveInterval: keepAlive,
  },
});

export const ControllerMtpWebSocket = object(`${CONTROLLER_MTP}WebSocket.`, {
  description: "Where the controller listens, where Protocol is WebSocket. Without a Host it is the one that comes.",
  params: {
    Host: readWrite(string({ maxLength: 256 }), "Host name or address; empty: the agent does not dial."),
    Port: readWrite(port, "TCP port.", { default: 443 }),
    Path: readWrite(path, "Path of the controller's resource: `/usp`."),
    EnableEncryption: readWrite(boolean, "Whether TLS is used.", { default: true }),
    KeepAliveInterval: keepAlive,
    CurrentRetryCount: readOnly(unsignedInt(), "Attempts since the last session; 0 while one is open.", {
      valueChange: false,
    }),
    SessionRetryMinimumWaitInterval: readWrite(retryMinimum, "First wait before dialling again.", { default: 5 }),
    SessionRetryIntervalMultiplier: readWrite(retryMultiplier, "How the wait grows, in thousandths.", {
      default: 2000,
    }),
  },
  commands: { "Reset()": command("sync", "Closes the session and dials anew.") },
});
