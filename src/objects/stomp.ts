/** `Device.STOMP.`: the connections to brokers, and the STOMP settings of MTP rows. */
import { ControllerMtpStomp, MtpStomp, Stomp, StompConnection } from "../../datamodel/stomp.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";
import { clearsPassword } from "./broker-password.ts";
import type { StompStates } from "./stomp-states.ts";

export interface StompParts {
  readonly persistence: Persistence | undefined;
  readonly states: StompStates;
}

export function stompObjects({ persistence, states }: StompParts): Implementation[] {
  const pathOf = ({ instance }: { readonly instance: number }) => `Device.STOMP.Connection.${instance}`;
  return [
    bind(Stomp, { get: {} }),
    table(StompConnection, {
      persistence,
      guard: clearsPassword("Host"),
      computed: {
        Status: (row) => (row.values.Enable ? states.of(pathOf(row)).status : "Disabled"),
        LastChangeDate: (row) => states.of(pathOf(row)).since,
      },
      committed: ({ kind, row }) => {
        if (kind === "removed") states.forget(pathOf(row));
      },
    }),
    table(MtpStomp, {
      persistence,
      computed: { DestinationFromServer: ({ values }) => states.of(values.Reference).destinationFromServer },
    }),
    table(ControllerMtpStomp, { persistence }),
  ];
}
