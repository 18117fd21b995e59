/**
 * What has been, for Query() and ResolveIncident(): the flow table, what the flow log keeps, and the histories. Without a
 * log, flows are those that the table and the devices' rings still have, and of questions and blocks there are none.
 */
import { isIPv4, parseAddress, printMac } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import {
  deviceBegan,
  isLocal,
  ORIGINAL_DESTINATION,
  ORIGINAL_SOURCE,
  peerOffset,
  REPLY_DESTINATION,
  REPLY_SOURCE,
  sameWords,
} from "./direction.ts";
import type { DeviceTable } from "./devices.ts";
import { servicePort } from "./ended-flows.ts";
import type { FlowRecorder, LogFound, LoggedRow, Traced, TraceSearch } from "./flow-recorder.ts";
import { FlowState, type FlowRows } from "./flow-rows.ts";
import type { History } from "./history.ts";
import { historyPage } from "./history-rows.ts";
import type { NameSourceText } from "./names.ts";
import type { Queries, Wanted } from "./query.ts";
import { QueryError } from "./types.ts";
import type {
  BlockedRow,
  FlowRow,
  HomePast,
  HistoryRow,
  QueryFilter,
  QueryPage,
  QuestionRow,
  Resolved,
  ResolveQuestion,
} from "./types.ts";

export interface PastOptions {
  readonly clock: Clock;
  readonly queries: Queries;
  readonly rows: FlowRows;
  readonly devices: DeviceTable;
  readonly history: History;
  readonly log: FlowRecorder | undefined;
  /** Whether a rule in force stops the device, or its traffic with that peer. */
  readonly blocks: (mac: number, peer: Uint32Array | undefined, protocol: number, port: number) => boolean;
}

export class Past implements HomePast {
  readonly #options: PastOptions;

  constructor(options: PastOptions) {
    this.#options = options;
  }

