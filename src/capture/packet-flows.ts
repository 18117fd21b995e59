/**
 * Packets → observations. Each packet is counted into the flow that it belongs to; once an interval of capture time the
 * flows that changed are emitted as columns with cumulative counters, as conntrack's are, so that SPIN can't tell the
 * two apart. Flows end as conntrack's do: closed by TCP, or idle. What else packets tell (neighbours, names, leases,
 * how the home is cut) is emitted as it comes. Nothing is allocated per packet.
 *
 * As in conntrack, ICMP errors, neighbour discovery and multicast listener messages belong to no flow; they are counted
 * in `counts.untracked`. Each fragment counts as the packet that it is on the wire.
 */
import { macFromBytes, printAddress } from "../lib/address.ts";
import type { Observation } from "../spin/observation.ts";
import { FlowEvent } from "../spin/observation.ts";
import { arpSender, arpTarget } from "./decode/arp.ts";
import { Fragment, IpProtocol, PacketKind, PacketView, TcpFlag } from "./decode/packet.ts";
import type { Datagram } from "./packet-fragments.ts";
import { FragmentTable } from "./packet-fragments.ts";
import { HostTable, standInMac } from "./packet-hosts.ts";
import type { Judge } from "./packet-judge.ts";
import { FlowJudge } from "./packet-judge.ts";
import { PacketNames } from "./packet-names.ts";
import { FlowRows } from "./packet-rows.ts";
import { DOUBLES, Double, PacketTable, State, TIMEOUT_MS, Timeout, WORDS, Word } from "./packet-table.ts";
import type { HomeNetwork } from "./pcap-home.ts";
import { FIRST_PACKETS } from "./server-names.ts";
import { isLinkLocal, isPlain, ndpClaim } from "./pcap-home.ts";

export type { Judge, JudgedFlow } from "./packet-judge.ts";

export interface PacketCounts {
  packets: number;
  /** Counted into flows. */
  counted: number;
  countedBytes: number;
  /** Dropped by the judge. */
  dropped: number;
  /** Seen before on another interface, VLAN or hop. */
  duplicates: number;
  /** IP without a flow: ICMP errors, neighbour discovery … */
  untracked: number;
  /** Not IP (ARP included), and not decodable. */
  other: number;
  malformed: number;
  /** Flows that gave way because the table was full. */
  evicted: number;
}

export interface PacketFlowsOptions {
  readonly home: HomeNetwork;
  readonly emit: (observation: Observation) => void;
  readonly judge?: Judge | undefined;
  /** How often changed flows are emitted, in capture time. */
  readonly intervalMs?: number | undefined;
  readonly maximumFlows?: number | undefined;
}

const INTERFACE = "capture";
const NEIGHBOUR_EVERY_MS = 60_000;
/** A copy of a packet from elsewhere comes within this; a flow that was silent there for longer has moved. */
const SAME_PACKET_MS = 1000;
/** For this long a capture may show answers to what was sent before it began. */
const ALREADY_RUNNING_MS = 5000;

export class PacketFlows {
  readonly counts: PacketCounts = {
    packets: 0,
    counted: 0,
    countedBytes: 0,
    dropped: 0,
    duplicates: 0,
    untracked: 0,
    other: 0,
    malformed: 0,
    evicted: 0,
  };
  readonly #view = new PacketView();
  readonly #table: PacketTable;
  readonly #home: HomeNetwork;
  readonly #hosts = new HostTable();
  readonly #names: PacketNames;
  readonly #fragments: FragmentTable;
  readonly #emit: (observation: Observation) => void;
  readonly #judge: FlowJudge | undefined;
  readonly #rows: FlowRows;
  readonly #intervalMs: number;
  #changed = new Int32Array(4096);
  #changedCount = 0;
  #homeVersion = -1;
  /** Now, when the interval ends, and when the first packet came: capture time in an array, so that none is boxed. */
  readonly #times = new Float64Array([-Infinity, -Infinity, -Infinity]);
  readonly #macKey = new Int32Array(4);

