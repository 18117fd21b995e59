/** Replays capture bytes and gathers what was observed, in a shape that tests can compare. */
import { Readable } from "node:stream";
import { PcapSource } from "../../src/capture/pcap.ts";
import type { PcapOptions } from "../../src/capture/pcap.ts";
import { printAddress, printMac } from "../../src/lib/address.ts";
import { FlowEvent } from "../../src/spin/observation.ts";
import type { Observation } from "../../src/spin/observation.ts";

export interface SeenFlow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly ports: string;
  readonly packets: number;
  readonly bytes: number;
  readonly replyPackets: number;
  readonly replyBytes: number;
  readonly answered: boolean;
  readonly began: number;
  readonly ended: number;
}

export interface Observed {
  /** Whole flows, by their End. */
  readonly flows: SeenFlow[];
  readonly others: Exclude<Observation, { kind: "flows" }>[];
  readonly source: PcapSource;
  /** The last that was told of the home's cut. */
  network(): { lan: readonly string[]; gateways: string[]; gatewayAddresses: readonly string[] };
  of<Kind extends Observation["kind"]>(kind: Kind): Extract<Observation, { kind: Kind }>[];
}

export async function observeCapture(
  capture: Uint8Array | string,
  options: Partial<PcapOptions> = {},
): Promise<Observed> {
  const from = typeof capture === "string" ? capture : Readable.from(chunks(capture));
  const source = new PcapSource({ source: from, ...options });
  const flows: SeenFlow[] = [];
  const others: Exclude<Observation, { kind: "flows" }>[] = [];
  const began = new Map<number, number>();
  await source.run(new AbortController().signal, (observation) => {
    if (observation.kind !== "flows") return void others.push(observation);
    const c = observation.columns;
    for (let i = 0; i < c.length; i++) {
      const id = c.id[i] as number;
      if (c.event[i] === FlowEvent.New) {
        if (began.has(id)) throw new Error(`flow ${id} began twice`);
        began.set(id, c.time[i] as number);
      } else if (!began.has(id)) throw new Error(`flow ${id} went on without having begun`);
      if (c.event[i] !== FlowEvent.End) continue;
      flows.push({
        source: printAddress(c.addresses, i * 16),
        destination: printAddress(c.addresses, i * 16 + 4),
        protocol: c.protocol[i] as number,
        ports: `${c.sourcePort[i]}>${c.destinationPort[i]}`,
        packets: c.packets[i] as number,
        bytes: c.bytes[i] as number,
        replyPackets: c.replyPackets[i] as number,
        replyBytes: c.replyBytes[i] as number,
        answered: ((c.flags[i] as number) & 1) !== 0,
        began: began.get(id) as number,
        ended: c.time[i] as number,
      });
      began.delete(id);
    }
  });
  if (began.size > 0) throw new Error(`${began.size} flows never ended`);
  const of = <Kind extends Observation["kind"]>(kind: Kind) =>
    (others as Observation[]).filter((o): o is Extract<Observation, { kind: Kind }> => o.kind === kind);
  return {
    flows,
    others,
    source,
    of,
    network: () => {
      const last = of("network").at(-1);
      if (!last) throw new Error("no network was told");
      return {
        lan: last.lanPrefixes,
        gateways: last.gatewayMacs.map(printMac),
        gatewayAddresses: last.gatewayAddresses,
      };
    },
  };
}

/** In uneven chunks, as a pipe delivers them. */
function* chunks(bytes: Uint8Array): Generator<Buffer> {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = ((size * 7) % 65_521) + 1)
    yield Buffer.from(bytes.subarray(at, at + size));
}
