/**
 * All sessions with one peer, one after the other (R-E2E.5): opens them, follows the peer into its own, starts anew when one
 * fails, expires or runs out of numbers, and hands Messages through whatever session there is. Clock, chance and the way
 * out come from outside; who owns it calls `tick` at `nextDue`.
 */
import type { UspRecord } from "../../proto/codec.ts";
import type { Record_PayloadSecurity, SessionContextRecord } from "../../proto/generated/usp-record.ts";
import { SessionContext } from "./context.ts";
import { Emitter } from "./emitter.ts";
import { Encryption } from "./encryption.ts";
import { Gap } from "./gap.ts";
import { MessageQueue, type Waiting } from "./message-queue.ts";
import { digestOf, PastSessions } from "./past.ts";
import type { PeerParts, PeerStatus, Verdict } from "./peer-parts.ts";
import { holds, integrityFault, isMac } from "./seal.ts";
import { SecureChannel } from "./secure.ts";
import { EMPTY_CARGO, Reassembler, type Cargo } from "./segmentation.ts";
import { newSession, type Session } from "./session.ts";

export type { PeerLimits, PeerParts, PeerSettings, PeerStatus, Verdict } from "./peer-parts.ts";

/** From ClientHello to Finished, over a slow broker. */
const HANDSHAKE_MS = 30_000;
/** Between two segments of one payload. */
const SEGMENT_MS = 60_000;
/** How long the one who does not give way ignores a session opened against its own. */
const GLARE_MS = 3_000;
/** How long Records of an older session may be on the way before they mean something, and how often they do. */
const RECALL_MS = 1_000;

export class PeerSession {
  readonly #parts: PeerParts;
  readonly #reassembler: Reassembler;
  #session: Session | undefined;
  readonly #past = new PastSessions();
  readonly #queue: MessageQueue;
  readonly #encryption: Encryption;
  readonly #emitter: Emitter;
  #retries = 0;
  #retryAt: number | undefined;
  #failedAt = 0;
  #activeAt = 0;
  #segmentAt = 0;
  readonly #gap: Gap;
  /** There was a session, and the peer did not leave it: the next Message opens one (R-E2E.7). */
  #isInUse = false;
  #security: Record_PayloadSecurity | undefined;

  constructor(parts: PeerParts) {
    this.#parts = parts;
    this.#queue = new MessageQueue(parts.limits.queuedBytes);
    this.#reassembler = new Reassembler(parts.limits.payloadBytes, parts.budget);
    this.#gap = new Gap(parts);
    this.#encryption = new Encryption(parts.clock);
    this.#emitter = new Emitter(parts, () => (this.#activeAt = parts.clock.monotonic()));
  }

