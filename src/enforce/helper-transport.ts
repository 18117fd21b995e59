/** The kernel by way of the helper: netlink transactions of tens of microseconds, whatever the maps hold. */
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import { FRAME_LIMIT, RequestKind, words } from "../netlink/frames.ts";
import type { MessagesHandler, NetfilterHelper } from "../netlink/helper.ts";
import { Family, Subsystem, eachMessage, u32le } from "../netlink/messages.ts";
import { NetlinkError } from "../netlink/netlink-error.ts";
import { addElements, deleteElements, eachDeleted } from "../netlink/nftables-messages.ts";
import type { SetElement, SetReference, TableFamily } from "../netlink/nftables-messages.ts";
import { COUNTED_MAPS, TABLE, deletedKey, elementKey, fromSetElements, setElements } from "./elements.ts";
import type { Count, CountedElement, Element, LastRead } from "./elements.ts";
import { anyFlowTest } from "./flow-filter.ts";
import type { FlowFilter, ForeignChange, HoldHandlers, Transport } from "./transport.ts";

const ENOENT = 2;
const EBUSY = 16;
const BUSY_ATTEMPTS = 6;
const BUSY_PAUSE_MS = 20;
const COUNTED: ReadonlySet<string> = new Set(COUNTED_MAPS);
/** linux/netfilter/nf_tables.h: messages about elements; all others are about what holds them. */
const NFT_MSG_ELEMENTS = [12, 13, 14, 15];
/** linux/if.h */
const INTERFACE_NAME_BYTES = 16;
const LONG_DUMP = 1000;
/** The kernel's answers wait in a socket's buffer until all of them are there. */
const TOLD_REMOVALS = 1000;
const TRANSACTION_BYTES = FRAME_LIMIT - 4096;

export class HelperTransport implements Transport {
  readonly backend = "helper";
  readonly deletionLimit = Infinity;
  readonly mapsPerRead = 1;
  readonly family: TableFamily;
  readonly #helper: NetfilterHelper;
  readonly #lastReads = new Map<string, LastRead>();
  #tells = true;

  constructor(helper: NetfilterHelper, family: TableFamily = "inet") {
    this.#helper = helper;
    this.family = family;
  }

  get toldRemovals(): number {
    return this.#tells ? TOLD_REMOVALS : 0;
  }

  async load(elements: readonly Element[], now: number): Promise<void> {
    await this.#helper.loadRuleset(this.family);
    await this.change([], elements, now);
  }

  async change(
    removed: readonly Element[],
    added: readonly Element[],
    now: number,
  ): Promise<ReadonlyMap<string, Count>> {
    const counted = removed.length <= this.toldRemovals ? removed.filter(isCounted) : [];
    const deletedBy = new Map(counted.map((element) => [elementKey(element), element]));
    const told = new Map<string, Count>();
    const onEcho: MessagesHandler = (bytes, start, end) =>
      eachDeleted(bytes, start, end, (set, deleted) => {
        const element = deleted.intervalEnd ? undefined : deletedBy.get(deletedKey(set, deleted));
        if (element) told.set(element.id, { packets: deleted.packets ?? 0, bytes: deleted.bytes ?? 0 });
      });
    const remove = (set: SetReference, elements: readonly SetElement[]) =>
      deleteElements(set, elements, counted.length > 0);
    const timed = removed.filter((element) => element.expires !== Infinity);
    // What frees, then what blocks: an interval may take the place of others.
    const all = [
      ...messages(this.family, timed, addElements, now),
      ...messages(this.family, removed, remove, now),
      ...messages(this.family, added, addElements, now),
    ];
    // One transaction is one frame. Only tens of thousands of elements at once are more than that.
    let part: Uint8Array[] = [];
    let size = 0;
    for (const message of all) {
      if (size + message.length > TRANSACTION_BYTES) {
        await this.#helper.transact(part, onEcho);
        part = [];
        size = 0;
      }
      part.push(message);
      size += message.length;
    }
    await this.#helper.transact(part, onEcho);
    // A kernel that does not tell: from now on counters are read before they go.
    if (told.size < counted.length) this.#tells = false;
    return told;
  }

