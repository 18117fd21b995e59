/**
 * PORT: what the network told us. Rare facts are small objects; flow counters come as columns (typed arrays), because
 * they come by the ten thousand.
 */

/** What a row of `FlowColumns` says of its flow. */
export const FlowEvent = {
  /** The flow began. Counters are zero or those of its first packets. */
  New: 1,
  /** Counters as they stand now: cumulative since the flow began, as conntrack's. */
  Counters: 2,
  /** The flow ended; the counters are final. */
  End: 3,
} as const;

/** Bits of `FlowColumns.flags`. */
export const FlowFlag = {
  /** The peer answered (conntrack: SEEN_REPLY). */
  Answered: 1,
  /** The source address is translated (conntrack: SRC_NAT). */
  SourceNat: 2,
  /** The packets bypass the hooks (conntrack: OFFLOAD or HW_OFFLOAD): counters may be partial. */
  Offloaded: 4,
} as const;

/**
 * `length` flows in columns. Addresses are 16 words a row: source and destination of the original direction, then
 * source and destination of the reply direction, four words each (src/lib/address.ts). For ICMP and ICMPv6 the ports of
 * the original direction are type·256 + code and the identifier. A source may reuse the arrays after `emit` returns.
 */
export interface FlowColumns {
  length: number;
  readonly event: Uint8Array;
  /** Identifies the flow at its source while it lives: conntrack's id, or the slot in the packet table. */
  readonly id: Float64Array;
  readonly protocol: Uint8Array;
  readonly flags: Uint8Array;
  readonly addresses: Uint32Array;
  readonly sourcePort: Uint16Array;
  readonly destinationPort: Uint16Array;
  readonly replySourcePort: Uint16Array;
  readonly replyDestinationPort: Uint16Array;
  /** Of the original direction, cumulative; bytes are those of the IP packet, header included. */
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  readonly replyPackets: Float64Array;
  readonly replyBytes: Float64Array;
  /** Milliseconds since 1970: when the flow began (New), was read (Counters) or ended (End). */
  readonly time: Float64Array;
}

export interface DnsAnswerRecord {
  /** Canonical IPv4 or IPv6 text. */
  readonly address: string;
  /** Seconds, as the answer said. */
  readonly ttl: number;
}

