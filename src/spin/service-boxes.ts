/**
 * Services – protocol, ports and who began – of several rules over the same addresses, cut into disjoint boxes that each
 * have one answer.
 */
import { PORT_PROTOCOLS } from "./rule-values.ts";
import type { PortRange } from "./rule-values.ts";
import type { Initiator } from "./ruleset.ts";

/** What a rule says about protocol, ports (of the peer) and initiator. */
export interface Service {
  readonly protocol: number;
  readonly ports: readonly PortRange[];
  readonly initiator: Initiator;
}

/** Ranges, inclusive. `initiator`: 0 the device, 1 the peer. */
export interface ServiceBox {
  readonly protocol: PortRange;
  readonly ports: PortRange;
  readonly initiator: PortRange;
}

const ALL_PORTS: PortRange = { from: 0, to: 65535 };
const ALL_PROTOCOLS: PortRange = { from: 0, to: 255 };

/** Whether a service is every service, so that addresses alone decide. */
export function isAnyService(service: Service): boolean {
  return service.protocol === -1 && service.ports.length === 0 && service.initiator === "Any";
}

/** Whether a packet of this protocol, port of the peer and initiator is of the service. */
export function matchesService(
  service: Service,
  protocol: number,
  port: number,
  initiator: "Device" | "Peer",
): boolean {
  if (service.initiator !== "Any" && service.initiator !== initiator) return false;
  if (service.protocol !== -1 && service.protocol !== protocol) return false;
  if (service.ports.length === 0) return true;
  return PORT_PROTOCOLS.includes(protocol) && service.ports.some(({ from, to }) => port >= from && port <= to);
}

/** Equal answers are one answer: neighbours with equal keys are merged. */
export interface Answer {
  readonly key: string;
}

/**
 * Cuts the space of services so that inside a box the same entries match, asks for each box's answer, and merges
 * neighbours that answer alike. `decide` returns `undefined` where no entry matches or matters.
 */
export function serviceBoxes<E extends { readonly service: Service }, A extends Answer>(
  entries: readonly E[],
  decide: (matching: readonly E[]) => A | undefined,
): { readonly box: ServiceBox; readonly answer: A }[] {
  const boxes: { box: ServiceBox; answer: A }[] = [];
  let previous: { box: ServiceBox; answer: A }[] = [];
  for (const protocol of cuts(
    ALL_PROTOCOLS,
    entries.flatMap((entry) => protocolsOf(entry.service)),
  )) {
    const here = entries.filter((entry) => protocolsOf(entry.service).some((range) => contains(range, protocol.from)));
    const slice = portSlice(protocol, here, decide);
    if (isSameButProtocol(previous, slice) && (previous[0]?.box.protocol.to ?? -2) + 1 === protocol.from) {
      previous = previous.map(({ box, answer }) => ({
        box: { ...box, protocol: { from: box.protocol.from, to: protocol.to } },
        answer,
      }));
    } else {
      boxes.push(...previous);
      previous = slice;
    }
  }
  boxes.push(...previous);
  return boxes;
}

function portSlice<E extends { readonly service: Service }, A extends Answer>(
  protocol: PortRange,
  entries: readonly E[],
  decide: (matching: readonly E[]) => A | undefined,
): { box: ServiceBox; answer: A }[] {
  const slice: { box: ServiceBox; answer: A }[] = [];
  for (const ports of cuts(
    ALL_PORTS,
    entries.flatMap((entry) => portsOf(entry.service)),
  )) {
    const here = entries.filter((entry) => portsOf(entry.service).some((range) => contains(range, ports.from)));
    const device = decide(here.filter((entry) => entry.service.initiator !== "Peer"));
    const peer = decide(here.filter((entry) => entry.service.initiator !== "Device"));
    if (device && device.key === peer?.key) append(slice, protocol, ports, { from: 0, to: 1 }, device);
    else {
      if (device) append(slice, protocol, ports, { from: 0, to: 0 }, device);
      if (peer) append(slice, protocol, ports, { from: 1, to: 1 }, peer);
    }
  }
  return slice;
}

/** Adds a box, or widens the one whose ports end where these begin. */
function append<A extends Answer>(
  slice: { box: ServiceBox; answer: A }[],
  protocol: PortRange,
  ports: PortRange,
  initiator: PortRange,
  answer: A,
): void {
  const index = slice.findLastIndex(({ box }) => isSame(box.initiator, initiator));
  const before = slice[index];
  if (before && before.box.ports.to + 1 === ports.from && before.answer.key === answer.key) {
    slice[index] = { box: { protocol, ports: { from: before.box.ports.from, to: ports.to }, initiator }, answer };
  } else slice.push({ box: { protocol, ports, initiator }, answer });
}

/** The ranges between all starts and ends of `ranges`, in order, covering `whole`. */
function cuts(whole: PortRange, ranges: readonly PortRange[]): PortRange[] {
  const starts = new Set<number>([whole.from]);
  for (const { from, to } of ranges) {
    starts.add(from);
    if (to < whole.to) starts.add(to + 1);
  }
  const sorted = [...starts].sort((a, b) => a - b);
  return sorted.map((from, index) => ({ from, to: (sorted[index + 1] ?? whole.to + 1) - 1 }));
}

function protocolsOf(service: Service): readonly PortRange[] {
  const single = (number: number) => ({ from: number, to: number });
  if (service.ports.length === 0) return service.protocol === -1 ? [ALL_PROTOCOLS] : [single(service.protocol)];
  return PORT_PROTOCOLS.filter((number) => service.protocol === -1 || number === service.protocol).map(single);
}

function portsOf(service: Service): readonly PortRange[] {
  return service.ports.length === 0 ? [ALL_PORTS] : service.ports;
}

function contains(range: PortRange, value: number): boolean {
  return value >= range.from && value <= range.to;
}

function isSame(a: PortRange, b: PortRange): boolean {
  return a.from === b.from && a.to === b.to;
}

function isSameButProtocol<A extends Answer>(
  a: readonly { box: ServiceBox; answer: A }[],
  b: readonly { box: ServiceBox; answer: A }[],
): boolean {
  return (
    a.length === b.length &&
    a.length > 0 &&
    a.every(({ box, answer }, index) => {
      const other = b[index] as { box: ServiceBox; answer: A };
      return (
        isSame(box.ports, other.box.ports) &&
        isSame(box.initiator, other.box.initiator) &&
        answer.key === other.answer.key
      );
    })
  );
}
