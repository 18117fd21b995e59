/** Lists on the gateway: what the configuration says, and the loader, read once there is a list. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "../../datamodel/spin-root.ts";
import type { Config } from "../config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import { Transaction } from "../model/transaction.ts";
import type { Tree } from "../model/tree.ts";
import { LIST_TABLE } from "../objects/spin-list.ts";
import type { Spin } from "../spin/spin.ts";
import type { FetchPolicy } from "./list-fetch.ts";
import type { ListLoader } from "./list-loader.ts";
import { addRow, mustBe } from "./seed-rows.ts";

export interface ListsOptions {
  readonly home: Pick<Spin, "lists" | "listDesk" | "excludedFromLists">;
  readonly config: Config;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
}

/** Resolves when the lists that were kept are loaded. The returned function ends it. */
export async function startLists({ home, config, store, clock, log }: ListsOptions): Promise<() => Promise<void>> {
  let loading: Promise<ListLoader> | undefined;
  let isClosed = false;
  const begin = async () => {
    const { ListLoader } = await import("./list-loader.ts");
    const loader = new ListLoader({
      desk: home.listDesk,
      book: home.lists,
      directory: join(store.directory, "lists"),
      policy: () => policyOf(config),
      excluded: () => home.excludedFromLists(),
      clock,
      log: log.child("lists"),
    });
    await loader.open();
    if (isClosed) await loader.close();
    return loader;
  };
  const start = () => {
    if (isClosed) return;
    loading ??= begin();
    loading.catch((error: unknown) => log.error("lists can't be loaded", error));
  };
  home.listDesk.onSource(start);
  if (home.listDesk.sources.length > 0) start();
  await loading?.catch(() => undefined);
  return async () => {
    isClosed = true;
    await loading?.then((loader) => loader.close()).catch(() => undefined);
  };
}

/** Rows of Origin System are the configuration's at each start; whether they are enabled stays as it was set. */
export function seedLists(tree: Tree, { lists }: Pick<Config, "lists">): void {
  const rows = () => [...tree.all(mustBe(tree.object(LIST_TABLE)))];
  const transaction = new Transaction(tree);
  const own = rows().filter((row) => tree.text(row, "Origin") === "System");
  for (const row of own) if (!lists.some(({ name }) => name === tree.text(row, "Alias"))) transaction.remove(row);
  for (const { name, enable, url, file, format, checksum, refresh_interval } of lists) {
    const values = {
      URL: url === "" ? pathToFileURL(file).href : url,
      Format: format,
      Checksum: checksum,
      RefreshInterval: `${refresh_interval}`,
    };
    const known = rows().find((row) => tree.text(row, "Alias") === name);
    if (!known) addRow(transaction, ROOT, LIST_TABLE, { Alias: name, Enable: `${enable}`, ...values });
    else if (own.includes(known))
      for (const [param, value] of Object.entries(values))
        if (tree.text(known, param) !== value) transaction.set(known, param, value);
  }
  transaction.commit();
}

function policyOf({ bulkData }: Config): FetchPolicy {
  const { ca_file: caFile, allow_local: allowLocal } = bulkData;
  return { allowLocal, ...(caFile === "" ? {} : { ca: readFileSync(caFile) }) };
}