export type Observation =
  | { readonly kind: "flows"; readonly columns: FlowColumns }
  /** A whole dump has been emitted: a flow that neither it nor an event since `startedAt` showed has ended. */
  | { readonly kind: "dumped"; readonly startedAt: number; readonly time: number }
  /** A question that a home device asked. `client` is its address, `mac` its hardware address where the frame showed it. */
  | {
      readonly kind: "query";
      readonly time: number;
      readonly client: string;
      readonly mac?: number;
      /** Lower-case, without the final dot. */
      readonly name: string;
      /** `A`, `AAAA`, `HTTPS`, or `TYPE65` for one without a name. */
      readonly type: string;
    }
  /** An answer that a home device got. `names` is the name asked for, then the CNAME chain to the addresses' owner. */
  | {
      readonly kind: "answer";
      readonly time: number;
      readonly client: string;
      readonly mac?: number;
      readonly names: readonly string[];
      readonly type: string;
      readonly rcode: number;
      readonly addresses: readonly DnsAnswerRecord[];
    }
  /** Who holds an address on the LAN; `address` absent when only the hardware address was seen. */
  | {
      readonly kind: "neighbour";
      readonly time: number;
      readonly mac: number;
      readonly address?: string;
      readonly interface: string;
      /**
       * `gone`: the kernel forgot or failed to reach it. `frame`: seen as the source of a frame;
       * `dropped`: of one that a rule dropped.
       */
      readonly state: "reachable" | "stale" | "gone" | "frame" | "dropped";
    }
  /**
   * What a device said of itself, or a file of the gateway says of it. Each field stands alone: a later observation that
   * lacks one takes nothing back.
   */
  | {
      readonly kind: "identity";
      readonly time: number;
      readonly mac: number;
      readonly source: "dhcp" | "dhcpv6" | "mdns" | "lldp" | "hosts" | "ethers";
      readonly hostName?: string;
      /** DHCPv4 option 60, DHCPv6 option 16. */
      readonly vendorClass?: string;
      /** DHCPv4 option 55, in the device's order: it tells operating systems apart. */
      readonly parameterList?: readonly number[];
      /** DNS-SD service types that it offers, such as `_hap._tcp`. */
      readonly services?: readonly string[];
      /** As the device names its make: DNS-SD's `md` and `model`, LLDP's system description. */
      readonly model?: string;
      /** RFC 8520: DHCPv4 option 161, DHCPv6 option 112, LLDP's 00-00-5E subtype 1. */
      readonly mudUrl?: string;
    }
  /** A device named the server it speaks to, in TLS's ClientHello or QUIC's Initial. */
  | {
      readonly kind: "server-name";
      readonly time: number;
      readonly client: string;
      readonly mac?: number;
      /** The server's. */
      readonly address: string;
      readonly port: number;
      readonly protocol: 6 | 17;
      /** Lower-case; empty where none could be read. With `ech` it is the outer name, which says little. */
      readonly name: string;
      readonly ech: boolean;
    }
  /** Packets that a rule dropped or rejected, summed up by whoever read them; the kernel shows a bounded sample alone. */
  | {
      readonly kind: "blocked";
      readonly time: number;
      /** 0: no frame showed it, and `client` has the device's address. */
      readonly mac: number;
      readonly client?: string;
      /** From the device, not to it. */
      readonly outbound: boolean;
      /** The peer's. */
      readonly address: string;
      readonly protocol: number;
      /** The peer's; 0 for protocols without. */
      readonly port: number;
      readonly packets: number;
      readonly bytes: number;
      /** Instance number, where it is known. */
      readonly rule?: number;
    }
  /** A home device asked by ARP who has an IPv4 address. */
  | { readonly kind: "who-has"; readonly time: number; readonly mac: number; readonly target: string }
  | {
      readonly kind: "lease";
      readonly time: number;
      readonly mac: number;
      readonly address: string;
      readonly hostName?: string;
      /** Milliseconds since 1970; absent: never. `ended`: released or expired. */
      readonly expires?: number;
      readonly ended?: boolean;
    }
  /** How the home is cut: which prefixes and interfaces are the LAN's, and which addresses are the gateway's own. */
  | {
      readonly kind: "network";
      readonly time: number;
      readonly lanInterfaces: readonly string[];
      readonly lanPrefixes: readonly string[];
      readonly gatewayAddresses: readonly string[];
      readonly gatewayMacs: readonly number[];
    }
  /** Something was missed; a dump follows. `lost` counts messages where known, else 1. */
  | { readonly kind: "loss"; readonly time: number; readonly lost: number };

/** State of a source or an enforcer, for `Capture.Source.{i}.` and doctor. */
export interface Health {
  /** `helper`, `conntrack-tools`, `procfs`, `nft`, `file` … */
  readonly backend: string;
  readonly status: "Disabled" | "Starting" | "Running" | "Degraded" | "Error";
  readonly observations: number;
  readonly lost: number;
  /** Left out for want of time or room, where no counter misses it. */
  readonly passedOver?: number;
  /** Dumps made to recover from loss. */
  readonly resyncs: number;
  readonly decodeErrors: number;
  /** In words, empty if there was none. */
  readonly lastError: string;
}

export interface Source {
  /** `conntrack`, `dns`, `neighbours`, `leases`, `pcap` …: the key of `Capture.Source.{i}.`. */
  readonly name: string;
  /** Runs until the signal; recovers by itself from what the world does, and throws only on our own bugs. */
  run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void>;
  readonly health: Health;
}

/** Columns with room for `capacity` flows. */
export function flowColumns(capacity: number): FlowColumns {
  return {
    length: 0,
    event: new Uint8Array(capacity),
    id: new Float64Array(capacity),
    protocol: new Uint8Array(capacity),
    flags: new Uint8Array(capacity),
    addresses: new Uint32Array(capacity * 16),
    sourcePort: new Uint16Array(capacity),
    destinationPort: new Uint16Array(capacity),
    replySourcePort: new Uint16Array(capacity),
    replyDestinationPort: new Uint16Array(capacity),
    packets: new Float64Array(capacity),
    bytes: new Float64Array(capacity),
    replyPackets: new Float64Array(capacity),
    replyBytes: new Float64Array(capacity),
    time: new Float64Array(capacity),
  };
}
