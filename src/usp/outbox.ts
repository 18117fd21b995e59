/**
 * The notifications of one controller: in order, bounded in number and bytes, the newest state kept. What a notification
 * says is decided each time it is sent; one that wants an answer (NotifRetry) stays until its NotifyResp, over reconnects, in
 * TR-369's retry windows.
 */
import type { Notify } from "../../proto/generated/usp-msg.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { requestMsg } from "./codec.ts";
import type { Controller } from "./controllers.ts";
import { textBytes, type Holder, type NotificationRoom } from "./notification-room.ts";
import type { Door } from "./policy.ts";
import { retryDelay } from "./retry.ts";

export type Notification = NonNullable<Notify["notification"]>;

export interface Entry {
  /** Entries of the same key say the same thing, at different times: the newest is enough. */
  readonly key: string;
  /** Path of its subscription; empty for an OnBoardRequest. */
  readonly subscription: string;
  readonly subscriptionId: string;
  readonly retry: boolean;
  /** Whether it says how something stands now (ValueChange): lost, nobody would say it again. */
  readonly isState: boolean;
  /** What it holds while it waits: 0 for a state, which the model holds, and for what is never given up for room. */
  readonly bytes: number;
  /** By the monotonic clock; Infinity: never. */
  readonly expiresAt: number;
  /** What to say to the one behind that door now; `undefined`: nothing, any more or at all. */
  readonly build: (door: Door) => Notification | undefined;
  /** Once its NotifyResp came. */
  readonly answered?: () => void;
}

/**
 * What became of a Record: the MTP took it; it is more than the MTP carries, ever; it was refused on a connection that
 * looks open (it may just be breaking); or its connection broke.
 */
export type Posted = "taken" | "tooBig" | "refused" | "lost";

/** Where notifications leave. */
export interface Postman {
  /** Through which door the controller can be reached now. */
  door(controller: Controller): Door | undefined;
  /** `undefined` if it can't be reached now. */
  post(controller: Controller, msg: ReturnType<typeof requestMsg>): Promise<Posted> | undefined;
  newMsgId(): string;
  /** Whether it is a USP Broker, to which no notification says that it wants an answer. */
  isBroker?(controller: Controller): boolean;
}

export interface OutboxCounters {
  sent: number;
  /** Replaced by a newer value of the same parameter before they were sent or answered. */
  coalesced: number;
  /** Lost to a full queue or to want of room, or too big for the MTP. */
  dropped: number;
  expired: number;
}

export interface OutboxParts {
  readonly postman: Postman;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Happenings that wait, of each kind: those that want an answer, and the others. Of states, eight times as many. */
  readonly capacity: number;
  /** That happenings may hold, in bytes: one half what is out and unanswered, the other what waits. */
  readonly capacityBytes: number;
  /** Shared by all controllers. */
  readonly room: NotificationRoom;
  readonly counters: OutboxCounters;
}

interface Unanswered {
  readonly entry: Entry;
  readonly msgId: string;
  attempts: number;
  timer: NodeJS.Timeout | undefined;
}

/** The first change of a burst leaves at once; those within it become one flush. A value that runs wild costs 100 a second. */
const FLUSH_INTERVAL_MS = 10;
/** Each state is there once, whatever happens to it: their number is that of parameters watched. */
const STATES = 8;
/** Handed to the MTP and not yet taken: more wait here, where newer values replace older ones. */
const WINDOW = 64;
/** The same in bytes, of texts: far below what an MTP holds for all controllers, so that it refuses none for it. */
const WINDOW_BYTES = 2 ** 20;

/** Of one kind, oldest first. */
class Line {
  readonly entries = new Set<Entry>();
  bytes = 0;
}

export class Outbox implements Holder {
  #controller: Controller;
  readonly #postman: Postman;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #random: () => number;
  readonly #capacity: number;
  readonly #capacityBytes: number;
  readonly #room: NotificationRoom;
  readonly #counters: OutboxCounters;
  readonly #queue = new Map<string, Entry>();
  /** Of the queue: happenings that want an answer, those that do not, and states. */
  readonly #kinds = { retry: new Line(), plain: new Line(), state: new Line() };
  readonly #unanswered = new Map<string, Unanswered>();
  readonly #unansweredByKey = new Map<string, string>();
  #unansweredBytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  /** Said once for each time that the queue overflows. */
  #isOverflowing = false;
  #lastFlush = -Infinity;
  #scheduled: { cancel: () => void } | undefined;

  constructor(controller: Controller, parts: OutboxParts) {
    this.#controller = controller;
    this.#postman = parts.postman;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#random = parts.random;
    this.#capacity = parts.capacity;
    this.#capacityBytes = parts.capacityBytes;
    this.#room = parts.room;
    this.#counters = parts.counters;
    this.#room.add(this);
  }

