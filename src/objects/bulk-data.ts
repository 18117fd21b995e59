/** `Device.BulkData.`: the profiles of reports. What makes and delivers them is src/usp/bulk-data. */
import {
  BulkData,
  BulkDataCsvEncoding,
  BulkDataHttp,
  BulkDataJsonEncoding,
  BulkDataMqtt,
  BulkDataParameter,
  BulkDataProfile,
  BulkDataUriParameter,
} from "../../datamodel/bulk-data.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Change, Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";
import { csvOption, csvOptionFits } from "../usp/bulk-data/csv-options.ts";
import { isForRecords } from "../usp/bulk-data/records-topics.ts";
import { checkReference } from "../usp/bulk-data/report.ts";
import type { BulkDataStates } from "../usp/bulk-data/state.ts";

export interface BulkDataObjectParts {
  readonly persistence: Persistence | undefined;
  readonly states: BulkDataStates;
  /** Seconds. */
  readonly minInterval: number;
  /** ForceCollection() of a profile, by instance path with final dot. */
  readonly force: (profile: string) => void;
}

export function bulkDataObjects({ persistence, states, minInterval, force }: BulkDataObjectParts): Implementation[] {
  return [
    table(BulkData, {
      persistence,
      computed: {
        Status: ({ values }) => (!values.Enable ? "Disabled" : states.isFailing ? "Error" : "Enabled"),
        MinReportingInterval: () => minInterval,
        Protocols: () => ["HTTP", "MQTT", "USPEventNotif"] as const,
        EncodingTypes: () => ["JSON", "CSV"] as const,
        ParameterWildCardSupported: () => true,
        MaxNumberOfProfiles: () => BulkDataProfile.maxRows,
        MaxNumberOfParameterReferences: () => BulkDataParameter.maxRows,
      },
    }),
    table(BulkDataProfile, {
      persistence,
      initial: ({ controller }) => ({ Controller: controller }),
      validate: ({ values }) => {
        if (values.ReportingInterval < minInterval)
          throw new UspError(
            UspErrorCode.InvalidValue,
            `ReportingInterval: ${values.ReportingInterval} s is less than MinReportingInterval, ${minInterval} s`,
            "ReportingInterval",
          );
      },
      commands: {
        "ForceCollection()": (_row, _args, { objectPath }) => {
          force(objectPath);
          return {};
        },
      },
    }),
    table(BulkDataParameter, {
      persistence,
      validate: ({ values }, change) => {
        mustBePrintable(values.Name);
        mustExist(values.Reference, ["parameter", "object"], change);
      },
    }),
    table(BulkDataCsvEncoding, {
      persistence,
      validate: ({ values }) => {
        for (const name of ["FieldSeparator", "RowSeparator", "EscapeCharacter"] as const)
          if (csvOption(name, values[name]) === undefined)
            throw new UspError(
              UspErrorCode.InvalidValue,
              `${name}: ${JSON.stringify(values[name])} is not ${csvOptionFits(name)}`,
              name,
            );
      },
    }),
    table(BulkDataJsonEncoding, { persistence }),
    table(BulkDataHttp, {
      persistence,
      computed: {
        CompressionsSupported: () => ["GZIP"] as const,
        MethodsSupported: () => ["POST", "PUT"] as const,
      },
    }),
    table(BulkDataUriParameter, {
      persistence,
      validate: ({ values }, change) => {
        mustBePrintable(values.Name);
        mustExist(values.Reference, ["parameter"], change);
      },
    }),
    table(BulkDataMqtt, {
      persistence,
      validate: ({ values }, { tree }) => {
        if (values.PublishTopic !== "" && isForRecords(tree, values.PublishTopic))
          throw new UspError(
            UspErrorCode.InvalidValue,
            "PublishTopic: the agent or a Controller awaits Records there",
            "PublishTopic",
          );
      },
    }),
  ];
}

/** A name stands in the report as it is. */
function mustBePrintable(name: string): void {
  if (/\p{Cc}/u.test(name))
    throw new UspError(UspErrorCode.InvalidValue, "Name: control characters are no part of a name", "Name");
}

/** In the supported model; instances come and go. Empty: not said yet. */
function mustExist(reference: string, kinds: readonly ("parameter" | "object")[], { tree }: Change): void {
  if (reference === "") return;
  if (/\p{Cc}/u.test(reference))
    throw new UspError(UspErrorCode.InvalidValue, "Reference: control characters are no part of a path", "Reference");
  try {
    checkReference(tree, reference, kinds);
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    throw new UspError(UspErrorCode.InvalidValue, `Reference: ${error.message}`, "Reference");
  }
}
