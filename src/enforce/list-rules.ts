/** What rules on lists are in the kernel (spin.nft, sets list_*): elements by level, place of the list, and device. */
import { answerOf, levelOf, type Entry } from "../spin/policy-cells.ts";
import type { Policy } from "../spin/ruleset.ts";
import { isAnyService, serviceBoxes } from "../spin/service-boxes.ts";
import { element, type Element } from "./elements.ts";
import type { HeldAddress } from "./expand.ts";

/** As many lists may be in rules at one time. */
export const PLACES = 8;
/** Codes in list_used below are those of levels. */
const FIRST_PLACE_CODE = 16;
export const LIST_RULE_MAPS = [
  "list_used",
  "list_every",
  "list_service",
  "list_device_up",
  "list_box_up",
  "list_device_down4",
  "list_device_down6",
  "list_box_down4",
  "list_box_down6",
] as const;

interface Group {
  readonly level: number;
  readonly place: number;
  /** Absent: every device. */
  readonly mac: number | undefined;
  readonly entries: Entry[];
}

/** The elements of a policy's rules on lists, with the rules that each counts for. */
export function* listElements(
  policy: Policy,
  placeOf: (list: number) => number | undefined,
  heldBy: (mac: number) => Iterable<HeldAddress>,
): Iterable<{ element: Element; rules: readonly number[] }> {
  const used = new Set<number>();
  for (const { level, place, mac, entries } of groupsOf(policy, placeOf)) {
    const code = level * PLACES + place;
    used.add(level).add(FIRST_PLACE_CODE + code);
    // A packet has one verdict of a level, whichever of its rules; what counts, counts for all.
    if (entries.every(({ service }) => isAnyService(service))) {
      const rules = answerOf(level, entries)?.rules ?? [];
      if (mac === undefined) yield { element: element("list_every", [code]), rules };
      else {
        yield { element: element("list_device_up", [code, mac]), rules };
        for (const { family, value } of heldBy(mac))
          yield { element: element(`list_device_down${family}`, [code, value]), rules };
      }
      continue;
    }
    for (const { box, answer } of serviceBoxes(entries, (matching) => answerOf(level, matching))) {
      const from = [box.protocol.from, box.ports.from];
      const to = [box.protocol.to, box.ports.to];
      const { rules } = answer;
      const make = (map: string, ...device: (number | bigint)[]) =>
        element(map, [code, ...device, ...from], "", { to: [code, ...device, ...to] });
      if (mac === undefined) yield { element: make("list_service"), rules };
      else {
        yield { element: make("list_box_up", mac), rules };
        for (const { family, value } of heldBy(mac)) yield { element: make(`list_box_down${family}`, value), rules };
      }
    }
  }
  for (const code of used) yield { element: element("list_used", [code]), rules: [] };
}

function groupsOf(policy: Policy, placeOf: (list: number) => number | undefined): Iterable<Group> {
  const groups = new Map<string, Group>();
  for (const rule of policy.rules) {
    if (rule.destinations === "*") continue;
    const level = levelOf(rule);
    for (const list of rule.destinations.lists ?? []) {
      const place = placeOf(list);
      if (place === undefined) continue;
      for (const mac of rule.macs === "*" ? [undefined] : rule.macs) {
        const key = `${level} ${place} ${mac}`;
        const group = groups.get(key) ?? { level, place, mac, entries: [] };
        groups.set(key, group);
        group.entries.push({ rule, service: rule, expires: Infinity });
      }
    }
  }
  return groups.values();
}
