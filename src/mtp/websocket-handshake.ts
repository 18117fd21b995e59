/** What the two ends of a USP WebSocket say in its HTTP handshake besides RFC 6455: who they are (R-WS.9 to R-WS.12a). */
import { isEndpointId } from "../lib/endpoint-id.ts";

/** R-WS.9 */
export const SUBPROTOCOL = "v1.usp";
/** Deprecated by `?eid=`, and still what older endpoints go by (R-WS.11). */
const EXTENSION = "bbf-usp-protocol";

export const extensionOf = (endpointId: string): string => `${EXTENSION}; eid="${endpointId}"`;

/** R-WS.10b; an id's own `%` becomes `%25` (R-WS.10c). */
export function withEndpointId(path: string, endpointId: string): string {
  const eid = encodeURIComponent(endpointId).replaceAll("%3A", ":");
  return `${path}${path.includes("?") ? "&" : "?"}eid=${eid}`;
}

/** The id in the target of a request; `undefined` where there is none, null where it is no endpoint id. */
export function endpointIdIn(query: string): string | null | undefined {
  const raw = /(?:^|&)eid=([^&]*)/.exec(query)?.[1];
  if (raw === undefined) return undefined;
  const decoded = new URLSearchParams(query).get("eid") ?? "";
  // An id with a percent sign that was put there as it is.
  return [decoded, raw].find(isEndpointId) ?? null;
}

interface Extensions {
  readonly isOffered: boolean;
  readonly eid: string | undefined;
  /** The header without it; empty if nothing else was in there. */
  readonly rest: string;
}

/** Reads a Sec-WebSocket-Extensions header. */
export function readExtensions(header: string | undefined): Extensions {
  const items = header?.match(/(?:[^",]|"[^"]*")+/g) ?? [];
  const [ours, others] = [items.filter(isOurs), items.filter((item) => !isOurs(item))];
  const params = ours[0]?.match(/(?:[^";]|"[^"]*")+/g)?.slice(1) ?? [];
  const eid = params.map((param) => /^\s*eid\s*=\s*"?([^"\s]*)"?\s*$/i.exec(param)?.[1]).find(Boolean);
  return { isOffered: ours.length > 0, eid, rest: others.join(",").trim() };
}

const isOurs = (item: string) => item.split(";", 1)[0]?.trim().toLowerCase() === EXTENSION;
