/**
 * Live captures as this gateway has them: frames from the helper, targets guarded as those of reports are. A file of its
 * own, read by the first capture.
 */
import { readFileSync } from "node:fs";
import { helperTap } from "../capture/live/frame-tap.ts";
import { LiveCaptures } from "../capture/live/live-capture.ts";
import { removeLeftovers } from "../capture/live/kept-files.ts";
import type { Log } from "../lib/log.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { forbiddenBut, guardedLookup, refuseLiteral } from "../usp/bulk-data/forbidden.ts";

export interface LiveCaptureParts {
  readonly helper: NetfilterHelper | undefined;
  readonly interfaces: () => ReadonlySet<string>;
  /** Where captures without a target are kept. */
  readonly folder: string;
  /** Trusted authorities in PEM; empty: Node's. */
  readonly caFile: string;
  readonly log: Log;
}

export { removeLeftovers };

export function makeLiveCaptures({ helper, interfaces, folder, caFile, log }: LiveCaptureParts): LiveCaptures {
  const forbidden = forbiddenBut([]);
  const remedy = "a capture goes there only for the resident";
  return new LiveCaptures({
    tap: helperTap(helper),
    interfaces,
    folder,
    guard: {
      check: (host) => refuseLiteral(host, forbidden, remedy),
      lookup: guardedLookup(forbidden, remedy),
    },
    ca: () => (caFile === "" ? undefined : readFileSync(caFile)),
    log,
  });
}