  constructor(options: PacketFlowsOptions) {
    this.#home = options.home;
    this.#emit = options.emit;
    this.#intervalMs = options.intervalMs ?? 1000;
    this.#table = new PacketTable(options.maximumFlows ?? 262_144, Math.floor(Math.random() * 0x7fffffff));
    this.#rows = new FlowRows(this.#table, options.emit);
    this.#judge = options.judge && new FlowJudge(options.judge, this.#table, options.home, this.#hosts);
    this.#names = new PacketNames(options.home, options.emit);
    this.#fragments = new FragmentTable((datagram) => this.#countOrphan(datagram));
  }

  /** The capture's time: that of the newest packet, or what `advance` said. */
  get now(): number {
    return this.#times[0] as number;
  }
  get decodeErrors(): number {
    return this.counts.malformed + this.#names.decodeErrors;
  }
  get flowCount(): number {
    return this.#table.size;
  }

  /** Counts one packet. `time` has the capture time in milliseconds at index 0. */
  packet(
    bytes: Uint8Array,
    offset: number,
    captured: number,
    wire: number,
    linkType: number,
    interfaceId: number,
    time: Float64Array,
  ): void {
    const times = this.#times;
    if ((time[0] as number) > (times[0] as number)) {
      if ((time[0] as number) >= (times[1] as number)) this.#passTime(time[0] as number);
      times[0] = time[0] as number;
    }
    const view = this.#view;
    view.parse(bytes, offset, captured, wire, linkType, interfaceId);
    this.counts.packets++;
    if (view.kind === PacketKind.IPv4 || view.kind === PacketKind.IPv6) this.#ip(view);
    else if (view.kind === PacketKind.Malformed) this.counts.malformed++;
    else {
      this.counts.other++;
      if (view.kind === PacketKind.Arp) this.#arp(view);
      else if (view.kind === PacketKind.Lldp) this.#names.lldp(view, this.now);
    }
  }

