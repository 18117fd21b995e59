/** The WebSocket settings of `Device.LocalAgent.`: where the agent listens, and where controllers do. */
import { ControllerMtpWebSocket, MtpWebSocket } from "../../datamodel/websocket.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table, type StoredRow } from "../model/table.ts";

/** How dialling fares, by the instance path of the controller's MTP row: filled by who dials. */
export class WebSocketStates {
  readonly #retries = new Map<string, number>();

  /** Attempts since the last session. */
  retries(path: string): number {
    return this.#retries.get(path) ?? 0;
  }

  set(path: string, retries: number): void {
    if (retries === 0) this.#retries.delete(path);
    else this.#retries.set(path, retries);
  }
}

export interface WebSocketParts {
  readonly persistence: Persistence | undefined;
  readonly states: WebSocketStates;
  /** Closes the session of a controller's MTP row and dials anew. `mtp`: its instance path without final dot. */
  readonly reconnect: (mtp: string) => void;
}

export function webSocketObjects({ persistence, states, reconnect }: WebSocketParts): Implementation[] {
  return [
    table(MtpWebSocket, {
      persistence,
      validate: ({ values }) => {
        mustBePath(values.Path);
        if (values.Interfaces.length > 0)
          throw new UspError(
            UspErrorCode.InvalidValue,
            `Interfaces: this agent has no ${values.Interfaces[0]}; the configuration's option listen names addresses`,
            "Interfaces",
          );
      },
    }),
    table(ControllerMtpWebSocket, {
      persistence,
      computed: { CurrentRetryCount: (row) => states.retries(pathOf(row)) },
      validate: ({ values }) => mustBePath(values.Path),
      commands: {
        "Reset()": (row) => {
          reconnect(pathOf(row));
          return {};
        },
      },
    }),
  ];
}

/** The MTP row's. */
function pathOf({ parent }: StoredRow): string {
  return `Device.LocalAgent.Controller.${parent?.parent?.instance}.MTP.${parent?.instance}`;
}

/** As it stands in a request: nothing that would end the line, or begin a query or a fragment. */
function mustBePath(path: string): void {
  if (/^[\x21\x22\x24-\x3e\x40-\x7e]*$/.test(path)) return;
  throw new UspError(UspErrorCode.InvalidValue, "Path: is the path of a URL, without query and fragment", "Path");
}
