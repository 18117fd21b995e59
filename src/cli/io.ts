/** What a subcommand is given by main. */
export interface Io {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  /** Aborted by the first SIGINT or SIGTERM; the second, or 5 s, ends the process. */
  readonly signal: AbortSignal;
}