  /** Moves the capture's time forward where no packet does: ends intervals and idle flows. */
  advance(timeMs: number): void {
    if (timeMs <= (this.#times[0] as number)) return;
    if (timeMs >= (this.#times[1] as number)) this.#passTime(timeMs);
    this.#times[0] = timeMs;
  }

  /** Emits what changed since the last interval ended. */
  flush(): void {
    const table = this.#table;
    for (let i = 0; i < this.#changedCount; i++) {
      const slot = this.#changed[i] as number;
      const state = table.words[slot * WORDS + Word.State] as number;
      // Without the bit it ended meanwhile, or only packets that do not count came.
      if ((state & State.Dirty) !== 0) {
        const isNew = (state & State.Announced) === 0;
        this.#rows.put(slot, isNew ? FlowEvent.New : FlowEvent.Counters, isNew ? this.#firstSeen(slot) : this.now);
        table.words[slot * WORDS + Word.State] = state | State.Announced;
      }
      const at = slot * WORDS + Word.State;
      table.words[at] = (table.words[at] as number) & ~(State.Dirty | State.Touched | State.ReplyTouched);
    }
    this.#changedCount = 0;
    this.#rows.emit();
  }

  /** The capture is over: emits everything, and ends every flow. */
  finish(): void {
    this.#fragments.flush();
    this.flush();
    for (const list of TIMEOUT_MS.keys())
      for (let slot = this.#table.oldest(list); slot >= 0; slot = this.#table.oldest(list)) this.#end(slot);
    this.#rows.emit();
  }

  #ip(view: PacketView): void {
    if (view.fragment !== Fragment.None) return this.#fragment(view);
    const slot = this.#flowOf(view);
    if (slot >= 0) this.#count(slot, this.#table.reversed, view);
  }

  /** The flow of a packet that shows its ports; -1 where it belongs to none. Sets the table's `reversed`. */
  #flowOf(view: PacketView): number {
    if (view.protocol === IpProtocol.Icmp || view.protocol === IpProtocol.Icmpv6) return this.#icmpFlow(view);
    return this.#flow(view, view.sourcePort, view.destinationPort, view.protocol, 0);
  }

  /** The flow of a packet, opened if it is new. `opener`: 1 its sender began it, -1 its receiver did, 0 not known. */
  #flow(view: PacketView, sourcePort: number, destinationPort: number, key: number, opener: number): number {
    const table = this.#table;
    const slot = table.find(view.addresses, sourcePort, destinationPort, key);
    if (slot < 0) return this.#open(view, sourcePort, destinationPort, key, opener);
    // A closed connection's ports are used again.
    if (
      (view.tcpFlags & (TcpFlag.Syn | TcpFlag.Ack)) === TcpFlag.Syn &&
      ((table.words[slot * WORDS + Word.State] as number) & State.Closing) !== 0
    ) {
      this.#end(slot);
      table.find(view.addresses, sourcePort, destinationPort, key);
      return this.#open(view, sourcePort, destinationPort, key, opener);
    }
    return slot;
  }

  #open(view: PacketView, sourcePort: number, destinationPort: number, key: number, opener: number): number {
    const table = this.#table;
    if (table.isFull) {
      const victim = table.dispensable();
      if (victim < 0) return -1;
      this.#end(victim);
      this.counts.evicted++;
      table.find(view.addresses, sourcePort, destinationPort, key);
    }
    const isTcp = view.protocol === IpProtocol.Tcp;
    const swap = opener === 0 ? !this.#isOpenedBySender(view) : opener < 0;
    const list = isTcp ? Timeout.TcpOpening : Timeout.Unanswered;
    const slot = table.add(view.addresses, sourcePort, destinationPort, key, swap, list);
    this.#begin(slot);
    return slot;
  }

  #begin(slot: number): void {
    const { doubles } = this.#table;
    const at = slot * DOUBLES;
    doubles[at + Double.First] = this.#times[0] as number;
    doubles[at + Double.Last] = doubles[at + Double.ReplyLast] = -Infinity;
  }

