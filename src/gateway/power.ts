/**
 * `Reboot()` and `FactoryReset()`: commands of the host that the configuration names, run without a shell once the answer
 * has left. Why they ran is kept, so that Boot! can say it after the restart.
 */
import { spawn } from "node:child_process";
import type { AgentConfig } from "../config/agent.ts";
import type { Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import type { Power, RestartReason } from "../objects/device-root.ts";

interface Restart extends RestartReason {
  /** Whether the next start begins with a model as at the first. */
  readonly forget: boolean;
}

const DOCUMENT = "restart";
/** For the OperateResp to leave. */
const DELAY_MS = 1000;

export function powerOf(
  { reboot_command, factory_reset_command }: Pick<AgentConfig, "reboot_command" | "factory_reset_command">,
  store: Store,
  log: Log,
): Power {
  const restart = (command: readonly string[], forget: boolean) => async (why: RestartReason) => {
    await store.save(DOCUMENT, { ...why, forget } satisfies Restart);
    log.warn(`${why.cause}${why.reason === "" ? "" : ` (${why.reason})`}: ${command.join(" ")}`);
    setTimeout(() => run(command, log, () => store.save(DOCUMENT, undefined)), DELAY_MS);
  };
  return {
    ...(reboot_command.length > 0 ? { reboot: restart(reboot_command, false) } : {}),
    ...(factory_reset_command.length > 0 ? { factoryReset: restart(factory_reset_command, true) } : {}),
  };
}

/** Why this start came, as the last life kept it; it says so once. */
export function takeRestart(store: Store): Restart | undefined {
  const kept = store.load(DOCUMENT) as Partial<Restart> | undefined;
  if (kept === undefined) return undefined;
  // If the disk refuses, the next start tells it again.
  store.save(DOCUMENT, undefined).catch(() => undefined);
  const { cause, reason, commandKey, forget } = kept ?? {};
  if (!/^(?:Local|Remote)(?:Reboot|FactoryReset)$/.test(`${cause}`)) return undefined;
  return {
    cause: cause as Restart["cause"],
    reason: typeof reason === "string" ? reason : "",
    commandKey: typeof commandKey === "string" ? commandKey : "",
    forget: forget === true,
  };
}

function run([program, ...args]: readonly string[], log: Log, failed: () => Promise<void>): void {
  const child = spawn(program as string, args, { stdio: "ignore", detached: true });
  const fail = (why: string) => {
    log.error(`${program}: ${why}; nothing restarts`);
    failed().catch(() => undefined);
  };
  child.on("error", (error) => fail(error.message));
  child.on("exit", (code, signal) => {
    if (code !== 0) fail(signal === null ? `exited with ${code}` : `ended by ${signal}`);
  });
  child.unref();
}
