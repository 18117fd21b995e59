/** PORT of the kernel backend: how elements reach our table, and how they are read back. */
import type { TableFamily } from "../netlink/nftables-messages.ts";
import type { MessagesHandler } from "../netlink/helper.ts";
import type { Count, CountedElement, Element } from "./elements.ts";

/**
 * What somebody else did to our table: to its chains and rules (or all of it), or to elements alone; or that nobody knows
 * whether somebody did, because the helper was started again or the kernel dropped what it told.
 */
export type ForeignChange = "structure" | "elements" | "unheard";

/** Which conntrack entries to end: those of any of the devices' addresses with any of the destinations. */
export interface FlowFilter {
  /** Texts of addresses; `undefined`: of every device. */
  readonly devices: readonly string[] | undefined;
  /** Texts of prefixes; `undefined`: every destination. */
  readonly destinations: readonly string[] | undefined;
  /** Texts of addresses whose own flows stay: those that the gateway began. */
  readonly spared: readonly string[];
  /**
   * Whether a rule allows the flow, so that it stays: to end it would cost it its translated port. Absent where no rule
   * allows anything. Addresses are four words at the offset.
   */
  readonly allows?: (flow: FlowOfDevice) => boolean;
}

/** A flow as rules see it. */
export interface FlowOfDevice {
  readonly device: Uint32Array;
  readonly peer: Uint32Array;
  readonly protocol: number;
  /** Of the peer. */
  readonly port: number;
  readonly initiator: "Device" | "Peer";
}

export interface HoldHandlers {
  /** All answers that were logged until now wait for `release`, or a moment. */
  onHeld(release: () => void): void;
  /** So many went on before they were released. */
  onLate(count: number): void;
  onReady(): void;
  /** Answers are not withheld, or no longer, and why; `onReady` may follow. */
  onDown(reason: string): void;
}

export interface Transport {
  /** Which of our two tables it leads to. */
  readonly family: TableFamily;
  /** `helper` or `nft`. */
  readonly backend: string;
  /** Loads the static ruleset with these elements, in the place of a table that stands; with `nft` at one stroke. */
  load(elements: readonly Element[], now: number): Promise<void>;
  /** Deleting more elements than this from a map at once is slower than replacing the map. */
  readonly deletionLimit: number;
  /** So many removals in one transaction are told with what they had counted; 0: none ever is. */
  readonly toldRemovals: number;
  /**
   * One transaction: all or nothing. All elements of `emptied` maps are among the removed. Throws what the kernel said.
   * Resolves to the final counts of removed elements, by id, as far as they are told.
   */
  change(
    removed: readonly Element[],
    added: readonly Element[],
    now: number,
    emptied?: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, Count>>;
  /** More maps than this in one reading take no less time than in several. */
  readonly mapsPerRead: number;
  /** Elements of these maps with their counters; `undefined` while there is no table. */
  read(maps: readonly string[], now: number): Promise<ReadonlyMap<string, readonly CountedElement[]> | undefined>;
  /** Deletes the conntrack entries that any of the filters means. */
  cut(filters: readonly FlowFilter[]): Promise<void>;
  /**
   * Withholds DNS answers that leave by these interfaces, until the returned function is called; absent where that can't
   * be done.
   */
  holdAnswers?(interfaces: readonly string[], handlers: HoldHandlers): () => void;
  /** For sets of a list's addresses, which are too big for elements: netlink messages as they are. */
  readonly bulk?: {
    transact(messages: readonly Uint8Array[]): Promise<void>;
    /** All elements of a set. `begin` is called before each attempt. */
    dump(set: string, begin: () => MessagesHandler): Promise<void>;
  };
  /** The same where there is no netlink: lines for `nft -f`. */
  script?(text: string): Promise<void>;
  /** Tells what others do to our table, until the signal. Never rejects. */
  watch(signal: AbortSignal, onChange: (change: ForeignChange) => void): Promise<void>;
}
