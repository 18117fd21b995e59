/** A flow log that is full, for benchmarks. */
import type { ManualClock } from "../../src/lib/clock.ts";
import { Direction } from "../../src/spin/direction.ts";
import type { FlowLog } from "../../src/spin/flow-log/flow-log.ts";
import { flowHash, FlowRows } from "../../src/spin/flow-rows.ts";
import { columnsOf, mac, START } from "../../test/spin/home.ts";
import { now } from "./table.ts";

const MINUTE = 60_000;

export interface Busy {
  readonly devices: number;
  readonly minutes: number;
  readonly flowsAMinute: number;
}

/** What a busy home does, as fast as it goes. @returns bytes written to the journals, and how long it took */
export async function fill(
  log: FlowLog,
  clock: ManualClock,
  { devices, minutes, flowsAMinute }: Busy,
): Promise<{ written: number; wall: number }> {
  const rows = new FlowRows(64);
  log.begin(() => rows.nextSerial++);
  const columns = columnsOf([{ event: "New", from: "192.0.2.10", to: "203.0.113.1" }], START);
  let id = 0;
  let random = 1;
  const next = (below: number) => (random = (Math.imul(random, 1103515245) + 12345) >>> 0) % below;
  let written = 0;
  let known = 0;
  const began = now();
  for (let minute = 0; minute < minutes; minute++) {
    for (let k = 0; k < flowsAMinute; k++) {
      const device = next(devices);
      // Each device has its dozen of peers, and now and then another.
      const peer = next(10) > 0 ? device * 12 + next(12) : next(1 << 16);
      columns.id[0] = id++;
      columns.addresses[7] = columns.addresses[11] = 0xc6000000 + peer;
      columns.sourcePort[0] = columns.replyDestinationPort[0] = 32_768 + next(28_000);
      columns.time[0] = clock.now() + next(MINUTE);
      const row = rows.take(columns, 0, 0, flowHash(columns, 0));
      rows.direction[row] = Direction.Outbound;
      rows.last.set([4 + next(40), 400 + next(40_000), 4 + next(90), 600 + next(400_000)], row * 4);
      rows.seen[row] = (rows.start[row] as number) + next(30_000);
      log.flow(mac(device), rows, row, `host${peer % 4000}.service${peer % 97}.example`);
      rows.release(row);
    }
    clock.advance(MINUTE);
    for (let k = 0; k < 60; k++)
      log.tick(
        rows,
        () => undefined,
        () => "",
      );
    await log.settled();
    const { journalBytes } = log.figures;
    written += Math.max(0, journalBytes - known);
    known = journalBytes;
  }
  const wall = now() - began;
  await log.close(
    rows,
    () => undefined,
    () => "",
  );
  return { written, wall };
}
