/** GetSupportedProtocol: the versions that the agent speaks, whatever the controller says of itself. */
import type { ResponseType } from "../codec.ts";

/** The schemas only ever grew, so that one decoder takes all. */
export const PROTOCOL_VERSIONS: readonly string[] = ["1.0", "1.1", "1.2", "1.3", "1.4"];
export const NEWEST_VERSION = "1.4";

export function getSupportedProtocol(): ResponseType {
  return {
    $case: "getSupportedProtocolResp",
    value: { agentSupportedProtocolVersions: PROTOCOL_VERSIONS.join(",") },
  };
}
