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
  /** Milliseconds since 1970: when it was asked for. */
  readonly startedAt: number;
  /** Texts of its arguments, where it goes on after a restart. */
  readonly kept: Readonly<Record<string, string>> | undefined;
}

/** Where the requests that outlive a restart are kept; the numbers of rows with them, since none is given twice (R-ARC.8). */
export interface KeptRequests {
  load(): unknown;
  save(document: unknown): void;
}

/** Why operations end that go on at the next start: they say nothing. */
const AGENT_STOPS = new UspError(UspErrorCode.CommandFailed, "the agent stops");

/** More that run at one time get 7005: a legal answer (R-OPR.3). */
const MAX_REQUESTS = 64;

export class Requests {
  readonly #rows = new Map<number, RequestRow>();
  readonly #kept: KeptRequests | undefined;
  #last = 0;
  readonly #suspended = new Set<number>();
  #listener: (change: "added" | "status" | "removed", row: RequestRow) => void = () => undefined;

  constructor(kept?: KeptRequests) {
    this.#kept = kept;
    const { last, rows } = read(kept?.load());
    this.#last = last;
    for (const row of rows) this.#rows.set(row.instance, row);
  }

  /**
   * The row of an operation about to start. `kept`: the texts of its arguments, where it outlives a restart.
   * @throws UspError 7005 where too many run, or the same one does
   */
  add(
    originator: string,
    command: string,
    commandKey: string,
    { startedAt, kept }: { startedAt: number; kept?: Readonly<Record<string, string>> },
  ): RequestRow {
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
      startedAt,
      kept,
    };
    this.#rows.set(instance, row);
    if (kept) this.#save();
    this.#listener("added", row);
    return row;
  }

  status(row: RequestRow, status: RequestStatus): void {
    if (row.Status === status || !this.#rows.has(row.instance)) return;
    row.Status = status;
    this.#listener("status", row);
  }

  remove(row: RequestRow): void {
    if (!this.#rows.delete(row.instance)) return;
    if (row.kept) this.#save();
    this.#listener("removed", row);
  }

  /** Of the life before: they go on. */
  kept(): readonly RequestRow[] {
    return [...this.#rows.values()].filter(({ kept }) => kept);
  }

  /** Whether the operation was ended by the agent's stop and goes on at the next start. It is then no longer under way. */
  suspends(row: RequestRow): boolean {
    if (!row.kept || row.abort.signal.reason !== AGENT_STOPS) return false;
    this.#suspended.add(row.instance);
    return true;
  }

  #save(): void {
    const rows = this.kept().map(({ instance, Alias, Originator, Command, CommandKey, startedAt, kept }) => {
      return { instance, Alias, Originator, Command, CommandKey, startedAt, args: kept };
    });
    this.#kept?.save({ last: this.#last, rows });
  }

  /** `Cancel()`: asks the operation to end; its result will be 7023. */
  cancel(row: RequestRow): void {
    this.status(row, "Canceling");
    row.abort.abort(new UspError(UspErrorCode.CommandCanceled, "cancelled by Request.Cancel()"));
  }

  /** Ends all, as when the agent stops. */
  abortAll(): void {
    for (const row of this.#rows.values()) row.abort.abort(AGENT_STOPS);
  }

  /** Under way. */
  get size(): number {
    return this.#rows.size - this.#suspended.size;
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

/** What was saved, as far as it makes sense. */
function read(document: unknown): { readonly last: number; readonly rows: readonly RequestRow[] } {
  const { last, rows } = (document ?? {}) as { last?: unknown; rows?: unknown };
  const saved = Array.isArray(rows) ? rows.flatMap(readRow).slice(0, MAX_REQUESTS) : [];
  const greatest = saved.reduce((max, { instance }) => Math.max(max, instance), 0);
  return { last: Number.isSafeInteger(last) ? Math.max(last as number, greatest) : greatest, rows: saved };
}

function readRow(value: unknown): RequestRow[] {
  const { instance, startedAt, args, ...texts } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const { Alias, Originator, Command, CommandKey } = texts as Readonly<Record<string, string>>;
  const isText = [Alias, Originator, Command, CommandKey].every((text) => typeof text === "string");
  const isNumber = Number.isSafeInteger(instance) && (instance as number) > 0 && Number.isSafeInteger(startedAt);
  if (!isText || !isNumber || typeof args !== "object" || args === null) return [];
  if (!Object.values(args).every((text) => typeof text === "string")) return [];
  return [
    {
      instance: instance as number,
      Alias: Alias as string,
      Originator: Originator as string,
      Command: Command as string,
      CommandKey: CommandKey as string,
      Status: "Requested",
      abort: new AbortController(),
      startedAt: startedAt as number,
      kept: args as Readonly<Record<string, string>>,
    },
  ];
}
