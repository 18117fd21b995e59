/** What a cell of the policy becomes in the kernel: by hardware address upwards, by each IP address downwards. */
import { LAYERS } from "../spin/policy-cells.ts";
import type { Cell, Layer } from "../spin/policy-cells.ts";
import { element } from "./elements.ts";
import type { Element } from "./elements.ts";

/** An address that a device holds, as a number of its family's width. */
export interface HeldAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** `held` are the addresses of the cell's device; without a device they don't matter. */
export function elementsOf(cell: Cell, held: Iterable<HeldAddress>): Element[] {
  const { layer, level, mac, span, expires } = cell;
  if (layer === "destination" && span) {
    return [element(`destination${span.family}_${level}`, [span.from], "", { to: [span.to], expires })];
  }
  const range = rangeFields(cell);
  if (layer === "service" && span) {
    return [element(`service${span.family}`, range.from, "", { to: range.to, expires })];
  }
  const elements: Element[] = [];
  const put = (map: string, device: number | bigint) => {
    const [mark, ...rest] = range.from;
    const [markTo, ...restTo] = range.to;
    const from = [mark as number, device, ...rest];
    elements.push(element(map, from, "", { to: [markTo as number, device, ...restTo], expires }));
  };
  const name = span ? `${layer}_up${span.family}` : `${layer}_up`;
  put(name, mac as number);
  for (const { family, value } of held) {
    if (span && span.family !== family) continue;
    put(`${layer}_down${family}`, value);
  }
  return elements;
}

/** The elements of the sets used_* that lead packets to this element: its level's, and its layer's in that level. */
export function usesOf({ map, from }: Pick<Element, "map" | "from">): Element[] {
  const destination = /^destination(4|6)_(\d)$/.exec(map);
  if (destination) return uses("destination", Number(destination[2]), ["up", "down"], [destination[1] as string]);
  const [, layer, way, family] = /^(pair|network|box|device|service)(?:_(up|down))?(4|6)?$/.exec(map) ?? [];
  if (!layer) return [];
  const mark = from[0] as number;
  const level = layer === "box" || layer === "service" ? mark >> 1 : mark;
  return uses(layer as Layer, level, way ? [way] : ["up", "down"], family ? [family] : ["4", "6"]);
}

/** The same for all that a rule on a domain may come to hold at a level. */
export function domainUses(level: number): Element[] {
  return (["pair", "box"] as const).flatMap((layer) => uses(layer, level, ["up", "down"], ["4", "6"]));
}

/** The same for a level that is asked for lists' sake alone. */
export function levelUses(level: number): Element[] {
  return ["up4", "up6", "down4", "down6"].map((way) => element(`used_${way}`, [level]));
}

function uses(layer: Layer, level: number, ways: readonly string[], families: readonly string[]): Element[] {
  const codes = [level, 16 + LAYERS.length * level + LAYERS.indexOf(layer)];
  return ways.flatMap((way) =>
    families.flatMap((family) => codes.map((code) => element(`used_${way}${family}`, [code]))),
  );
}

function rangeFields({ layer, level, span, box }: Cell): { from: (number | bigint)[]; to: (number | bigint)[] } {
  const boxed = layer === "box" || layer === "service";
  const from: (number | bigint)[] = [boxed ? level * 2 + (box?.initiator.from ?? 0) : level];
  const to: (number | bigint)[] = [boxed ? level * 2 + (box?.initiator.to ?? 1) : level];
  if (span) {
    from.push(span.from);
    to.push(span.to);
  }
  if (box) {
    from.push(box.protocol.from, box.ports.from);
    to.push(box.protocol.to, box.ports.to);
  }
  return { from, to };
}
