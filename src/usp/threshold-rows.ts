/**
 * The rules of `Device.LocalAgent.Threshold.{i}.` rows, as options of the table that keeps them:
 * `table(Threshold, { persistence, ...thresholdRows })`.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller } from "../model/implementation.ts";
import { parsePath } from "../model/path.ts";
import type { StoredRow } from "../model/table.ts";

interface ThresholdValues {
  readonly ReferencePath: string;
  readonly ThresholdParam: string;
  readonly ThresholdValue: string;
}

export const thresholdRows = {
  initial: (caller: Caller) => ({ Controller: caller.controller }),
  validate: ({ values }: StoredRow<ThresholdValues>): void => {
    const { ReferencePath, ThresholdParam, ThresholdValue } = values;
    if (ReferencePath !== "" && leafKindOf(ReferencePath, "ReferencePath") !== "object")
      throw refuse("ReferencePath", "it is not the path of an object");
    if (ThresholdParam !== "" && leafKindOf(`Device.${ThresholdParam}`, "ThresholdParam") !== "parameter")
      throw refuse("ThresholdParam", "it is not the name of a parameter");
    if (ThresholdValue !== "" && !/^[+-]?\d{1,16}$/.test(ThresholdValue))
      throw refuse("ThresholdValue", "it is not a whole number");
  },
};

function leafKindOf(path: string, name: string): string {
  try {
    return parsePath(path).leafKind;
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    throw refuse(name, error.message);
  }
}

const refuse = (name: string, why: string) => new UspError(UspErrorCode.InvalidValue, `${name}: ${why}`, name);
