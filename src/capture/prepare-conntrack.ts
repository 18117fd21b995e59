/** The kernel settings without which conntrack counts nothing or tells nothing; per network namespace. */
import { readFile, writeFile } from "node:fs/promises";
import type { NetfilterHelper } from "../netlink/helper.ts";

/** Setting, what it must be, and what is lost without it. Flows made before a setting stood stay without it. */
const WANTED = [
  ["nf_conntrack_acct", "1", "flows have no byte and packet counters"],
  ["nf_conntrack_events", "1", "flows that began before the agent listened end unseen"],
  ["nf_conntrack_timestamp", "1", "start and end of flows are known only as the agent saw them"],
] as const;
const FOLDER = "/proc/sys/net/netfilter";

export interface ConntrackSettings {
  /** Name to value as it stands: the three wanted, `nf_conntrack_max` and `nf_conntrack_count`; `-` if it cannot be read. */
  readonly values: ReadonlyMap<string, string>;
  /** What is not as wanted, what that costs, and the remedy, in words. */
  readonly problems: readonly string[];
}

/** Sets what may be set, through the helper where there is one, and reports. Never rejects. */
export async function prepareConntrack(helper?: NetfilterHelper): Promise<ConntrackSettings> {
  const values = (await throughHelper(helper)) ?? (await directly());
  const problems = WANTED.filter(([name, value]) => values.get(name) !== value).map(
    ([name, value, cost]) => `${name} is ${values.get(name) ?? "-"}: ${cost}; sysctl -w net.netfilter.${name}=${value}`,
  );
  return { values, problems };
}

async function throughHelper(helper: NetfilterHelper | undefined): Promise<Map<string, string> | undefined> {
  if (!helper?.running) return undefined;
  return await helper.prepareConntrack().catch(() => undefined);
}

async function directly(): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (const [name, value] of WANTED) await writeFile(`${FOLDER}/${name}`, value).catch(() => undefined);
  for (const name of [...WANTED.map(([name]) => name), "nf_conntrack_max", "nf_conntrack_count"]) {
    const text = await readFile(`${FOLDER}/${name}`, "latin1").catch(() => "-");
    values.set(name, text.trim());
  }
  return values;
}
