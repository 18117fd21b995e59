/**
 * The flow table: cumulative readings in, credits to devices and destinations out, each byte once.
 *
 * A flow is its source's id and its original tuple; both may come again for another flow, so an ended row stays for a
 * while to tell what arrives late from what is new. Who is credited is decided when the flow is first seen; a flow whose
 * device is not known waits, and is credited in full when the device shows itself.
 *
 * A reading is counted by its difference from the one before, so repeated dumps count nothing, and an older reading that
 * arrives after a newer one counts nothing. A newer reading that is lower means that somebody zeroed the kernel's
 * counters: it counts whole.
 */
import type { Baselines } from "./baselines.ts";
import { Counter } from "./counters.ts";
import { Credits } from "./credits.ts";
import type { CreditsOptions } from "./credits.ts";
import { deviceBegan, deviceOffset, Direction, isLocal, peerOffset, sameWords } from "./direction.ts";
import type { HomeMap } from "./direction.ts";
import type { EndedFlows } from "./ended-flows.ts";
import { flowHash, FlowRows, FlowState, RowFlag } from "./flow-rows.ts";
import { FlowEvent, FlowFlag } from "./observation.ts";
import type { FlowColumns } from "./observation.ts";

/** A dump's row may be read before the flow's end and be stamped and arrive after it. */
const LATE_MS = 10_000;
/** Ended rows stay for so many ticks, and are at most so many. */
const ENDED_TICKS = 30;
const MAX_ENDED_ROWS = 8192;
/** Flows that may wait for their device. */
const MAX_WAITING = 8192;

export interface FlowTableOptions extends CreditsOptions {
  readonly limit: number;
  readonly home: HomeMap;
  readonly ended: Pick<EndedFlows, "add">;
  readonly baselines: Baselines;
}

export class FlowTable {
  readonly rows: FlowRows;
  readonly #options: FlowTableOptions;
  /** Living flows whose packets bypass the kernel's counters. */
  offloaded = 0;
  /** Flows that found no room, and ended flows that no device owned up to. */
  untracked = 0;
  unattributed = 0;
  /** Somebody zeroed the kernel's counters under us. */
  resets = 0;
  #waiting = 0;
  // Ended rows, oldest first, linked by `next`.
  #endedHead = -1;
  #endedTail = -1;
  #endedTotal = 0;
  #releasedTotal = 0;
  readonly #endedAtTick = new Float64Array(ENDED_TICKS);
  #tick = 0;
  readonly #credits: Credits;
  /** Rows of each device, and its flows that were counted when they began but found no room. */
  readonly #rowsOf: Int32Array;
  readonly #rowlessOf: Int32Array;

  constructor(options: FlowTableOptions) {
    this.#options = options;
    this.rows = new FlowRows(options.limit);
    this.#credits = new Credits(this.rows, options);
    this.#rowsOf = new Int32Array(options.slots);
    this.#rowlessOf = new Int32Array(options.slots);
  }

