/** `Device.X_BENCH.`, joined to nothing but itself. */
import { setTimeout as delay } from "node:timers/promises";
import { Bench, BenchObj, BenchOwn, BenchRow } from "../../datamodel/bench.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { CommandCall, Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table } from "../model/table.ts";
import { Transaction } from "../model/transaction.ts";
import type { InstanceNode, SupportedObject } from "../model/tree.ts";

const MAX_ECHO = 65_536;

/** @param rows number of rows of `Row.{i}.` */
export function benchObjects(rows: number, persistence: Persistence | undefined): Implementation[] {
  const instances = Array.from({ length: rows }, (_, index) => index + 1);
  const memory = { Mem: "", Secret: "" };
  const root = bind(Bench, {
    get: { Mem: () => memory.Mem, Db: () => stored.Db, Secret: () => memory.Secret },
    set: {
      Mem: (_, value) => replace(memory, "Mem", value),
      Db: (_, value) => replace(stored, "Db", value),
      Secret: (_, value) => replace(memory, "Secret", value),
    },
    committed: ({ params }) => {
      if (params.has("Db")) persistence?.changed(GROUP);
    },
    commands: {
      "Ping()": () => ({}),
      "Slow()": async (_row, { Seconds }, { signal }) => {
        await delay(1000 * (Seconds ?? 0), undefined, { signal });
        return {};
      },
      "Echo()": (_row, { Text = "", Times = 1 }) => {
        if (Text.length * Times > MAX_ECHO)
          throw new UspError(UspErrorCode.CommandFailed, `more than ${MAX_ECHO} characters`);
        return { Text: Text.repeat(Times) };
      },
      "Wait()": async (_row, { Seconds }, { signal }) => {
        const began = performance.now();
        await delay(1000 * (Seconds ?? 0), undefined, { signal });
        return { Waited: Math.round(performance.now() - began) };
      },
      "MakeOwn()": (_row, _args, call) => {
        const [parent, object] = ownTable(call);
        const transaction = new Transaction(call.tree);
        const { node } = transaction.add(parent, object, []);
        transaction.check();
        transaction.commit();
        return { Path: node.path };
      },
      "DropOwn()": (_row, _args, call) => {
        const [parent, object] = ownTable(call);
        const newest = [...call.tree.rows(parent, object)].at(-1);
        if (!newest) throw new UspError(UspErrorCode.CommandFailed, "there is no row of Own");
        const transaction = new Transaction(call.tree);
        transaction.remove(newest);
        transaction.commit();
        return { Path: newest.path };
      },
      "Fire()": (_row, { Text = "" }, { tree }) => {
        tree.changes.emit({ kind: "event", path: "Device.X_BENCH.", name: "Fired!", args: { Text } });
        return {};
      },
    },
  });
  const stored = { Db: "" };
  const saved = persistence?.join(GROUP, GROUP, () => ({ next: {}, rows: { "": { ...stored } } }));
  stored.Db = saved?.rows[""]?.["Db"] ?? "";
  const text = (column: number) => (row: number) => `value ${column} of row ${row}`;
  return [
    root,
    bind(BenchRow, {
      rows: {
        instances: () => instances,
        row: (_parent: unknown, instance: number): number | undefined =>
          instance >= 1 && instance <= rows ? instance : undefined,
      },
      get: {
        P1: text(1),
        P2: text(2),
        P3: text(3),
        P4: text(4),
        P5: text(5),
        P6: text(6),
        P7: text(7),
        P8: text(8),
        P9: text(9),
        P10: text(10),
      },
    }),
    table(BenchObj, { persistence }),
    table(BenchOwn, { persistence }),
  ];
}

const GROUP = "Device.X_BENCH.";

function replace<K extends string>(values: Record<K, string>, name: K, value: string): () => void {
  const before = values[name];
  values[name] = value;
  return () => void (values[name] = before);
}

function ownTable({ tree }: CommandCall): [InstanceNode, SupportedObject] {
  return [tree.at("Device.X_BENCH.") as InstanceNode, tree.object("Device.X_BENCH.Own.") as SupportedObject];
}
