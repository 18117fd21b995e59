/** What a reset makes the state directory forget. The agent that has it must not have read it yet, or must not run. */
import { readdirSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { ACCESS_DOCUMENT } from "../objects/access-log.ts";
import { SAVED_BRIDGE_RULES, SAVED_RULES } from "./enforcer.ts";
import { FLOW_LOG } from "./flow-log.ts";

/** `model`: what controllers changed. `home`: also the devices with their counters. `all`: also the derived identity. */
export type Forgotten = "model" | "home" | "all";

const KEPT: Readonly<Record<Forgotten, (document: string) => boolean>> = {
  model: (document) => !/^model-|^seeded$/.test(document),
  // Why the agent starts is told before it is forgotten.
  // And no controller makes forget who saw what: FactoryReset() is one's command.
  home: (document) => ["identity", "restart", ACCESS_DOCUMENT].includes(document),
  all: () => false,
};

/** @returns the number of documents. @throws the system's error */
export function forgetState(directory: string, what: Forgotten): number {
  const files = readdirSync(directory).filter(
    (file) =>
      file === SAVED_RULES ||
      file === SAVED_BRIDGE_RULES ||
      (file.endsWith(".json") && !KEPT[what](file.slice(0, -".json".length))),
  );
  for (const file of files) unlinkSync(join(directory, file));
  if (what !== "model") rmSync(join(directory, FLOW_LOG), { recursive: true, force: true });
  return files.length;
}