  /** Rows alive, those that wait included. */
  get live(): number {
    return this.rows.used - (this.#endedTotal - this.#releasedTotal);
  }
  get waiting(): number {
    return this.#waiting;
  }

  /** Takes a batch of a source's flows. Allocates nothing but room for new flows. */
  apply(columns: FlowColumns, source: number): void {
    for (let i = 0; i < columns.length; i++) this.#applyOne(columns, i, source);
    this.#credits.flushSent();
  }

  /** A whole dump has passed: what neither it nor an event since its start showed has ended. */
  dumped(startedAt: number, source: number): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++)
      if (rows.state[row] === FlowState.Live && rows.source[row] === source && (rows.seen[row] as number) < startedAt) {
        rows.flags[row] = (rows.flags[row] as number) | RowFlag.EndedByDump;
        this.#end(row);
      }
    this.#options.baselines.clear();
  }

  /** The home or its addresses changed: flows that waited may have found their device. */
  bindWaiting(): void {
    if (this.#waiting === 0) return;
    const { rows } = this;
    for (let row = 0; row < rows.capacity && this.#waiting > 0; row++)
      if (rows.state[row] !== FlowState.Free && (rows.device[row] as number) < 0) this.#tryBind(row);
    this.#credits.flushSent();
  }

  /**
   * An address has a new owner. Flows that began just before are the new owner's: the news of it travels slower than the
   * first packets. What they moved so far stays where it was credited.
   */
  ownerChanged(words: ArrayLike<number>, offset: number, slot: number, since: number): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] !== FlowState.Live || (rows.start[row] as number) < since) continue;
      const device = rows.device[row] as number;
      if (device < 0 || device === slot) continue;
      const at = row * 16 + deviceOffset(rows.direction[row] as number);
      if (!sameWords(rows.addresses, at, words, offset)) continue;
      this.#count(row, -1);
      this.#detach(row);
      this.#attach(row, slot);
      this.#count(row, 1);
    }
  }

  /** A device's row goes: its flows wait for it to show itself again, and only what they move from now on will count. */
  forgetDevice(slot: number): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] === FlowState.Free) continue;
      if (rows.peerDevice[row] === slot) rows.peerDevice[row] = -1;
      if (rows.device[row] !== slot) continue;
      if (rows.state[row] === FlowState.Live) this.#count(row, -1);
      else rows.direction[row] = Direction.Ignored;
      this.#detach(row);
      rows.domain[row] = "";
      rows.domainSource[row] = 0;
    }
    this.#rowlessOf[slot] = 0;
  }

  /** What has ended and is kept for a while is no longer the device's. */
  forgetEnded(slot: number): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.device[row] !== slot || rows.state[row] === FlowState.Free || rows.state[row] === FlowState.Live)
        continue;
      rows.direction[row] = Direction.Ignored;
      this.#detach(row);
      rows.domain[row] = "";
      rows.domainSource[row] = 0;
    }
  }

  /** Whether the device has a living flow with the address. */
  hasPeer(slot: number, words: ArrayLike<number>, offset: number): boolean {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++)
      if (
        rows.device[row] === slot &&
        rows.state[row] === FlowState.Live &&
        sameWords(rows.addresses, row * 16 + peerOffset(rows.direction[row] as number), words, offset)
      )
        return true;
    return false;
  }

  /** Visits the living flows of devices with the Internet: device, peer's address, name, and how that is known. */
  eachNamed(visit: (slot: number, addresses: Uint32Array, offset: number, name: string, source: number) => void): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] !== FlowState.Live || (rows.device[row] as number) < 0 || rows.domain[row] === "") continue;
      const offset = row * 16 + peerOffset(rows.direction[row] as number);
      const source = rows.domainSource[row] as number;
      visit(rows.device[row] as number, rows.addresses, offset, rows.domain[row] as string, source);
    }
  }

  /** Visits the living flows of devices with the Internet: row, device, peer's address. */
  eachOutside(visit: (row: number, slot: number, addresses: Uint32Array, offset: number) => void): void {
    const { rows } = this;
    for (let row = 0; row < rows.capacity; row++) {
      const direction = rows.direction[row] as number;
      if (rows.state[row] !== FlowState.Live || (rows.device[row] as number) < 0 || isLocal(direction)) continue;
      visit(row, rows.device[row] as number, rows.addresses, row * 16 + peerOffset(direction));
    }
  }

  /** The second's work: ended rows that have stayed long enough go to the devices' past. */
  tick(): void {
    const index = this.#tick++ % ENDED_TICKS;
    const until = this.#endedAtTick[index] as number;
    this.#endedAtTick[index] = this.#endedTotal;
    while (this.#releasedTotal < until) this.#releaseOldest();
  }

  /** Everything that has ended goes to the past now: at the end of a replay. */
  settle(): void {
    while (this.#endedHead >= 0) this.#releaseOldest();
  }

  #applyOne(columns: FlowColumns, i: number, source: number): void {
    const { rows } = this;
    const hash = flowHash(columns, i);
    const event = columns.event[i] as number;
    let row = rows.find(columns, i, source, hash);
    if (row >= 0) {
      if (rows.state[row] === FlowState.Ended) {
        if (this.#isLate(row, columns, i, event)) return;
        if (this.#isSameLife(row, columns, i, event)) this.#revive(row);
        else row = this.#supersede(row);
      } else if (event === FlowEvent.New) {
        if (!this.#isRestart(row, columns, i)) return;
        this.#end(row);
        row = this.#supersede(row);
      }
    }
    if (row < 0) {
      row = this.#create(columns, i, source, hash, event);
      if (row < 0) return;
    }
    // A dump's row from before this life is its predecessor's; what it is not, the next dump will tell.
    const early = (rows.start[row] as number) - (columns.time[i] as number);
    if (event === FlowEvent.Counters && early > 0 && early < LATE_MS) return;
    this.#read(row, columns, i);
    if (event !== FlowEvent.End) return;
    // Dumps are stamped when they are read, ends by the kernel: the flow's own end tells what comes after it.
    rows.seen[row] = columns.time[i] as number;
    this.#end(row);
  }

  /** Whether an observation of an ended flow is an old one. */
  #isLate(row: number, columns: FlowColumns, i: number, event: number): boolean {
    const time = columns.time[i] as number;
    const end = this.rows.seen[row] as number;
    if (event === FlowEvent.New) return time < end || this.#isOwnNew(row, time);
    const comparison = this.#compare(row, columns, i);
    // The kernel may deliver an End twice, if another listener missed it the first time.
    if (event === FlowEvent.End)
      return comparison === Comparison.Equal || (comparison === Comparison.Lower && time <= end);
    return time <= end || (comparison !== Comparison.Higher && time < end + LATE_MS);
  }

  /** Beginnings and ends may come by different ways, so an end can overtake its flow's beginning. */
  #isOwnNew(row: number, time: number): boolean {
    const { rows } = this;
    if (((rows.flags[row] as number) & RowFlag.NewSeen) !== 0 || time >= (rows.seen[row] as number) + LATE_MS)
      return false;
    rows.flags[row] = (rows.flags[row] as number) | RowFlag.NewSeen;
    return true;
  }

  /** A dump declared the flow ended, wrongly. */
  #isSameLife(row: number, columns: FlowColumns, i: number, event: number): boolean {
    if (event === FlowEvent.New || ((this.rows.flags[row] as number) & RowFlag.EndedByDump) === 0) return false;
    const comparison = this.#compare(row, columns, i);
    return comparison === Comparison.Equal || comparison === Comparison.Higher;
  }

  /** Whether a New event on a living row begins another flow, whose predecessor's End was lost. */
  #isRestart(row: number, columns: FlowColumns, i: number): boolean {
    const { rows } = this;
    const time = columns.time[i] as number;
    if (((rows.flags[row] as number) & RowFlag.NewSeen) === 0) {
      // A dump showed the flow before its own New event arrived.
      rows.flags[row] = (rows.flags[row] as number) | RowFlag.NewSeen;
      if (time < (rows.start[row] as number)) rows.start[row] = time;
      if (time > (rows.seen[row] as number)) rows.seen[row] = time;
      return false;
    }
    return time > (rows.seen[row] as number);
  }

  /** An ended row, which may still wait for its device, makes way for another life of its id and tuple; always -1. */
  #supersede(row: number): number {
    this.rows.supersede(row);
    return -1;
  }

  #revive(row: number): void {
    const { rows } = this;
    this.#unlink(row);
    this.#releasedTotal++;
    rows.state[row] = FlowState.Live;
    rows.flags[row] = (rows.flags[row] as number) & ~RowFlag.EndedByDump;
    if ((rows.device[row] as number) >= 0) this.#count(row, 1);
  }

  /** Takes a row out of the list of ended ones. */
  #unlink(row: number): void {
    const { next, previous } = this.rows;
    const before = previous[row] as number;
    const after = next[row] as number;
    if (before < 0) this.#endedHead = after;
    else next[before] = after;
    if (after < 0) this.#endedTail = before;
    else previous[after] = before;
  }

  /** A row for a flow not known so far; -1: not the home's, or no room. */
  #create(columns: FlowColumns, i: number, source: number, hash: number, event: number): number {
    const { rows } = this;
    const { home, baselines } = this.#options;
    const direction = home.classify(columns.addresses, i * 16);
    if (direction === Direction.Ignored) return -1;
    if (!rows.hasFree) this.#makeRoom();
    const owner = this.#owner(columns.addresses, i * 16, direction);
    const row = this.#mayTake(owner) ? rows.take(columns, i, source, hash) : -1;
    if (row < 0) {
      this.#creditUntracked(columns, i, direction, event);
      return -1;
    }
    rows.direction[row] = direction;
    if (event === FlowEvent.New) {
      rows.flags[row] = RowFlag.NewSeen;
      if (baselines.size > 0) baselines.drop(columns, i);
    } else if (baselines.size > 0 && baselines.take(columns, i, rows.credited, row * 4)) {
      for (let k = 0; k < 4; k++) rows.last[row * 4 + k] = rows.credited[row * 4 + k] as number;
      rows.flags[row] = RowFlag.Opened;
    }
    this.#waiting++;
    this.#tryBind(row);
    return row;
  }

  /** Takes a reading of a living row. */
  #read(row: number, columns: FlowColumns, i: number): void {
    const { rows } = this;
    const time = columns.time[i] as number;
    const at = row * 4;
    const comparison = isSilent(columns, i) ? Comparison.Equal : this.#compare(row, columns, i);
    if (comparison === Comparison.Lower) {
      if (time <= (rows.seen[row] as number)) return;
      // What was owed stays owed: credited is in terms of `last`, which starts again.
      for (let k = 0; k < 4; k++)
        rows.credited[at + k] = (rows.credited[at + k] as number) - (rows.last[at + k] as number);
      this.resets++;
    }
    const flags = rows.flags[row] as number;
    const now = flags | (columns.flags[i] as number);
    if ((now & ~flags & FlowFlag.Offloaded) !== 0) this.offloaded++;
    rows.flags[row] = now;
    if (time > (rows.seen[row] as number)) rows.seen[row] = time;
    if (comparison === Comparison.Equal) return;
    rows.last[at] = columns.packets[i] as number;
    rows.last[at + 1] = columns.bytes[i] as number;
    rows.last[at + 2] = columns.replyPackets[i] as number;
    rows.last[at + 3] = columns.replyBytes[i] as number;
    if ((rows.device[row] as number) >= 0) this.#credits.credit(row);
  }

  /** A reading against the row's newest one. Lower in anything is Lower. */
  #compare(row: number, columns: FlowColumns, i: number): number {
    const { last } = this.rows;
    const at = row * 4;
    const packets = (columns.packets[i] as number) - (last[at] as number);
    const bytes = (columns.bytes[i] as number) - (last[at + 1] as number);
    const replyPackets = (columns.replyPackets[i] as number) - (last[at + 2] as number);
    const replyBytes = (columns.replyBytes[i] as number) - (last[at + 3] as number);
    if (packets < 0 || bytes < 0 || replyPackets < 0 || replyBytes < 0) return Comparison.Lower;
    return packets > 0 || bytes > 0 || replyPackets > 0 || replyBytes > 0 ? Comparison.Higher : Comparison.Equal;
  }

  /** Gives a waiting row its device, if it is known by now, with all that the row owes. */
  #tryBind(row: number): void {
    const { rows } = this;
    const { home } = this.#options;
    if (rows.direction[row] === Direction.Unknown) {
      const direction = home.classify(rows.addresses, row * 16);
      if (direction === Direction.Unknown) return;
      rows.direction[row] = direction;
      if (direction === Direction.Ignored && rows.state[row] === FlowState.Live) {
        this.#waiting--;
        rows.release(row);
        return;
      }
    }
    if (rows.direction[row] === Direction.Ignored) return;
    const slot = this.#owner(rows.addresses, row * 16, rows.direction[row] as number);
    if (slot < 0) return;
    this.#attach(row, slot);
    const direction = rows.direction[row] as number;
    if (rows.state[row] === FlowState.Live) this.#count(row, 1);
    if (!isLocal(direction)) {
      const opened = ((rows.flags[row] as number) & RowFlag.Opened) === 0;
      rows.flags[row] = (rows.flags[row] as number) | RowFlag.Opened;
      if (opened && deviceBegan(direction)) this.#countOpened(slot, rows.flags[row] & RowFlag.NewSeen);
      this.#credits.name(row);
      const destination = this.#credits.destination(row);
      const { flows } = this.#options.destinations;
      if (opened) flows[destination] = (flows[destination] as number) + 1;
    }
    this.#credits.credit(row);
    if (((rows.flags[row] as number) & RowFlag.NewSeen) !== 0) this.#options.watch?.began(row);
  }

  /** Half of the table is room enough for any one device: the other half is for the others. */
  #mayTake(owner: number): boolean {
    if (owner < 0) return this.#waiting < MAX_WAITING;
    return (this.#rowsOf[owner] as number) < this.rows.limit / 2;
  }

  #attach(row: number, slot: number): void {
    this.rows.device[row] = slot;
    this.#rowsOf[slot] = (this.#rowsOf[slot] as number) + 1;
    this.#waiting--;
  }

  #detach(row: number): void {
    const slot = this.rows.device[row] as number;
    this.#rowsOf[slot] = (this.#rowsOf[slot] as number) - 1;
    this.rows.device[row] = -1;
    this.rows.destination[row] = -1;
    this.#waiting++;
  }

  /** A flow that began without a row has been counted; one that shows itself later without its New is taken for it. */
  #countOpened(slot: number, newSeen: number): void {
    const rowless = this.#rowlessOf[slot] as number;
    if (newSeen === 0 && rowless > 0) this.#rowlessOf[slot] = rowless - 1;
    else this.#options.counters.add(slot, Counter.FlowsOpened, 1);
  }

  #owner(addresses: ArrayLike<number>, at: number, direction: number): number {
    return direction === Direction.Unknown || direction === Direction.Ignored
      ? -1
      : this.#options.owners.find(addresses, at + deviceOffset(direction));
  }

  /** Flows alive with the Internet, of a device. */
  #count(row: number, amount: number): void {
    if (!isLocal(this.rows.direction[row] as number))
      this.#options.counters.addActiveFlows(this.rows.device[row] as number, amount);
  }

  #end(row: number): void {
    const { rows } = this;
    if ((rows.device[row] as number) >= 0) this.#count(row, -1);
    if (((rows.flags[row] as number) & FlowFlag.Offloaded) !== 0) {
      this.offloaded--;
      rows.flags[row] = (rows.flags[row] as number) & ~FlowFlag.Offloaded;
    }
    rows.state[row] = FlowState.Ended;
    rows.next[row] = -1;
    rows.previous[row] = this.#endedTail;
    if (this.#endedTail < 0) this.#endedHead = row;
    else rows.next[this.#endedTail] = row;
    this.#endedTail = row;
    this.#endedTotal++;
    if (this.#endedTotal - this.#releasedTotal > MAX_ENDED_ROWS) this.#releaseOldest();
  }

  #releaseOldest(): void {
    const row = this.#endedHead;
    this.#unlink(row);
    this.#release(row);
  }

  /** An ended row, already out of the list, becomes the past of its device. */
  #release(row: number): void {
    const { rows } = this;
    this.#releasedTotal++;
    if ((rows.device[row] as number) < 0) {
      if (rows.direction[row] !== Direction.Ignored) this.unattributed++;
    } else if (!isLocal(rows.direction[row] as number)) {
      if (rows.domain[row] === "") this.#credits.name(row);
      this.#options.ended.add(rows, row, rows.domain[row] as string);
    }
    if ((rows.device[row] as number) >= 0) this.#detach(row);
    this.#waiting--;
    rows.release(row);
  }

  /** Ended rows give way before the table grows, if they are many, and when it is full, in any case. */
  #makeRoom(): void {
    const ended = this.#endedTotal - this.#releasedTotal;
    if (ended > MAX_ENDED_ROWS / 2 || (ended > 0 && this.rows.full)) this.#releaseOldest();
  }

  /** A flow that has no row counts when it ends, whole, because nothing of it was counted before. */
  #creditUntracked(columns: FlowColumns, i: number, direction: number, event: number): void {
    if (event === FlowEvent.New) this.untracked++;
    const slot = event === FlowEvent.Counters ? -1 : this.#owner(columns.addresses, i * 16, direction);
    if (slot < 0) return;
    const isOpened = deviceBegan(direction) && !isLocal(direction);
    if (event === FlowEvent.New) {
      if (!isOpened) return;
      this.#countOpened(slot, 1);
      this.#rowlessOf[slot] = (this.#rowlessOf[slot] as number) + 1;
      return;
    }
    if (isOpened) this.#countOpened(slot, 0);
    this.#credits.whole(slot, direction, columns, i);
  }
}

/** Conntrack says nothing of counters in updates, nor where accounting was off: that is no reading of zero. */
function isSilent(columns: FlowColumns, i: number): boolean {
  return (
    columns.packets[i] === 0 && columns.bytes[i] === 0 && columns.replyPackets[i] === 0 && columns.replyBytes[i] === 0
  );
}

const Comparison = { Lower: -1, Equal: 0, Higher: 1 } as const;
