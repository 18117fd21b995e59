/** Elements of sets and maps as lines for `nft -f`. */
import type { TableFamily } from "../netlink/nftables-messages.ts";
import { addText, keyOnlyText, TABLE, type Element } from "./elements.ts";

/** Lines for `nft -f` that add elements, one a map. */
export function addLines(family: TableFamily, elements: readonly Element[], now: number): string {
  return lines(`add element ${family}`, elements, (element) => addText(element, now));
}

/** The same that delete them. */
export function deleteLines(family: TableFamily, elements: readonly Element[]): string {
  return lines(`delete element ${family}`, elements, keyOnlyText);
}

function lines(verb: string, elements: readonly Element[], text: (element: Element) => string): string {
  const byMap = new Map<string, string[]>();
  for (const element of elements) {
    const texts = byMap.get(element.map);
    if (texts) texts.push(text(element));
    else byMap.set(element.map, [text(element)]);
  }
  return [...byMap].map(([map, texts]) => `${verb} ${TABLE} ${map} { ${texts.join(", ")} }\n`).join("");
}
