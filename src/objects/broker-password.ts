/**
 * A password that was written for one broker goes to no other: who may change the address, but not read the password,
 * would have it sent to himself.
 */
import type { Change } from "../model/implementation.ts";
import type { StoredRow } from "../model/table.ts";

type Guard = (row: StoredRow<object>, param: string, value: unknown, transaction: Change) => void;

/**
 * For a table with a Password: a Set of `address` to another value clears it, unless it gives a Password too, before or
 * after.
 */
export function clearsPassword(address: "BrokerAddress" | "Host"): Guard {
  /** Rows whose Password was given, and not taken back. */
  const given = new WeakMap<Change, Set<StoredRow<object>>>();
  return (row, param, value, transaction) => {
    if (param !== "Password" && param !== address) return;
    let rows = given.get(transaction);
    if (!rows) given.set(transaction, (rows = new Set()));
    if (param === "Password") {
      if (rows.has(row)) return;
      rows.add(row);
      return transaction.undo(() => rows.delete(row));
    }
    // What a guard may not do else: the write that follows marks the row as changed.
    const values = row.values as Record<string, unknown>;
    if (value === values[address] || rows.has(row)) return;
    const before = values.Password;
    values.Password = "";
    transaction.undo(() => (values.Password = before));
  };
}
