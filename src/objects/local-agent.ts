/** `Device.LocalAgent.`: the agent, its MTPs, controllers and subscriptions. */
import {
  BootParameter,
  Controller,
  ControllerMtp,
  LocalAgent,
  Mtp,
  Request,
  Subscription,
  Threshold,
} from "../../datamodel/local-agent.ts";
import type { Clock } from "../lib/clock.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";
import { add, addMine, certificateObjects } from "./certificates.ts";
import { foreignIdFault } from "../lib/endpoint-id.ts";
import type { MtpStates } from "../usp/mtp.ts";
import type { Protocol } from "../usp/policy.ts";
import type { Requests } from "../usp/requests.ts";
import { subscriptionRows } from "../usp/subscription-rows.ts";
import type { Trust } from "../usp/trust/trust.ts";
import { thresholdRows } from "../usp/threshold-rows.ts";

export interface AgentParts {
  readonly endpointId: string;
  readonly version: string;
  /** MTPs that can be connected. */
  readonly protocols: readonly Protocol[];
  readonly persistence: Persistence | undefined;
  readonly mtpStates: MtpStates;
  readonly requests: Requests;
  readonly trust: Trust;
  readonly clock: Clock;
  /** Of a Controller row, by instance path without final dot. */
  readonly sendOnBoardRequest: (controller: string) => void;
}

export function localAgentObjects(parts: AgentParts): Implementation[] {
  return [
    localAgent(parts),
    ...mtpObjects(parts),
    ...controllerObjects(parts),
    ...certificateObjects(parts.trust.certificates),
    subscription(parts),
    table(Threshold, { persistence: parts.persistence, ...thresholdRows }),
    bind(Request, parts.requests.binding()),
  ];
}

function localAgent({ endpointId, version, persistence, protocols, trust }: AgentParts): Implementation {
  const started = performance.now();
  return table(LocalAgent, {
    persistence,
    computed: {
      EndpointID: () => endpointId,
      SoftwareVersion: () => version,
      UpTime: () => Math.floor((performance.now() - started) / 1000),
      SupportedProtocols: () => protocols,
      SupportedNumberOfSubscriptions: () => Subscription.maxRows,
      SupportedThresholdOperator: () => ["Rise", "Fall", "Cross", "Eq", "NotEq"] as const,
    },
    commands: {
      "AddCertificate()": (_, args, call) => {
        add(trust.certificates, args, call);
        return {};
      },
    },
  });
}

function mtpObjects({ persistence, mtpStates }: AgentParts): Implementation[] {
  return [
    table(Mtp, {
      persistence,
      computed: {
        Status: ({ instance, values }) =>
          values.Enable ? mtpStates.of(`Device.LocalAgent.MTP.${instance}`).status : "Down",
      },
    }),
  ];
}

function controllerObjects({ persistence, endpointId, sendOnBoardRequest, trust }: AgentParts): Implementation[] {
  return [
    table(Controller, {
      persistence,
      computed: {
        InheritedRole: ({ instance }) => trust.inherited.get(`Device.LocalAgent.Controller.${instance}`) ?? [],
      },
      validate: ({ values }) => {
        const fault = foreignIdFault(values.EndpointID);
        if (fault !== undefined) throw new UspError(UspErrorCode.InvalidValue, `EndpointID: ${fault}`, "EndpointID");
        if (values.EndpointID === endpointId)
          throw new UspError(UspErrorCode.InvalidValue, "EndpointID: that is the agent itself (R-ARC.2)", "EndpointID");
      },
      commands: {
        "AddMyCertificate()": ({ values }, args, call) => {
          addMine(trust.certificates, values.EndpointID, args, call);
          return {};
        },
        "SendOnBoardRequest()": ({ instance, values }) => {
          if (!values.Enable) throw new UspError(UspErrorCode.CommandFailed, "the controller is disabled");
          sendOnBoardRequest(`Device.LocalAgent.Controller.${instance}`);
          return {};
        },
      },
    }),
    table(ControllerMtp, { persistence }),
    table(BootParameter, { persistence }),
  ];
}

function subscription({ persistence, clock }: AgentParts): Implementation {
  const { initial, ...rules } = subscriptionRows(clock);
  return table(Subscription, {
    persistence,
    ...rules,
    initial: (caller, { instance }) => ({ ...initial(caller), ID: `cpe-${instance}` }),
  });
}