  async flows(filter: QueryFilter): Promise<QueryPage<FlowRow>> {
    const { queries, log, rows } = this.#options;
    if (!log) return queries.flows(filter);
    await log.ready;
    const wanted = queries.parse(filter, "f");
    const { base } = log;
    const live = queries.liveFlows({ ...wanted, before: wanted.before - base });
    const living = new Set<number>();
    for (let row = 0; row < rows.capacity; row++)
      if (rows.state[row] !== FlowState.Free) living.add((rows.serial[row] as number) + base);
    return this.#page(
      "f",
      wanted,
      await this.#found(log, 0, wanted, living),
      flowRow,
      live.map(({ serial, row }) => ({ serial: serial + base, row })),
    );
  }

  async questions(filter: QueryFilter): Promise<QueryPage<QuestionRow>> {
    const wanted = this.#options.queries.parse(filter, "q");
    const found = await this.#found(this.#options.log, 1, wanted);
    return this.#page("q", wanted, found, questionRow);
  }

  async blocked(filter: QueryFilter): Promise<QueryPage<BlockedRow>> {
    const wanted = this.#options.queries.parse(filter, "b");
    const found = await this.#found(this.#options.log, 2, wanted);
    return this.#page("b", wanted, found, (row) => ({ ...flowRow(row), Rule: row.extra }));
  }

  history(filter: QueryFilter): QueryPage<HistoryRow> {
    const { queries, history, devices } = this.#options;
    const wanted = queries.parse(filter, "h");
    const { rows, next } = historyPage(history, [...devices.values()], wanted);
    return { rows, truncated: next !== undefined, nextCursor: next ? queries.cursor("h", next.end, next.device) : "" };
  }

  async #found(
    log: FlowRecorder | undefined,
    kind: 0 | 1 | 2,
    wanted: Wanted,
    living: ReadonlySet<number> = NONE,
  ): Promise<LogFound> {
    if (!log) return { rows: [], complete: -Infinity, generation: 0 };
    await log.ready;
    const { mac, since, until, prefix, domain, before, limit, detail } = wanted;
    const found = await log.find({
      kind,
      mac,
      since,
      until,
      prefix,
      domain,
      before,
      limit,
      generation: detail,
      living,
    });
    if (found === "expired")
      throw new QueryError("Cursor has expired: what it stood in has been summed up since; start again without");
    return found;
  }

  /** Rows of the log with those of the table between them. */
  #page<Row>(
    kind: string,
    { limit }: Wanted,
    { rows, complete, generation }: LogFound,
    rowOf: (row: LoggedRow) => Row,
    live: readonly { readonly serial: number; readonly row: Row }[] = [],
  ): QueryPage<Row> {
    const logged = rows.map((row) => ({ serial: row.serial, row: rowOf(row) }));
    const all = [...live, ...logged].filter(({ serial }) => serial > complete).sort((a, b) => b.serial - a.serial);
    const page = all.slice(0, limit);
    const isCut = all.length > limit;
    const truncated = isCut || complete > -Infinity;
    const place = isCut ? (page.at(-1) as { serial: number }).serial : complete + 1;
    return {
      rows: page.map(({ row }) => row),
      truncated,
      nextCursor: truncated ? this.#options.queries.cursor(kind, place, generation) : "",
    };
  }

  async erase(mac: number): Promise<void> {
    await this.#options.log?.erase(mac);
  }

  async *export(mac: number): AsyncIterableIterator<LoggedRow> {
    if (this.#options.log) yield* this.#options.log.export(mac);
  }

  async resolve(question: ResolveQuestion): Promise<Resolved> {
    const { log, devices, blocks } = this.#options;
    const search: TraceSearch = {
      from: question.time - question.toleranceMs,
      to: question.time + question.toleranceMs,
      protocol: question.protocol,
      outside: parseAddress(question.sourceAddress) as Uint32Array,
      port: question.sourcePort,
      peer: question.destinationAddress === undefined ? undefined : parseAddress(question.destinationAddress),
      peerPort: question.destinationPort,
    };
    const live = this.#traceLive(search);
    const found = (await log?.trace(search)) ?? new Map<number, Traced>();
    for (const [mac, traced] of live) {
      const logged = found.get(mac);
      found.set(
        mac,
        logged ? { ...traced, exactly: logged.exactly + traced.exactly, perhaps: logged.perhaps } : traced,
      );
    }
    // Who certainly had the port, before those whose range it lies in; two that may have had it are none.
    const sure = [...found].filter(([, { exactly }]) => exactly > 0);
    const candidates = sure.length > 0 ? sure : [...found];
    const flowCount = candidates.reduce((sum, [, { exactly, perhaps }]) => sum + (exactly || perhaps), 0);
    const [one, ...others] = candidates;
    if (!one || others.length > 0)
      return { found: false, device: undefined, physAddress: "", flowCount, blocked: false };
    const [mac, { peer, peerPort }] = one;
    return {
      found: true,
      device: devices.byMac(mac)?.number,
      physAddress: printMac(mac),
      flowCount,
      blocked: blocks(mac, peer, question.protocol, peerPort),
    };
  }

  /** Flows of the table; those that live do so until now. */
  #traceLive(search: TraceSearch): Map<number, Traced> {
    const { rows, devices, clock } = this.#options;
    const found = new Map<number, Traced>();
    for (let row = 0; row < rows.capacity; row++) {
      const slot = rows.device[row] as number;
      if (rows.state[row] === FlowState.Free || slot < 0 || rows.protocol[row] !== search.protocol) continue;
      const direction = rows.direction[row] as number;
      const end = rows.state[row] === FlowState.Live ? clock.now() : (rows.seen[row] as number);
      if (isLocal(direction) || end < search.from || (rows.start[row] as number) > search.to) continue;
      const began = deviceBegan(direction);
      const at = row * 16;
      const outside = at + (began ? REPLY_DESTINATION : ORIGINAL_DESTINATION);
      const isOwn = sameWords(rows.addresses, outside, rows.addresses, at + (began ? ORIGINAL_SOURCE : REPLY_SOURCE));
      if (!sameWords(rows.addresses, outside, search.outside, 0) || (isOwn && isIPv4(search.outside))) continue;
      if (search.port !== undefined && rows.ports[row * 4 + (began ? 3 : 1)] !== search.port) continue;
      const peer = at + peerOffset(direction);
      if (search.peer && !sameWords(rows.addresses, peer, search.peer, 0)) continue;
      if (search.peerPort !== undefined && rows.ports[row * 4 + (began ? 1 : 0)] !== search.peerPort) continue;
      const mac = devices.bySlot(slot)?.mac;
      if (mac === undefined) continue;
      const traced = found.get(mac) ?? { exactly: 0, perhaps: 0, peer: undefined, peerPort: 0 };
      traced.exactly++;
      traced.peer = rows.addresses.slice(peer, peer + 4);
      traced.peerPort = servicePort(rows, row);
      found.set(mac, traced);
    }
    return found;
  }
}

const NONE: ReadonlySet<number> = new Set();

function flowRow(row: LoggedRow): FlowRow {
  return {
    Start: row.start,
    End: row.end,
    PhysAddress: printMac(row.mac),
    Initiator: row.byPeer ? "Peer" : "Device",
    Address: row.address,
    Port: row.port,
    Protocol: row.protocol,
    Domain: row.name,
    ...(row.kind === 0 && { DomainSource: row.text as NameSourceText }),
    BytesSent: row.totals[0],
    BytesReceived: row.totals[1],
    PacketsSent: row.totals[2],
    PacketsReceived: row.totals[3],
    Flows: row.count,
  };
}

function questionRow(row: LoggedRow): QuestionRow {
  const [type = "", answers = ""] = row.text.split(" ");
  return {
    Time: row.end,
    PhysAddress: printMac(row.mac),
    Name: row.name,
    Type: type,
    Answers: answers === "" ? [] : answers.split(","),
    AnswerCount: row.totals[1],
    TTL: row.totals[0],
    ResultCode: row.port - 1,
    Count: row.count,
  };
}
