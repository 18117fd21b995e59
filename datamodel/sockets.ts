/** TR-181 2.19: Unix domain sockets, and the UDS settings of MTP rows. */
import { object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { AGENT_MTP, CONTROLLER_MTP } from "./standard.ts";
import { alias, enumeration, reference, string } from "./values.ts";

const SOCKET = "Device.UnixDomainSockets.UnixDomainSocket.{i}.";

const socketRef = (description: string) => readWrite(reference(SOCKET), description);

export const UnixDomainSockets = object("Device.UnixDomainSockets.", { description: "Unix domain sockets." });

export const UnixDomainSocket = object(SOCKET, {
  description: "A socket that the configuration names: one for each role that listens, and the one of the USP Broker.",
  keys: [["Alias"]],
  functionalKeys: [["Path"]],
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Mode: readOnly(enumeration("Listen", "Connect"), "Whether controllers come there, or the agent goes."),
    Path: readOnly(string({ maxLength: 4096 }), "Its file."),
  },
});

export const MtpUds = object(`${AGENT_MTP}UDS.`, {
  description: "Its settings where Protocol is UDS.",
  params: { UnixDomainSocketRef: socketRef("The socket that it uses.") },
});

export const ControllerMtpUds = object(`${CONTROLLER_MTP}UDS.`, {
  description: "Where the controller is, where Protocol is UDS.",
  params: {
    UnixDomainSocketRef: socketRef("The socket by which it is known, whatever endpoint id it says there."),
    USPServiceRef: readOnly(string({ maxLength: 256 }), "Its USP Service; empty, since this agent is no USP Broker."),
  },
});
