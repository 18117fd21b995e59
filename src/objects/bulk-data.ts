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
import { table, type StoredRow } from "../model/table.ts";
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
      guard: clearsLogin(),
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

/**
 * A password goes to no other origin than that it was written for: a Set that leads elsewhere clears it, and the name with
 * it, unless it gives a Password too, before or after.
 */
function clearsLogin() {
  /** Rows whose Password was given, and not taken back. */
  const given = new WeakMap<Change, Set<StoredRow<object>>>();
  return (row: StoredRow<object>, param: string, value: unknown, transaction: Change): void => {
    const values = row.values as Record<string, unknown>;
    const rows = given.get(transaction) ?? new Set();
    given.set(transaction, rows);
    if (param === "Password" && !rows.has(row)) {
      rows.add(row);
      transaction.undo(() => rows.delete(row));
    }
    if (param !== "URL" || rows.has(row) || originOf(value) === originOf(values.URL)) return;
    const { Username, Password } = values;
    Object.assign(values, { Username: "", Password: "" });
    transaction.undo(() => Object.assign(values, { Username, Password }));
  };
}

const originOf = (url: unknown): string => (url === "" ? "" : new URL(url as string).origin);

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