  get status(): PeerStatus {
    if (this.#session) return this.#session.isUp ? "Up" : "Negotiating";
    return this.#retryAt === undefined ? "Down" : "Negotiating";
  }

  get retryCount(): number {
    return this.#retries;
  }

  get isInUse(): boolean {
    return this.#isInUse;
  }

  get sessionId(): bigint | undefined {
    return this.#session?.context.id;
  }

  /** Of the payloads; `undefined` in plain text. */
  get cipher(): string | undefined {
    return this.#session?.channel?.cipher;
  }

  get keptBytes(): number {
    return (
      (this.#session?.context.keptBytes ?? 0) + this.#reassembler.bytes + this.#queue.bytes + this.#encryption.bytes
    );
  }

  /** Resolves when TLS has taken what was given to it; `undefined` while that is little. */
  get backlog(): Promise<void> | undefined {
    return this.#encryption.bytes > this.#parts.limits.queuedBytes ? this.#session?.sending : undefined;
  }

  /** Sends a Message. Resolves when the MTP took it, rejects when it will never leave. */
  send(message: Uint8Array): Promise<void> {
    this.#expire();
    if (this.#session?.context.isExhausted) this.#end();
    const sent = new Promise<void>((resolve, reject) => this.#queue.push({ message, resolve, reject }));
    if (this.#session) this.#drain();
    else if (this.#retryAt === undefined) this.#open();
    return sent;
  }

  /** Opens a session where there is none: an empty Record, or a handshake. */
  open(): void {
    this.#expire();
    if (!this.#session && this.#retryAt === undefined) this.#open();
  }

  /** @param isProtected Whether the MTP protects the Record (R-E2E.28). */
  take(record: UspRecord, value: SessionContextRecord, isProtected: boolean): Verdict {
    this.#expire();
    const now = this.#parts.clock.monotonic();
    const own = value.sessionId === this.#session?.context.id ? this.#session : undefined;
    const fault = integrityFault(record, own, { trust: this.#parts.trust, isProtected });
    if (fault !== undefined) {
      // R-E2E.23
      if (this.#session) this.#fail(fault);
      return "ignored";
    }
    if (value.sessionId <= 1n) {
      if (this.#session) this.#fail(`session id ${value.sessionId} is none (R-E2E.24)`);
      return "ignored";
    }
    if (value.sessionId !== this.#session?.context.id) {
      if (this.#isStale(value, now)) return "ignored";
      const mine = this.#session;
      const isGlare = mine?.isOurs === true && !mine.isUp && now - mine.openedAt < GLARE_MS;
      if (isGlare && !this.#parts.givesWay) return "ignored";
      if (record.payloadSecurity !== 0 && !this.#parts.trust?.identity) return "noSecurity";
      if (!this.#past.mayOpen(now)) return "ignored";
      this.#adopt(value.sessionId, record.payloadSecurity, now);
    }
    this.#process(this.#session as Session, record, value);
    return "taken";
  }

  /** A Record that could not be read was of this session (R-E2E.21). */
  fail(reason: string): void {
    this.#fail(reason);
  }

  /** R-MTP.7: the peer, or we, left; nothing of the session is kept, not even that there was one. */
  drop(reason: string): void {
    this.#end();
    this.#past.clear();
    this.#queue.forget();
    this.#retryAt = undefined;
    this.#retries = 0;
    this.#isInUse = false;
    this.#queue.reject(reason);
    this.#parts.changed();
  }

  /** The peer speaks outside of sessions: what is not an answer goes the same way. */
  setAside(): void {
    this.#isInUse = false;
  }

  /** By the monotonic clock; Infinity: nothing is due. */
  get nextDue(): number {
    const session = this.#session;
    const due = [this.#retryAt ?? Infinity, this.#gap.dueAt, this.#encryption.stuckAt];
    if (session) due.push(this.#activeAt + this.#parts.settings().expiryMs);
    if (session?.channel && !session.isUp) due.push(session.openedAt + HANDSHAKE_MS);
    if (this.#reassembler.isOpen) due.push(this.#segmentAt + SEGMENT_MS);
    return Math.min(...due);
  }

  /** Does what is due. */
  tick(): void {
    const now = this.#parts.clock.monotonic();
    this.#expire();
    const session = this.#session;
    if (session?.channel && !session.isUp && session.openedAt + HANDSHAKE_MS <= now)
      this.#fail("the TLS handshake takes too long");
    else if (this.#encryption.stuckAt <= now) this.#fail("TLS takes nothing more");
    else if (this.#reassembler.isOpen && this.#segmentAt + SEGMENT_MS <= now)
      this.#fail("the rest of a payload is missing");
    else if (this.#gap.dueAt <= now) this.#request();
    if (this.#retryAt !== undefined && this.#retryAt <= now) {
      // R-E2E.11: until SessionExpiration, counted from when it failed first.
      this.#retryAt = undefined;
      if (now - this.#failedAt < this.#parts.settings().expiryMs) this.#open();
      else this.#giveUp();
    }
  }

  // Sessions: begin and end

  #open(): void {
    const { clock, random } = this.#parts;
    this.#retryAt = undefined;
    const isSecure = this.#security === undefined ? this.#parts.settings().isSecure : this.#security !== 0;
    if (isSecure && !this.#parts.trust?.identity) {
      this.#queue.reject("payload security is asked for, and there is no certificate of our own");
      this.#parts.note("no session: payload security is asked for, and there is no certificate of our own");
      return;
    }
    const session = this.#begin(this.#past.newId(random()), isSecure ? 1 : 0, true, clock.monotonic());
    this.#queue.again();
    if (session.channel) return this.#parts.changed();
    if (this.#queue.isEmpty) this.#emitter.cargo(session, EMPTY_CARGO).catch(ignore);
    this.#drain();
    this.#parts.changed();
  }

  #adopt(id: bigint, security: Record_PayloadSecurity, now: number): void {
    // What went out a while ago in ours was had: the peer just has nothing to say to it.
    if (this.#session && now - this.#session.openedAt >= GLARE_MS) this.#queue.forget();
    this.#end();
    this.#retryAt = undefined;
    this.#queue.again();
    this.#security = security;
    this.#begin(id, security, false, now);
  }

  #begin(id: bigint, security: Record_PayloadSecurity, isOurs: boolean, now: number): Session {
    const { limits, budget } = this.#parts;
    const context = new SessionContext(id, limits, budget);
    // The channel speaks only after this turn, when the session is there.
    const channel = security === 0 ? undefined : this.#channel(isOurs, () => session);
    const session = newSession({ context, channel, security, isOurs, openedAt: now });
    this.#session = session;
    this.#isInUse = true;
    this.#activeAt = now;
    return session;
  }

  #channel(isClient: boolean, session: () => Session): SecureChannel {
    const { trust, envelope, tls } = this.#parts;
    if (!trust?.identity) throw new Error("a secure session needs an identity");
    const isCurrent = () => this.#session === session();
    return new SecureChannel({
      identity: trust.identity,
      isClient,
      ...(tls ? { versions: tls } : {}),
      check: (chain) => trust.check(chain, envelope().toId),
      onFlight: (units, isHandshake) => {
        if (isCurrent()) this.#emitter.units(session(), units, isHandshake).catch(ignore);
      },
      onSecure: () => {
        if (!isCurrent()) return;
        this.#succeed(session());
        this.#drain();
      },
      onFailed: (reason) => {
        if (isCurrent()) this.#fail(reason);
      },
    });
  }

  #end(): void {
    const session = this.#session;
    if (!session) return;
    const { digest, isOurs } = session;
    const { id, expected } = session.context;
    this.#past.add({ id, digest, isOurs, expected, at: this.#parts.clock.monotonic() });
    this.#session = undefined;
    this.#gap.close();
    this.#reassembler.clear();
    session.context.end();
    session.channel?.close();
  }

  /** R-E2E.21: starts anew, at once after a session that worked, else in the retry windows (R-E2E.10). */
  #fail(reason: string): void {
    const session = this.#session;
    if (!session) return;
    this.#parts.note(`the session failed: ${reason}`);
    this.#end();
    if (session.isUp) return this.#open();
    const now = this.#parts.clock.monotonic();
    if (this.#retries++ === 0) this.#failedAt = now;
    this.#retryAt = now + this.#parts.settings().retryMs(this.#retries, this.#parts.random());
    this.#parts.changed();
  }

  #succeed(session: Session): void {
    this.#queue.forget();
    if (session.isUp) return;
    session.isUp = true;
    this.#retries = 0; // R-E2E.12
    this.#parts.changed();
  }

  #giveUp(): void {
    this.#retries = 0;
    this.#queue.forget();
    this.#queue.reject("no session could be established");
    this.#parts.changed();
  }

  #expire(): void {
    if (!this.#session || this.#parts.clock.monotonic() - this.#activeAt < this.#parts.settings().expiryMs) return;
    this.#end();
    this.#queue.forget();
    this.#parts.changed();
  }

  /** Left on the way from a session that was. Its sender may not know of ours yet. */
  #isStale(value: SessionContextRecord, now: number): boolean {
    const past = this.#past.of(value, now);
    // What was had before is an echo; what was not says that the peer goes on there.
    if (past && value.sequenceId >= past.expected) this.#recall(now);
    return past !== undefined;
  }

  /** R-E2E.7, R-E2E.24: the peer goes on in a session that expired, failed or was left. */
  #recall(now: number): void {
    const session = this.#session;
    if (!session) {
      if (this.#retryAt === undefined) this.#open();
      return;
    }
    if (now - session.recalledAt < RECALL_MS) return;
    session.recalledAt = now;
    if (!session.isOurs || session.isUp) return this.#fail("the peer goes on in an older one");
    const [opening] = session.context.unacknowledged();
    if (opening) this.#emitter.record(session, opening, session.channel !== undefined).catch(ignore);
  }

  // What comes

  #process(session: Session, record: UspRecord, value: SessionContextRecord): void {
    const { clock, settings } = this.#parts;
    // R-E2E.19
    if (record.payloadSecurity !== session.security) return this.#fail("payload_security is another than before");
    this.#activeAt = clock.monotonic();
    this.#isInUse = true;
    if (value.sequenceId === 1n && session.digest === "") session.digest = digestOf(value.payload);
    const isUnchecked = session.channel !== undefined && !session.channel.keys && isMac(record);
    const expected = session.context.expected;
    const { cargos, again, fault } = session.context.take(value, settings().maxRepeats);
    if (again) this.#emitter.record(session, again, session.channel !== undefined && !session.isUp).catch(ignore);
    if (!session.channel && (cargos.length > 0 || session.context.expected > expected)) this.#succeed(session);
    for (const cargo of cargos) {
      const reason = this.#read(session, cargo);
      if (this.#session !== session) return;
      if (reason !== undefined) return this.#fail(reason);
    }
    if (fault !== undefined) return this.#fail(fault);
    if (isUnchecked && !holds(record, session)) return this.#fail("the MAC does not hold");
    if (this.#gap.watch(session.context, session.context.expected > expected)) this.#request();
    if (session.context.owesAcknowledgement) this.#emitter.cargo(session, EMPTY_CARGO).catch(ignore);
    this.#drain();
    this.#parts.changed();
  }

  /** Why the session is over. */
  #read(session: Session, cargo: Cargo): string | undefined {
    this.#segmentAt = this.#parts.clock.monotonic();
    const { whole, fault } = this.#reassembler.add(cargo);
    if (fault !== undefined || !whole) return fault;
    const message = session.channel ? session.channel.receive(whole) : whole;
    // TLS has records of its own, that carry no Message.
    if (message.length > 0 && this.#session === session) this.#parts.deliver(message);
    return undefined;
  }

  #request(): void {
    const session = this.#session;
    if (!session) return;
    if (!this.#gap.mayAsk()) return this.#fail(`Record ${session.context.expected} does not come`);
    this.#emitter.cargo(session, EMPTY_CARGO, session.context.expected).catch(ignore);
  }

  // What leaves

  #drain(): void {
    const session = this.#session;
    if (!session || (session.channel && !session.isUp)) return;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const { message, resolve, reject } = next;
      if (session.channel) this.#sendSecured(session, session.channel, next);
      else {
        if (!session.isUp && session.isOurs) this.#queue.keep(message);
        this.#emitter.units(session, [message], false).then(resolve, reject);
      }
    }
  }

  #sendSecured(session: Session, channel: SecureChannel, waiting: Waiting): void {
    this.#encryption.add(session, channel, waiting.message, {
      isCurrent: () => this.#session === session,
      done: (units) => {
        if (units) this.#emitter.units(session, units, false).then(waiting.resolve, waiting.reject);
        else this.#goOn(waiting);
      },
    });
    this.#parts.changed();
  }

  /** Its session ended before it left: it goes in the next one, if there is to be one. */
  #goOn(waiting: Waiting): void {
    if (!this.#session && this.#retryAt === undefined) return waiting.reject(new Error("the session ended"));
    this.#queue.push(waiting);
    this.#drain();
  }
}

const ignore = () => undefined;
