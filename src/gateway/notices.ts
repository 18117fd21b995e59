/** Notices to the resident: what sends them is read only where the configuration names a place for them. */
import type { Config } from "../config.ts";
import type { Zone } from "../lib/local-time.ts";
import { describe, type Log } from "../lib/log.ts";
import type { Tree } from "../model/tree.ts";
import type { ConnectMqtt } from "./local-broker.ts";

/** Until the signal. Never rejects: without notices, the home is as safe as before. */
export async function runNotices(
  { config, tree, zone, log }: { readonly config: Config; readonly tree: Tree; readonly zone: Zone; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const { notice, localBroker: broker } = config;
  if (notice.url === "" && notice.topic === "") return;
  const connect: ConnectMqtt = async (options, attempt) =>
    (await import("../mtp/mqtt.ts")).connectMqtt(options, attempt);
  try {
    const { runNotifier } = await import("./notices/notifier.ts");
    await runNotifier({ tree, notice, broker, zone, log: log.child("notices"), connect }, signal);
  } catch (error) {
    log.error(`notices can't be sent: ${describe(error)}`);
  }
}
