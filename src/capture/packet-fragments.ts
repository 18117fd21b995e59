/**
 * Fragments: only a datagram's first one has ports, so the others are counted to the flow that the first one showed,
 * also when they came before it. DNS answers that came in pieces are put together. All bounded; what is displaced
 * before its first fragment came is handed back, to be counted without ports.
 */
import type { PacketView } from "./decode/packet.ts";
import { Fragment, IpProtocol } from "./decode/packet.ts";

const ENTRIES = 1024;
const LIFETIME_MS = 30_000;
/** Datagrams whose bytes are kept, and bytes of each: DNS over UDP stays far below. */
const KEPT_DATAGRAMS = 32;
const KEPT_BYTES = 16_384;

export interface Datagram {
  readonly addresses: Int32Array;
  id: number;
  protocol: number;
  time: number;
  /** Slot of the flow, -1 while the first fragment has not come. */
  slot: number;
  reversed: boolean;
  /** Counted later, when the flow is known. */
  packets: number;
  bytes: number;
  pieces: { readonly offset: number; readonly bytes: Uint8Array }[] | undefined;
  /** Length of the payload, once the last fragment told; 0 until then. */
  total: number;
}

export class FragmentTable {
  readonly #entries: (Datagram | undefined)[] = new Array<Datagram | undefined>(ENTRIES).fill(undefined);
  readonly #orphan: (datagram: Datagram) => void;
  #kept = 0;

  /** `orphan` gets each datagram that gives way with fragments not yet counted. */
  constructor(orphan: (datagram: Datagram) => void) {
    this.#orphan = orphan;
  }

  /** The datagram that a fragment belongs to. */
  of(view: PacketView, time: number): Datagram {
    const place = hash(view);
    const entry = this.#entries[place];
    if (entry && isSame(entry, view) && Math.abs(time - entry.time) < LIFETIME_MS) return entry;
    if (entry) this.#drop(entry);
    const fresh: Datagram = {
      addresses: Int32Array.from(view.addresses),
      id: view.fragmentId,
      protocol: view.protocol,
      time,
      slot: -1,
      reversed: false,
      packets: 0,
      bytes: 0,
      pieces: undefined,
      total: 0,
    };
    if (view.protocol === IpProtocol.Udp && this.#kept < KEPT_DATAGRAMS) {
      fresh.pieces = [];
      this.#kept++;
    }
    this.#entries[place] = fresh;
    return fresh;
  }

  /** Keeps the fragment's bytes; the whole payload (UDP header included) once all have come. */
  assemble(datagram: Datagram, view: PacketView): Uint8Array | undefined {
    const { pieces } = datagram;
    if (!pieces) return undefined;
    const bytes = view.bytes.slice(view.payload, Math.max(view.payload, view.networkEnd));
    const end = view.fragmentOffset + bytes.length;
    const isOther = view.fragment === Fragment.First && view.sourcePort !== 53 && view.destinationPort !== 53;
    if (isOther || end > KEPT_BYTES || pieces.length >= 64) {
      this.#release(datagram);
      return undefined;
    }
    pieces.push({ offset: view.fragmentOffset, bytes });
    if (!view.moreFragments) datagram.total = end;
    if (datagram.total === 0) return undefined;
    pieces.sort((a, b) => a.offset - b.offset);
    const whole = new Uint8Array(datagram.total);
    let reached = 0;
    for (const piece of pieces) {
      // A gap, or pieces that lie over each other (which no honest sender makes).
      if (piece.offset !== reached || reached + piece.bytes.length > datagram.total) return undefined;
      whole.set(piece.bytes, piece.offset);
      reached += piece.bytes.length;
    }
    if (reached !== datagram.total) return undefined;
    this.#release(datagram);
    return whole;
  }

  /** Hands back everything that still waits: the capture ended. */
  flush(): void {
    for (const [place, entry] of this.#entries.entries()) {
      if (!entry) continue;
      this.#drop(entry);
      this.#entries[place] = undefined;
    }
  }

  #drop(entry: Datagram): void {
    this.#release(entry);
    if (entry.packets > 0) this.#orphan(entry);
  }

  #release(entry: Datagram): void {
    if (!entry.pieces) return;
    entry.pieces = undefined;
    this.#kept--;
  }
}

function isSame(entry: Datagram, view: PacketView): boolean {
  if (entry.id !== view.fragmentId || entry.protocol !== view.protocol) return false;
  for (let i = 0; i < 8; i++) if (entry.addresses[i] !== view.addresses[i]) return false;
  return true;
}

function hash(view: PacketView): number {
  let h = view.fragmentId;
  for (let i = 0; i < 8; i++) h = Math.imul(h ^ (view.addresses[i] as number), 0x9e3779b1) ^ (h >>> 15);
  return (h ^ (h >>> 16)) & (ENTRIES - 1);
}
