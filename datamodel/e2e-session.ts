/** `Device.LocalAgent.Controller.{i}.E2ESession.`: sessions between the agent and a controller, end to end. */
import { command, object, readOnly, readWrite } from "./schema.ts";
import { enumeration, int, unsignedInt } from "./values.ts";

export const E2ESession = object("Device.LocalAgent.Controller.{i}.E2ESession.", {
  description: "Sessions with the controller, end to end over whatever MTP.",
  params: {
    SessionMode: readWrite(
      enumeration("Require", "Allow", "Forbid"),
      "Require: nothing is said outside of a session. Allow: the controller may use one. Forbid: it is told that there is none.",
      { default: "Allow" },
    ),
    Status: readOnly(enumeration("Up", "Negotiating", "Down"), "Whether there is a session."),
    SessionExpiration: readWrite(
      unsignedInt(),
      "Seconds without a Record after which a session is over; 0: it never is.",
      { default: 0 },
    ),
    SessionRetryMinimumWaitInterval: readWrite(
      unsignedInt({ min: 1, max: 65535 }),
      "Seconds before the first attempt to open a session anew, at least.",
      { default: 5 },
    ),
    SessionRetryIntervalMultiplier: readWrite(
      unsignedInt({ min: 1000, max: 65535 }),
      "By how much each wait is longer than the one before, times 1000.",
      { default: 2000 },
    ),
    CurrentRetryCount: readOnly(unsignedInt(), "Attempts to open a session that failed since one worked."),
    MaxUSPRecordSize: readWrite(
      unsignedInt(),
      "Greatest Record of a session in bytes, at least 512; what is longer goes in several. 0: as much as the MTP takes.",
      { default: 0 },
    ),
    MaxRetransmitTries: readWrite(
      int({ min: -1, max: 10 }),
      "How often one Record is sent again before the session is begun anew. 0: as the agent sees fit (10); -1: always.",
      { default: 0 },
    ),
    PayloadSecurity: readWrite(
      enumeration("Plaintext", "TLS"),
      "How payloads are secured in sessions that the agent opens; TLS also refuses others where a session is required.",
      { default: "TLS" },
    ),
  },
  commands: { "Reset()": command("sync", "Ends the session; the next Message opens another where one is required.") },
});
