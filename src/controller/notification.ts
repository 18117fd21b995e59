/** What an agent tells unasked. */
import type * as wire from "../../proto/generated/usp-msg.ts";
import { UspError } from "../lib/usp-error.ts";
import type { Values } from "./outcome.ts";

export type NotificationKind = Notification["kind"];

export type Notification = {
  /** ID of the Subscription; empty of an OnBoardRequest. */
  readonly subscriptionId: string;
  readonly msgId: string;
} & (
  | { readonly kind: "ValueChange"; readonly path: string; readonly value: string }
  | { readonly kind: "ObjectCreation"; readonly path: string; readonly uniqueKeys: Values }
  | { readonly kind: "ObjectDeletion"; readonly path: string }
  /** `path` ends with the event's name: `Device.Boot!`. */
  | { readonly kind: "Event"; readonly path: string; readonly params: Values }
  /** `path` ends with the command's name. */
  | {
      readonly kind: "OperationComplete";
      readonly path: string;
      readonly commandKey: string;
      readonly output: Values;
      readonly error?: UspError;
    }
  | {
      readonly kind: "OnBoardRequest";
      readonly path: "";
      readonly oui: string;
      readonly productClass: string;
      readonly serialNumber: string;
      readonly versions: readonly string[];
    }
);

export function notificationOf(msgId: string, { subscriptionId, notification }: wire.Notify): Notification | undefined {
  const common = { subscriptionId, msgId };
  switch (notification?.$case) {
    case "valueChange": {
      const { paramPath, paramValue } = notification.value;
      return { ...common, kind: "ValueChange", path: paramPath, value: paramValue };
    }
    case "objCreation": {
      const { objPath, uniqueKeys } = notification.value;
      return { ...common, kind: "ObjectCreation", path: objPath, uniqueKeys };
    }
    case "objDeletion":
      return { ...common, kind: "ObjectDeletion", path: notification.value.objPath };
    case "event": {
      const { objPath, eventName, params } = notification.value;
      return { ...common, kind: "Event", path: objPath + eventName, params };
    }
    case "operComplete":
      return { ...common, kind: "OperationComplete", ...completionOf(notification.value) };
    case "onBoardReq": {
      const { oui, productClass, serialNumber, agentSupportedProtocolVersions } = notification.value;
      const versions = agentSupportedProtocolVersions.split(",");
      return { ...common, kind: "OnBoardRequest", path: "", oui, productClass, serialNumber, versions };
    }
    default:
      return undefined;
  }
}

function completionOf({ objPath, commandName, commandKey, operationResp }: wire.Notify_OperationComplete) {
  const path = objPath + commandName;
  if (operationResp?.$case === "reqOutputArgs") return { path, commandKey, output: operationResp.value.outputArgs };
  const error = new UspError(operationResp?.value.errCode ?? 7003, operationResp?.value.errMsg ?? "no result", path);
  return { path, commandKey, output: new Map<string, string>(), error };
}
