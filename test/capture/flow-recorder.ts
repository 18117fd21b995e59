/** Keeps what a source of flows tells, flow by flow, for tests to look at. */
import { printAddress } from "../../src/lib/address.ts";
import { type FlowColumns, FlowEvent, FlowFlag, type Observation } from "../../src/spin/observation.ts";

export interface SeenFlow {
  readonly id: number;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly replySource: string;
  readonly replyDestination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  begins: number;
  ends: number;
  answered: boolean;
  translated: boolean;
  packets: number;
  bytes: number;
  replyPackets: number;
  replyBytes: number;
}

export class FlowRecorder {
  readonly flows = new Map<string, SeenFlow>();
  readonly others: Exclude<Observation, { kind: "flows" }>[] = [];
  /** Counters of a flow whose end had been told. */
  afterEnd = 0;
  /** Beginnings of a flow whose end had been told. */
  beginsAfterEnd = 0;
  dumps = 0;

  readonly emit = (observation: Observation): void => {
    if (observation.kind === "flows") this.#rows(observation.columns);
    else {
      if (observation.kind === "dumped") this.dumps++;
      this.others.push(observation);
    }
  };

  with(test: Partial<SeenFlow>): SeenFlow[] {
    const wanted = Object.entries(test);
    return [...this.flows.values()].filter((flow) =>
      wanted.every(([key, value]) => flow[key as keyof SeenFlow] === value),
    );
  }

  #rows(columns: FlowColumns): void {
    for (let row = 0; row < columns.length; row++) {
      const at = row * 16;
      const source = printAddress(columns.addresses, at);
      const destination = printAddress(columns.addresses, at + 4);
      const sourcePort = columns.sourcePort[row] as number;
      const destinationPort = columns.destinationPort[row] as number;
      const protocol = columns.protocol[row] as number;
      const id = columns.id[row] as number;
      const key = `${id} ${protocol} ${source} ${sourcePort} ${destination} ${destinationPort}`;
      const flow = this.flows.get(key) ?? {
        id,
        protocol,
        source,
        destination,
        replySource: printAddress(columns.addresses, at + 8),
        replyDestination: printAddress(columns.addresses, at + 12),
        sourcePort,
        destinationPort,
        begins: 0,
        ends: 0,
        answered: false,
        translated: false,
        packets: 0,
        bytes: 0,
        replyPackets: 0,
        replyBytes: 0,
      };
      this.flows.set(key, flow);
      const event = columns.event[row];
      if (event === FlowEvent.New) {
        flow.begins++;
        if (flow.ends > 0) this.beginsAfterEnd++;
        continue;
      }
      if (event === FlowEvent.Counters && flow.ends > 0) this.afterEnd++;
      if (event === FlowEvent.End) flow.ends++;
      const flags = columns.flags[row] as number;
      flow.answered = (flags & FlowFlag.Answered) !== 0;
      flow.translated = (flags & FlowFlag.SourceNat) !== 0;
      flow.packets = columns.packets[row] as number;
      flow.bytes = columns.bytes[row] as number;
      flow.replyPackets = columns.replyPackets[row] as number;
      flow.replyBytes = columns.replyBytes[row] as number;
    }
  }
}
