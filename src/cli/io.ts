import type { Writable } from "node:stream";

/** What a subcommand is given by main. */
export interface Io {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Aborted by the first SIGINT or SIGTERM; the second, or 5 s, ends the process. */
  readonly signal: AbortSignal;
}
