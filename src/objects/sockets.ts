/** `Device.UnixDomainSockets.`: the sockets of the configuration, and the UDS settings of MTP rows. */
import { ControllerMtpUds, MtpUds, UnixDomainSocket, UnixDomainSockets } from "../../datamodel/sockets.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";

export function socketObjects(persistence: Persistence | undefined): Implementation[] {
  return [
    bind(UnixDomainSockets, { get: {} }),
    // Made from the configuration at each start, and kept for their instance numbers.
    table(UnixDomainSocket, { persistence }),
    table(MtpUds, { persistence }),
    table(ControllerMtpUds, { persistence, computed: { USPServiceRef: () => "" } }),
  ];
}