  #firstSeen(slot: number): number {
    return this.#table.doubles[slot * DOUBLES + Double.First] as number;
  }

  #isOpenedBySender(view: PacketView): boolean {
    if (view.protocol === IpProtocol.Tcp) {
      const syn = view.tcpFlags & (TcpFlag.Syn | TcpFlag.Ack);
      if (syn === TcpFlag.Syn) return true;
      if (syn === (TcpFlag.Syn | TcpFlag.Ack)) return false;
    } else {
      const times = this.#times;
      if ((times[0] as number) - (times[2] as number) > ALREADY_RUNNING_MS) return true;
    }
    // It ran before it was captured: the well-known port is the server's.
    return view.sourcePort >= 1024 || view.destinationPort < 1024;
  }

  #icmpFlow(view: PacketView): number {
    const { bytes, transport } = view;
    const type = transport < 0 ? -1 : (bytes[transport] as number);
    const request = view.protocol === IpProtocol.Icmp ? icmpRequest(type) : icmpv6Request(type);
    if (request < 0) {
      this.counts.untracked++;
      if (view.protocol === IpProtocol.Icmpv6) this.#neighbourMessage(view);
      return -1;
    }
    const identifier =
      transport + 6 <= view.networkEnd ? ((bytes[transport + 4] as number) << 8) | (bytes[transport + 5] as number) : 0;
    return this.#flow(view, identifier, identifier, view.protocol | (request << 8), type === request ? 1 : -1);
  }

  #fragment(view: PacketView): void {
    const datagram = this.#fragments.of(view, this.now);
    if (view.fragment === Fragment.First) {
      datagram.slot = this.#flowOf(view);
      datagram.reversed = this.#table.reversed;
    }
    const { slot, reversed } = datagram;
    if (slot < 0 || !this.#isSlotOf(slot, reversed, view)) {
      datagram.packets++;
      datagram.bytes += view.length;
    } else {
      if (!this.#count(slot, reversed, view)) return;
      if (datagram.packets > 0) this.#add(slot, reversed ? 1 : 0, datagram.packets, datagram.bytes);
      datagram.packets = datagram.bytes = 0;
    }
    const payload = this.#fragments.assemble(datagram, view);
    if (payload) this.#names.dnsPayload(view, payload.subarray(8), this.now);
  }

  /** Whether the slot still holds the flow between these two addresses. */
  #isSlotOf(slot: number, reversed: boolean, view: PacketView): boolean {
    const { words } = this.#table;
    const at = slot * WORDS;
    if (((words[at + Word.State] as number) & State.Live) === 0) return false;
    for (let i = 0; i < 8; i++) if (words[at + (reversed ? (i + 4) & 7 : i)] !== view.addresses[i]) return false;
    return true;
  }

  #countOrphan(datagram: Datagram): void {
    const table = this.#table;
    let slot = table.find(datagram.addresses, 0, 0, datagram.protocol);
    if (slot < 0) {
      if (table.isFull) return;
      slot = table.add(datagram.addresses, 0, 0, datagram.protocol, false, Timeout.Unanswered);
      this.#begin(slot);
    }
    table.doubles[slot * DOUBLES + Double.Last] = datagram.time;
    this.#add(slot, table.reversed ? 1 : 0, datagram.packets, datagram.bytes);
    this.#remember(slot);
  }

  /** Counts the packet into the flow; `false` if it is a copy or the judge drops it. */
  #count(slot: number, reversed: boolean, view: PacketView): boolean {
    const { words, doubles } = this.#table;
    const at = slot * WORDS;
    const side = reversed ? 1 : 0;
    const now = this.#times[0] as number;
    const last = slot * DOUBLES + Double.Last + side;
    if (words[at + Word.View + side] !== view.view) {
      if (now - (doubles[last] as number) < SAME_PACKET_MS && isBetweenTwo(view.addresses)) {
        this.counts.duplicates++;
        return false;
      }
      words[at + Word.View + side] = view.view;
    }
    doubles[last] = now;
    if (((words[at + Word.State] as number) & (reversed ? State.ReplyTouched : State.Touched)) === 0)
      this.#touch(slot, reversed, view);
    if (this.#judge !== undefined && this.#judge.drops(slot, reversed, view, now)) {
      this.counts.dropped++;
      return false;
    }
    this.#add(slot, side, 1, view.length);
    if (reversed && ((words[at + Word.State] as number) & State.Answered) === 0) this.#answered(slot, view);
    if (view.protocol === IpProtocol.Tcp) {
      if ((view.tcpFlags & (TcpFlag.Fin | TcpFlag.Rst)) !== 0) this.#closing(slot, reversed, view.tcpFlags);
      if (view.sourcePort === 53 || view.destinationPort === 53) this.#names.dnsTcp(view, slot, reversed, now);
      else if (!reversed && this.#isFirst(slot)) this.#names.first(view, now);
    } else if (view.protocol === IpProtocol.Udp && view.fragment === Fragment.None) {
      if (view.sourcePort === 53 || view.destinationPort === 53) this.#names.dnsUdp(view, now);
      else if (view.sourcePort === 67 || view.destinationPort === 67) this.#names.dhcp(view, now);
      else if (view.destinationPort === 5353 || view.destinationPort === 547) this.#names.announcement(view, now);
      else if (!reversed && this.#isFirst(slot)) this.#names.first(view, now);
    }
    return true;
  }

  /** The packet counted last is one of the first of who began the flow. */
  #isFirst(slot: number): boolean {
    return (this.#table.doubles[slot * DOUBLES + Double.Packets] as number) <= FIRST_PACKETS;
  }

  #add(slot: number, side: number, packets: number, bytes: number): void {
    const { words, doubles } = this.#table;
    const at = slot * DOUBLES + 2 * side;
    doubles[at + Double.Packets] = (doubles[at + Double.Packets] as number) + packets;
    doubles[at + Double.Bytes] = (doubles[at + Double.Bytes] as number) + bytes;
    this.counts.counted += packets;
    this.counts.countedBytes += bytes;
    words[slot * WORDS + Word.State] = (words[slot * WORDS + Word.State] as number) | State.Dirty;
  }

  /** First packet of the interval in this direction: what need not be done for each. */
  #touch(slot: number, reversed: boolean, view: PacketView): void {
    const { words } = this.#table;
    const at = slot * WORDS + Word.State;
    const state = words[at] as number;
    if ((state & (State.Touched | State.ReplyTouched)) === 0) {
      this.#remember(slot);
      this.#table.use(slot, words[slot * WORDS + Word.List] as number);
    }
    words[at] = state | (reversed ? State.ReplyTouched : State.Touched);
    const isNewHome = this.#home.follow(view);
    if (this.#home.version !== this.#homeVersion) this.#emitNetwork();
    if (isNewHome) this.#noteAddress(macFromBytes(view.bytes, view.destinationMac), view.addresses, 4);
    this.#noteSender(view);
  }

  /** Puts the slot on the list that `flush` goes through. */
  #remember(slot: number): void {
    if (this.#changedCount === this.#changed.length) {
      const larger = new Int32Array(this.#changed.length * 2);
      larger.set(this.#changed);
      this.#changed = larger;
    }
    this.#changed[this.#changedCount++] = slot;
  }

  #answered(slot: number, view: PacketView): void {
    const { words } = this.#table;
    const at = slot * WORDS + Word.State;
    words[at] = (words[at] as number) | State.Answered;
    if (view.protocol === IpProtocol.Tcp) {
      if ((words[at] & State.Closing) === 0) this.#table.use(slot, Timeout.TcpOpen);
    } else if (view.protocol === IpProtocol.Udp) this.#table.use(slot, Timeout.Answered);
  }

  #closing(slot: number, reversed: boolean, tcpFlags: number): void {
    const { words } = this.#table;
    const at = slot * WORDS + Word.State;
    let state = words[at] as number;
    if ((tcpFlags & TcpFlag.Fin) !== 0) state |= reversed ? State.ReplyFin : State.Fin;
    const isOver =
      (tcpFlags & TcpFlag.Rst) !== 0 || (state & (State.Fin | State.ReplyFin)) === (State.Fin | State.ReplyFin);
    if (isOver && (state & State.Closing) === 0) {
      state |= State.Closing;
      this.#table.use(slot, Timeout.TcpClosed);
    }
    words[at] = state;
  }

  #end(slot: number): void {
    const table = this.#table;
    const state = table.words[slot * WORDS + Word.State] as number;
    if ((state & State.Dirty) !== 0 && (state & State.Announced) === 0)
      this.#rows.put(slot, FlowEvent.New, this.#firstSeen(slot));
    if ((state & (State.Dirty | State.Announced)) !== 0) this.#rows.put(slot, FlowEvent.End, table.lastSeen(slot));
    this.#names.forget(slot);
    table.remove(slot);
  }

  /** The interval is over: `now` is the first moment of the next. */
  #passTime(now: number): void {
    const times = this.#times;
    if (times[2] === -Infinity) {
      times[2] = times[0] = now;
      this.#emitNetwork();
    } else {
      this.flush();
      this.#expire(now);
    }
    times[1] = now + this.#intervalMs;
  }

  #expire(now: number): void {
    const table = this.#table;
    for (let list = 0; list < TIMEOUT_MS.length; list++) {
      const limit = now - (TIMEOUT_MS[list] as number);
      for (let slot = table.oldest(list); slot >= 0 && table.lastSeen(slot) < limit; slot = table.oldest(list))
        this.#end(slot);
    }
    this.#rows.emit();
  }

  /** Tells who sent the frame, if that is a home device. */
  #noteSender(view: PacketView): void {
    const mac = view.sourceMac < 0 ? 0 : macFromBytes(view.bytes, view.sourceMac);
    if (mac === 0) {
      if (this.#home.isLan(view.addresses, 0) && !this.#home.isGatewayAddress(view.addresses, 0))
        this.#noteAddress(standInMac(view.addresses, 0), view.addresses);
    } else if (this.#home.isGateway(mac) || isGroup(mac)) return;
    else if (this.#home.isLan(view.addresses, 0)) this.#noteAddress(mac, view.addresses);
    else {
      // Not an address of this home, but it is there: key the table by the hardware address itself.
      const key = this.#macKey;
      key[0] = key[1] = -1;
      key[2] = mac / 0x100000000;
      key[3] = mac | 0;
      if (this.#hosts.note(key, 0, mac, this.now, NEIGHBOUR_EVERY_MS))
        this.#emit({ kind: "neighbour", time: this.now, mac, interface: INTERFACE, state: "frame" });
    }
  }

  /** `mac` has the address at `offset`. */
  #noteAddress(mac: number, addresses: Int32Array, offset = 0): void {
    if (!this.#hosts.note(addresses, offset, mac, this.now, NEIGHBOUR_EVERY_MS)) return;
    const address = printAddress(addresses, offset);
    this.#emit({ kind: "neighbour", time: this.now, mac, address, interface: INTERFACE, state: "frame" });
  }

  #arp(view: PacketView): void {
    const address = arpSender(view);
    const mac = macFromBytes(view.bytes, view.network + 8);
    if (address) this.#claim(mac, address);
    const target = arpTarget(view);
    if (target && !isGroup(mac) && !this.#home.isGateway(mac))
      this.#emit({ kind: "who-has", time: this.now, mac, target: printAddress(target, 0) });
  }

  #neighbourMessage(view: PacketView): void {
    const address = ndpClaim(view);
    if (address && view.sourceMac >= 0) this.#claim(macFromBytes(view.bytes, view.sourceMac), address);
  }

  /** `mac` says that it holds the address. */
  #claim(mac: number, address: Uint32Array): void {
    if (mac === 0 || isGroup(mac) || this.#home.isGateway(mac)) return;
    this.#home.claimed(mac, address);
    if (this.#home.version !== this.#homeVersion) this.#emitNetwork();
    if (this.#home.isLan(address, 0)) this.#noteAddress(mac, Int32Array.from(address));
  }

  #emitNetwork(): void {
    const { version, lanPrefixes, gatewayAddresses, gatewayMacs } = this.#home;
    this.#homeVersion = version;
    this.#emit({
      kind: "network",
      time: this.now,
      lanInterfaces: [INTERFACE],
      lanPrefixes,
      gatewayAddresses,
      gatewayMacs,
    });
  }
}

/** The request that an ICMP query message belongs to, by its type; -1 for messages without a flow. */
function icmpRequest(type: number): number {
  if (type === 8 || type === 0) return 8;
  return type >= 13 && type <= 18 ? type - ((type + 1) & 1) : -1;
}

function icmpv6Request(type: number): number {
  return type === 128 || type === 129 ? 128 : -1;
}

/** Both ends are one station's: others can't send the same. */
function isBetweenTwo(addresses: Int32Array): boolean {
  return (isPlain(addresses, 0) || isLinkLocal(addresses, 0)) && (isPlain(addresses, 4) || isLinkLocal(addresses, 4));
}

function isGroup(mac: number): boolean {
  return (Math.floor(mac / 0x10000000000) & 1) !== 0;
}
