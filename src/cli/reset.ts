/** `spin-usp reset`: what controllers changed is forgotten; the next start seeds the model from the configuration. */
import { parseArgs } from "node:util";
import { ConfigError } from "../config.ts";
import { forgetState } from "../gateway/forget.ts";
import { lockState, StateLockedError } from "../gateway/state-lock.ts";
import type { Io } from "./io.ts";
import { readConfig } from "./run.ts";

const USAGE = `Usage: spin-usp reset [--config FILE] [--all]

Forgets what controllers changed: rules, controllers, brokers, subscriptions, roles. The agent must not run.
  --all   also forget the devices with their counters, and the derived identity
`;

export function reset(args: string[], { stdout, stderr }: Io): Promise<number> {
  const fail = (code: number, text: string) => {
    stderr.write(`spin-usp reset: ${text}\n`);
    return Promise.resolve(code);
  };
  let values;
  try {
    values = parseArgs({
      args,
      options: {
        config: { type: "string", short: "c" },
        all: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    return fail(2, `${(error as Error).message}\n\n${USAGE}`);
  }
  if (values.help) {
    stdout.write(USAGE);
    return Promise.resolve(0);
  }
  try {
    const { state_dir } = readConfig(values.config).agent;
    const release = lockState(state_dir);
    try {
      const forgotten = forgetState(state_dir, values.all ? "all" : "model");
      stdout.write(`${state_dir}: ${forgotten} documents forgotten\n`);
      return Promise.resolve(0);
    } finally {
      release();
    }
  } catch (error) {
    if (error instanceof ConfigError) return fail(2, error.message);
    if (error instanceof StateLockedError || (error instanceof Error && "syscall" in error))
      return fail(1, error.message);
    throw error;
  }
}
