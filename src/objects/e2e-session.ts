/** `Device.LocalAgent.Controller.{i}.E2ESession.` */
import { E2ESession } from "../../datamodel/e2e-session.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table, type StoredRow } from "../model/table.ts";
import type { SessionStates } from "../usp/session-states.ts";

export interface E2ESessionParts {
  readonly persistence: Persistence | undefined;
  readonly states: SessionStates;
}

/** TR-181: a Record below it has no room for a payload. */
const MIN_RECORD_BYTES = 512;

export function e2eSessionObjects({ persistence, states }: E2ESessionParts): Implementation[] {
  return [
    table(E2ESession, {
      persistence,
      computed: {
        Status: (row) => states.of(controllerOf(row)).status,
        CurrentRetryCount: (row) => states.of(controllerOf(row)).retryCount,
      },
      validate: ({ values }) => {
        const refuse = (name: string, why: string) => {
          throw new UspError(UspErrorCode.InvalidValue, `${name}: ${why}`, name);
        };
        const { SessionMode, PayloadSecurity, MaxUSPRecordSize } = values;
        if (MaxUSPRecordSize > 0 && MaxUSPRecordSize < MIN_RECORD_BYTES)
          refuse("MaxUSPRecordSize", `is 0 or at least ${MIN_RECORD_BYTES}`);
        // It would lock the controller out.
        if (SessionMode === "Require" && PayloadSecurity === "TLS" && !states.hasIdentity)
          refuse("SessionMode", "the agent has no certificate of its own; set PayloadSecurity to Plaintext as well");
      },
      commands: {
        "Reset()": (row) => {
          states.reset(controllerOf(row));
          return {};
        },
      },
    }),
  ];
}

const controllerOf = ({ parent }: StoredRow<unknown>) => `Device.LocalAgent.Controller.${parent?.instance}`;
