/** `Device.LocalAgent.`: the agent, its MTPs, controllers and subscriptions. */
import {
  BootParameter,
  Controller,
  ControllerMtp,
  ControllerMtpMqtt,
  LocalAgent,
  Mtp,
  MtpMqtt,
  Request,
  Subscription,
} from "../../datamodel/device.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { parsePath } from "../model/path.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";
import { endpointIdFault } from "../usp/endpoint-id.ts";
import type { MtpStates } from "../usp/mtp.ts";
import type { Requests } from "../usp/requests.ts";
import type { MqttStates } from "./mqtt-states.ts";

export interface AgentParts {
  readonly endpointId: string;
  readonly version: string;
  readonly persistence: Persistence | undefined;
  readonly mtpStates: MtpStates;
  readonly mqttStates: MqttStates;
  readonly requests: Requests;
}

export function localAgentObjects(parts: AgentParts): Implementation[] {
  return [
    localAgent(parts),
    ...mtpObjects(parts),
    ...controllerObjects(parts),
    subscription(parts),
    bind(Request, parts.requests.binding()),
  ];
}

function localAgent({ endpointId, version, persistence }: AgentParts): Implementation {
  const started = performance.now();
  return table(LocalAgent, {
    persistence,
    computed: {
      EndpointID: () => endpointId,
      SoftwareVersion: () => version,
      UpTime: () => Math.floor((performance.now() - started) / 1000),
      SupportedProtocols: () => ["MQTT" as const],
    },
  });
}

function mtpObjects({ persistence, mtpStates, mqttStates }: AgentParts): Implementation[] {
  return [
    table(Mtp, {
      persistence,
      computed: {
        Status: ({ instance, values }) =>
          values.Enable ? mtpStates.of(`Device.LocalAgent.MTP.${instance}`).status : "Down",
      },
    }),
    table(MtpMqtt, {
      persistence,
      computed: { ResponseTopicDiscovered: ({ values }) => mqttStates.of(values.Reference).responseInformation },
    }),
  ];
}

function controllerObjects({ persistence, endpointId }: AgentParts): Implementation[] {
  return [
    table(Controller, {
      persistence,
      computed: { InheritedRole: () => [] },
      validate: ({ values }) => {
        const fault = endpointIdFault(values.EndpointID);
        if (fault !== undefined) throw new UspError(UspErrorCode.InvalidValue, `EndpointID: ${fault}`, "EndpointID");
        if (values.EndpointID === endpointId)
          throw new UspError(UspErrorCode.InvalidValue, "EndpointID: that is the agent itself (R-ARC.2)", "EndpointID");
      },
    }),
    table(ControllerMtp, { persistence }),
    table(ControllerMtpMqtt, { persistence }),
    table(BootParameter, { persistence }),
  ];
}

function subscription({ persistence }: AgentParts): Implementation {
  return table(Subscription, {
    persistence,
    persists: ({ values }) => values.Persistent,
    initial: ({ controller }, { instance }) => ({
      Recipient: controller,
      CreationDate: Date.now(),
      ID: `cpe-${instance}`,
    }),
    guard: ({ values }, param, value) => {
      const isSet = param === "ReferenceList" ? values.ReferenceList.length > 0 : param === "NotifType";
      if (!isSet) return;
      const before = param === "NotifType" ? values.NotifType : values.ReferenceList.join(",");
      if (String(value) !== before)
        throw new UspError(
          UspErrorCode.NotWritable,
          `${param} never changes once it is set: delete the row and add another`,
          param,
        );
    },
    validate: ({ values }) => {
      if (values.ID === "") throw new UspError(UspErrorCode.InvalidValue, "ID is empty", "ID");
      if (new Set(values.ReferenceList).size < values.ReferenceList.length)
        throw new UspError(UspErrorCode.InvalidValue, "ReferenceList names something twice", "ReferenceList");
      for (const path of values.ReferenceList) {
        try {
          parsePath(path);
        } catch (error) {
          if (!(error instanceof UspError)) throw error;
          throw new UspError(UspErrorCode.InvalidValue, `ReferenceList: ${error.message}`, "ReferenceList");
        }
      }
    },
  });
}
