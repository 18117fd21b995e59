/**
 * Asynchronous operations under way: the rows of `Device.LocalAgent.Request.{i}.` (TR-369 §"Asynchronous Operations").
 * A row lives from the OperateResp to the OperationComplete. Made before the tree, which reads its rows.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";

export type RequestStatus = "Requested" | "Active" | "Canceling" | "Canceled" | "Success" | "Error";

export interface RequestRow {
  readonly instance: number;
  Alias: string;
  readonly Originator: string;
  readonly Command: string;
  readonly CommandKey: string;
  Status: RequestStatus;
  readonly abort: AbortController;
}

/** More that run at one time get 7005: a legal answer (R-OPR.3). */
const MAX_REQUESTS = 64;

export class Requests {
  readonly #rows = new Map<number, RequestRow>();
  #last = 0;
  #listener: (change: "added" | "status" | "removed", row: RequestRow) => void = () => undefined;

  /** The row of an operation about to start. @throws UspError 7005 where too many run, or the same one does */
  add(originator: string, command: string, commandKey: string): RequestRow {
    if (this.#rows.size >= MAX_REQUESTS)
      throw new UspError(UspErrorCode.ResourcesExceeded, `${MAX_REQUESTS} operations are under way already`, command);
    for (const { Originator, Command, CommandKey, instance } of this.#rows.values())
      if (Originator === originator && Command === command && CommandKey === commandKey)
        throw new UspError(
          UspErrorCode.ResourcesExceeded,
          `Request.${instance}. still runs ${command} with command key ${JSON.stringify(commandKey)}`,
          command,
        );
    const instance = ++this.#last;
    const row: RequestRow = {
      instance,
      Alias: `cpe-${instance}`,
      Originator: originator,
      Command: command,
      CommandKey: commandKey,
      Status: "Requested",
      abort: new AbortController(),
    };
    this.#rows.set(instance, row);
    this.#listener("added", row);
    return row;
  }

  status(row: RequestRow, status: RequestStatus): void {
    if (row.Status === status || !this.#rows.has(row.instance)) return;
    row.Status = status;
    this.#listener("status", row);
  }

  remove(row: RequestRow): void {
    if (this.#rows.delete(row.instance)) this.#listener("removed", row);
  }

  /** `Cancel()`: asks the operation to end; its result will be 7023. */
  cancel(row: RequestRow): void {
    this.status(row, "Canceling");
    row.abort.abort(new UspError(UspErrorCode.CommandCanceled, "cancelled by Request.Cancel()"));
  }

  /** Ends all, as when the agent stops. */
  abortAll(): void {
    for (const row of this.#rows.values()) row.abort.abort(new UspError(UspErrorCode.CommandFailed, "the agent stops"));
  }

  get size(): number {
    return this.#rows.size;
  }

  /** Who is told of rows that come, change and go: the agent, which tells the change feed. */
  listen(listener: (change: "added" | "status" | "removed", row: RequestRow) => void): void {
    this.#listener = listener;
  }

  /** What joins the table to its declaration: `bind(Request, requests.binding())`. */
  binding() {
    const rows = this.#rows;
    return {
      rows: {
        instances: (_parent: unknown): Iterable<number> => [...rows.keys()],
        row: (_parent: unknown, instance: number): RequestRow | undefined => rows.get(instance),
      },
      get: {
        Alias: (row: RequestRow) => row.Alias,
        Originator: (row: RequestRow) => row.Originator,
        Command: (row: RequestRow) => row.Command,
        CommandKey: (row: RequestRow) => row.CommandKey,
        Status: (row: RequestRow) => row.Status,
      },
      commands: {
        "Cancel()": (row: RequestRow): Record<never, never> => {
          this.cancel(row);
          return {};
        },
      },
    };
  }
}