  /** The controller's row changed. */
  update(controller: Controller): void {
    this.#controller = controller;
  }

  push(entry: Entry): void {
    if (this.#queue.has(entry.key)) {
      this.#counters.coalesced++;
      return; // it is read when it is sent
    }
    if (entry.bytes > this.#capacityBytes) return this.#dropped();
    const older = this.#unansweredByKey.get(entry.key);
    if (older !== undefined) {
      this.#counters.coalesced++;
      this.#forget(older);
    }
    this.#enqueue(entry);
    this.#schedule();
  }

  /** Sends what waits, as far as the link takes it. */
  flush(): void {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    this.#lastFlush = this.#clock.monotonic();
    for (const entry of this.#queue.values()) {
      if (this.#inFlight >= WINDOW || this.#inFlightBytes >= WINDOW_BYTES) return; // goes on when the link took some
      const door = this.#postman.door(this.#controller);
      if (!door) return; // goes on when a link is up
      if (entry.retry && (entry.bytes > 0 ? this.#isFull : this.#isFullInNumber)) continue; // goes on when one is answered
      this.#dequeue(entry);
      if (entry.expiresAt <= this.#clock.monotonic()) {
        this.#counters.expired++;
        continue;
      }
      const notification = entry.build(door);
      if (notification) this.#send(entry, notification);
    }
  }

  /** A link to the controller came up: what is unanswered is said again, then what waited. */
  resume(): void {
    for (const unanswered of [...this.#unanswered.values()]) this.#repeat(unanswered);
    this.flush();
  }

  /** A NotifyResp. Late and foreign ones are nothing to us (R-NOT.9). */
  answered(msgId: string): void {
    const unanswered = this.#unanswered.get(msgId);
    if (!unanswered) return;
    this.#forget(msgId);
    unanswered.entry.answered?.();
  }

  /** A subscription ended, and what was to be said for it. */
  drop(subscription: string): void {
    for (const entry of this.#queue.values()) if (entry.subscription === subscription) this.#dequeue(entry);
    for (const [msgId, { entry }] of this.#unanswered) if (entry.subscription === subscription) this.#forget(msgId);
  }

  close(): void {
    this.#room.remove(this);
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    for (const entry of this.#queue.values()) this.#dequeue(entry);
    for (const msgId of [...this.#unanswered.keys()]) this.#forget(msgId);
  }

  get waiting(): number {
    return this.#queue.size + this.#unanswered.size;
  }

  /** Of happenings; what is in the hands of the MTP and wants no answer is no longer among them. */
  get heldBytes(): number {
    return this.#waitingBytes + this.#unansweredBytes;
  }

  /** For all: of what is out and what waits the greater part, oldest first; else the newest would never leave. */
  giveWay(): boolean {
    return this.#unansweredBytes > this.#waitingBytes ? this.#dropUnanswered() : this.#dropWaiting();
  }

  /** The oldest of the kind that holds most: great ones that nobody answers do not push small ones out. */
  #dropWaiting(): boolean {
    const { retry, plain } = this.#kinds;
    const oldest = first(plain.bytes > retry.bytes ? plain.entries : retry.entries);
    if (!oldest) return false;
    this.#dequeue(oldest);
    this.#dropped();
    return true;
  }

  #dropUnanswered(): boolean {
    for (const { entry, msgId } of this.#unanswered.values()) {
      if (entry.bytes === 0) continue;
      this.#forget(msgId);
      this.#dropped();
      return true;
    }
    return false;
  }

  get #waitingBytes(): number {
    return this.#kinds.retry.bytes + this.#kinds.plain.bytes;
  }

  get #isFullInNumber(): boolean {
    return this.#unanswered.size >= this.#capacity;
  }

  get #isFull(): boolean {
    return this.#isFullInNumber || this.#unansweredBytes >= this.#capacityBytes / 2;
  }

  #fit(): void {
    while (this.heldBytes > this.#capacityBytes) if (!this.#dropWaiting() && !this.#dropUnanswered()) break;
    this.#room.fit();
  }

  /** Into the queue; where it is full, the oldest of the kind makes room. */
  #enqueue(entry: Entry): void {
    const kind = this.#kinds[kindOf(entry)];
    if (kind.entries.size >= this.#capacity * (entry.isState ? STATES : 1)) {
      const [oldest] = kind.entries;
      if (oldest) this.#dequeue(oldest);
      this.#dropped();
    }
    this.#queue.set(entry.key, entry);
    kind.entries.add(entry);
    kind.bytes += entry.bytes;
    if (entry.bytes > 0) this.#fit();
  }

  #dequeue(entry: Entry): void {
    if (this.#queue.delete(entry.key)) {
      const kind = this.#kinds[kindOf(entry)];
      kind.entries.delete(entry);
      kind.bytes -= entry.bytes;
    }
    if (this.#queue.size === 0) this.#isOverflowing = false;
  }

  #dropped(): void {
    this.#counters.dropped++;
    if (this.#isOverflowing) return;
    this.#isOverflowing = true;
    const bounds = `${this.#capacity} notifications or ${this.#capacityBytes} bytes, or too much waits for all controllers`;
    this.#log.warn(`more than ${bounds}: the oldest for ${this.#controller.endpointId} are dropped`);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    const wait = this.#lastFlush + FLUSH_INTERVAL_MS - this.#clock.monotonic();
    if (wait <= 0) {
      const immediate = setImmediate(() => this.flush());
      this.#scheduled = { cancel: () => clearImmediate(immediate) };
    } else {
      const timer = setTimeout(() => this.flush(), wait);
      this.#scheduled = { cancel: () => clearTimeout(timer) };
    }
  }

  #send(given: Entry, notification: Notification): void {
    const entry = given.retry && this.#postman.isBroker?.(this.#controller) ? { ...given, retry: false } : given;
    const msgId = this.#postman.newMsgId();
    const msg = notify(entry, msgId, notification);
    if (entry.retry) {
      const unanswered = { entry, msgId, attempts: 0, timer: undefined };
      this.#unanswered.set(msgId, unanswered);
      this.#unansweredBytes += entry.bytes;
      this.#unansweredByKey.set(entry.key, msgId);
      this.#arm(unanswered);
      this.#fit();
    }
    this.#post(entry, msg);
  }

  #post(entry: Entry, msg: ReturnType<typeof requestMsg>): void {
    const taken = this.#postman.post(this.#controller, msg);
    if (!taken) return;
    const bytes = textBytes(msg);
    this.#inFlight++;
    this.#inFlightBytes += bytes;
    const settled = taken.then((outcome) => {
      this.#inFlight--;
      this.#inFlightBytes -= bytes;
      if (outcome === "taken") this.#counters.sent++;
      else if (outcome === "tooBig" || (outcome === "refused" && !entry.retry)) {
        this.#counters.dropped++;
        if (entry.retry) this.#forget(msg.header?.msgId ?? "");
      } else if (!entry.retry && !this.#queue.has(entry.key)) {
        // The link broke before it took it: it waits for the next one.
        this.#enqueue(entry);
      }
      if (this.#queue.size > 0) this.#schedule();
    });
    settled.catch(() => undefined); // post never rejects
  }

  /** Waits for the answer; without one, the same Message again, as far as it may still be told. */
  #arm(unanswered: Unanswered): void {
    clearTimeout(unanswered.timer);
    unanswered.attempts++;
    const untilExpiry = unanswered.entry.expiresAt - this.#clock.monotonic();
    const wait = retryDelay(this.#controller.notifyRetry, unanswered.attempts, this.#random());
    const next = untilExpiry <= wait ? () => this.#expire(unanswered) : () => this.#repeat(unanswered);
    unanswered.timer = setTimeout(next, Math.min(wait, untilExpiry, MAX_TIMER_MS));
    unanswered.timer.unref();
  }

  #expire({ msgId }: Unanswered): void {
    this.#counters.expired++;
    this.#forget(msgId);
  }

  #repeat(unanswered: Unanswered): void {
    const { entry, msgId } = unanswered;
    if (entry.expiresAt <= this.#clock.monotonic()) return this.#expire(unanswered);
    this.#arm(unanswered);
    const door = this.#postman.door(this.#controller);
    if (!door) return; // said again when a link is up
    // Made anew: the right to a value may have ended since, or this door may show less than the one before.
    const notification = entry.build(door);
    if (notification) this.#post(entry, notify(entry, msgId, notification));
    else this.#forget(msgId);
  }

  #forget(msgId: string): void {
    const unanswered = this.#unanswered.get(msgId);
    if (!unanswered) return;
    const wasFull = this.#isFull;
    clearTimeout(unanswered.timer);
    this.#unanswered.delete(msgId);
    this.#unansweredBytes -= unanswered.entry.bytes;
    if (this.#unansweredByKey.get(unanswered.entry.key) === msgId) this.#unansweredByKey.delete(unanswered.entry.key);
    // It may have been the one too many that held others back.
    if (wasFull && this.#queue.size > 0) this.#schedule();
  }
}

function notify(entry: Entry, msgId: string, notification: Notification): ReturnType<typeof requestMsg> {
  const value: Notify = { subscriptionId: entry.subscriptionId, sendResp: entry.retry, notification };
  return requestMsg(msgId, { $case: "notify", value });
}

function first(entries: Iterable<Entry>): Entry | undefined {
  for (const entry of entries) if (entry.bytes > 0) return entry;
  return undefined;
}

const kindOf = ({ isState, retry }: Entry) => (isState ? "state" : retry ? "retry" : "plain");

const MAX_TIMER_MS = 2 ** 31 - 1;
