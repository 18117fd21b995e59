/** The flow table alone: a dump of 10,000 flows whose counters all moved, what a flow costs in memory, a query over all. */
import { performance } from "node:perf_hooks";
import { ManualClock } from "../src/lib/clock.ts";
import { silentLog } from "../src/lib/log.ts";
import { parseAddress } from "../src/lib/address.ts";
import { FlowEvent, flowColumns } from "../src/spin/observation.ts";
import type { FlowColumns } from "../src/spin/observation.ts";
import { Spin } from "../src/spin/spin.ts";
import { ms, print, spread } from "./support/table.ts";

const DEVICES = 100;
const FLOWS = 10_000;
const BATCH = 512;
const PEERS = 20;

/** Fills `columns` with flows `from` … of the devices in turn, with counters after `rounds` rounds. */
function fill(columns: FlowColumns, from: number, event: number, rounds: number, time: number): void {
  columns.length = Math.min(BATCH, FLOWS - (from % FLOWS));
  for (let i = 0; i < columns.length; i++) {
    const flow = from + i;
    columns.event[i] = event;
    columns.id[i] = Math.imul(flow, 2654435761) >>> 0;
    columns.protocol[i] = flow % 3 === 0 ? 17 : 6;
    const device = (192 << 24) | (2 << 8) | (10 + (flow % DEVICES));
    const peer = (198 << 24) | (18 << 16) | (Math.floor(flow / DEVICES) % PEERS);
    const words = [device, peer, peer, (203 << 24) | (113 << 8) | 2];
    for (let k = 0; k < 4; k++) {
      columns.addresses[i * 16 + k * 4 + 2] = 0xffff;
      columns.addresses[i * 16 + k * 4 + 3] = words[k] as number;
    }
    columns.sourcePort[i] = columns.replyDestinationPort[i] = 1024 + (flow % 60_000);
    columns.destinationPort[i] = columns.replySourcePort[i] = 443;
    columns.packets[i] = columns.replyPackets[i] = rounds * 3;
    columns.bytes[i] = rounds * 300;
    columns.replyBytes[i] = rounds * 4000;
    columns.time[i] = time;
  }
}

function main(): void {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const spin = new Spin({ clock, log: silentLog });
  const time = () => clock.now();
  spin.observe({
    kind: "network",
    time: time(),
    lanInterfaces: ["br-lan"],
    lanPrefixes: ["192.0.2.0/24"],
    gatewayAddresses: ["192.0.2.1"],
    gatewayMacs: [],
  });
  for (let device = 0; device < DEVICES; device++) {
    const address = `192.0.2.${10 + device}`;
    if (!parseAddress(address)) throw new Error(address);
    spin.observe({
      kind: "neighbour",
      time: time(),
      mac: 0x020000000001 + device,
      address,
      interface: "br-lan",
      state: "reachable",
    });
  }
  const columns = flowColumns(BATCH);
  const pass = (first: number, event: number, rounds: number) => {
    let spent = 0;
    for (let from = first; from < first + FLOWS; from += BATCH) {
      fill(columns, from, event, rounds, time());
      const start = performance.now();
      spin.observe({ kind: "flows", columns });
      spent += performance.now() - start;
    }
    return spent;
  };
  // The second 10,000 are what "a further 10,000" costs.
  pass(0, FlowEvent.New, 0);
  const before = memory();
  pass(FLOWS, FlowEvent.New, 0);
  const bytes = memory() - before;

  const samples: number[] = [];
  let collected = 0;
  let heap = 0;
  for (let round = 1; round <= 60; round++) {
    clock.advance(5000);
    spin.tick();
    pass(FLOWS, FlowEvent.Counters, round);
    if (round === 20) heap = process.memoryUsage().heapUsed;
    const spent = pass(0, FlowEvent.Counters, round);
    if (round > 20) samples.push(spent);
    if (round === 60) collected = process.memoryUsage().heapUsed - heap;
  }
  const median = samples.sort((a, b) => a - b)[samples.length >> 1] as number;
  print({
    figure: "dump of 10,000 flows, all moved, into the flow table",
    measured: spread(samples),
    target: "≤ 5 ms p50",
    met: median <= 5,
    beside: `${((median / FLOWS) * 1e6).toFixed(0)} ns a flow`,
  });
  print({
    figure: "memory of a further 10,000 flows",
    measured: `${(bytes / 1e6).toFixed(2)} MB`,
    target: "≤ 4 MB",
    met: bytes <= 4e6,
    beside: `heap after 40 more dumps of 20,000: ${(collected / 1e6).toFixed(2)} MB`,
  });

  const queries: number[] = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    const { rows } = spin.queryFlows({ limit: 500 });
    queries.push(performance.now() - start);
    if (rows.length !== 500) throw new Error(`${rows.length} rows`);
  }
  print({
    figure: "Query(Flows) of 500 rows from 20,000",
    measured: spread(queries.slice(10)),
    target: "",
    beside: ms(queries[0] as number) + " the first time",
  });
}

/** Bytes in use outside and inside the heap, after a collection where node allows one. */
function memory(): number {
  const { gc } = globalThis as { gc?: () => void };
  for (let i = 0; i < 3; i++) gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

main();