  async read(maps: readonly string[], now: number): Promise<Map<string, CountedElement[]> | undefined> {
    const found = new Map<string, CountedElement[]>();
    for (const map of maps) {
      try {
        const dumped = await this.#helper.dumpSet({ family: this.family, table: TABLE, set: map });
        // Ten thousand elements take a while: what came meanwhile goes first.
        if (dumped.length > LONG_DUMP) await immediate();
        found.set(map, fromSetElements(map, dumped, now, this.#lastRead(map)));
      } catch (error) {
        if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
        throw error;
      }
    }
    return found;
  }

  readonly bulk = {
    transact: (messages: readonly Uint8Array[]) => this.#helper.transact(messages),
    dump: (set: string, begin: () => MessagesHandler) =>
      this.#helper.dumpSetMessages({ family: this.family, table: TABLE, set }, begin),
  };

  #lastRead(map: string): LastRead {
    let last = this.#lastReads.get(map);
    if (!last) this.#lastReads.set(map, (last = { byKey: new Map() }));
    return last;
  }

  async cut(filters: readonly FlowFilter[]): Promise<void> {
    const test = anyFlowTest(filters);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#helper.deleteConntrackMatching(test);
        return;
      } catch (error) {
        // The helper reads a few tables at a time.
        if (!(error instanceof NetlinkError) || error.errno !== EBUSY || attempt === BUSY_ATTEMPTS) throw error;
        await sleep(BUSY_PAUSE_MS * attempt);
      }
    }
  }

  holdAnswers(interfaces: readonly string[], handlers: HoldHandlers): () => void {
    if (!this.#helper.running) handlers.onDown("the helper is not running");
    const names = Buffer.alloc(interfaces.length * INTERFACE_NAME_BYTES);
    for (const [i, name] of interfaces.entries()) names.write(name.slice(0, 15), i * INTERFACE_NAME_BYTES, "latin1");
    return this.#helper.subscribe({
      kind: RequestKind.Hold,
      payload: names,
      onMessages: (bytes, start) => {
        const newest = u32le(bytes, start);
        handlers.onHeld(() => this.#helper.release(newest));
      },
      onLoss: (count) => handlers.onLate(count),
      onReady: () => handlers.onReady(),
      onError: (error) => handlers.onDown(error.message),
      onDown: (reason) => handlers.onDown(reason),
    });
  }

  async watch(signal: AbortSignal, onChange: (change: ForeignChange) => void): Promise<void> {
    const number = this.family === "bridge" ? Family.Bridge : Family.Inet;
    const stop = this.#helper.subscribe({
      kind: RequestKind.Ruleset,
      payload: words(),
      onMessages: (bytes, start, end) => {
        let seen: ForeignChange | undefined;
        eachMessage(bytes, start, end, (type, _flags, body) => {
          if (type >> 8 !== Subsystem.Nftables || bytes[body] !== number) return;
          seen = NFT_MSG_ELEMENTS.includes(type & 255) && seen !== "structure" ? "elements" : "structure";
        });
        if (seen) onChange(seen);
      },
      // What we did not hear may have been anything.
      onLoss: () => onChange("unheard"),
      onError: () => undefined,
    });
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    stop();
  }
}

function isCounted({ map }: Element): boolean {
  return COUNTED.has(map);
}

function messages(
  family: TableFamily,
  elements: readonly Element[],
  make: (set: SetReference, elements: readonly SetElement[]) => Uint8Array[],
  now: number,
): Uint8Array[] {
  const byMap = new Map<string, SetElement[]>();
  for (const element of elements) {
    const list = byMap.get(element.map);
    const own = setElements(element, now);
    if (list) list.push(...own);
    else byMap.set(element.map, own);
  }
  return [...byMap].flatMap(([set, list]) => make({ family, table: TABLE, set }, list));
}
