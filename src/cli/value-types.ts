/** Values with the types that the agent itself declares, by GetSupportedDM; what is unknown stays text. */
import type { Controller } from "../controller/controller.ts";
import { supportedPath } from "../controller/command-types.ts";
import type { GetOutcome, SupportedType } from "../controller/outcome.ts";
import { UspError } from "../lib/usp-error.ts";
import { wholeNumber, type Json } from "./json.ts";

/** Each value of the outcomes by its full path. */
export async function typedValues(
  controller: Controller,
  outcomes: readonly GetOutcome[],
): Promise<[path: string, value: Json][]> {
  const objects = outcomes.flatMap((outcome) => outcome.objects);
  const types = await declaredTypes(controller, new Set(objects.map(({ path }) => supportedPath(path))));
  return objects.flatMap(({ path, params }) => {
    const supported = supportedPath(path);
    return [...params].map(([name, value]): [string, Json] => [path + name, typed(value, types.get(supported + name))]);
  });
}

async function declaredTypes(controller: Controller, paths: ReadonlySet<string>): Promise<Map<string, SupportedType>> {
  const types = new Map<string, SupportedType>();
  if (paths.size === 0) return types;
  const options = { firstLevelOnly: true, commands: false, events: false, uniqueKeys: false };
  const outcomes = await controller.supported([...paths], options).catch((error: unknown) => {
    if (error instanceof UspError) return [];
    throw error;
  });
  for (const { objects } of outcomes) {
    for (const { path, params } of objects) {
      for (const { name, type } of params) types.set(path + name, type);
    }
  }
  return types;
}

function typed(value: string, type: SupportedType | undefined): Json {
  switch (type) {
    case "boolean":
      return value === "true" || value === "1" ? true : value === "false" || value === "0" ? false : value;
    case "int":
    case "long":
    case "unsignedInt":
    case "unsignedLong":
      return wholeNumber(value);
    case "decimal":
      return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
    default:
      return value;
  }
}
