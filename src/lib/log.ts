/**
 * The log: one line a message on stderr, `<priority>module: text`, which journald and procd's logd understand
 * (sd-daemon(3)). On a terminal the prefix is a word instead. Control characters are escaped, so that no name a device
 * chose can forge a line.
 */
export type Level = "error" | "warn" | "info" | "debug";

const PRIORITY: Record<Level, number> = { error: 3, warn: 4, info: 6, debug: 7 };
const RANK: Record<Level, number> = { error: 0, warn: 1, info: 2, debug: 3 };

export interface Log {
  error(text: string, cause?: unknown): void;
  warn(text: string, cause?: unknown): void;
  info(text: string): void;
  debug(text: string): void;
  /** The same log under another module's name. */
  child(module: string): Log;
}

export interface LogOptions {
  readonly level: Level;
  readonly write?: (line: string) => void;
  readonly terminal?: boolean;
}

export function createLog(module: string, options: LogOptions): Log {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const terminal = options.terminal ?? process.stderr.isTTY === true;
  const emit = (level: Level, text: string, cause?: unknown) => {
    if (RANK[level] > RANK[options.level]) return;
    const prefix = terminal ? `${level.padEnd(5)} ` : `<${PRIORITY[level]}>`;
    write(`${prefix}${module}: ${escapeControls(cause === undefined ? text : `${text}: ${describe(cause)}`)}\n`);
  };
  return {
    error: (text, cause) => emit("error", text, cause),
    warn: (text, cause) => emit("warn", text, cause),
    info: (text) => emit("info", text),
    debug: (text) => emit("debug", text),
    child: (name) => createLog(name, options),
  };
}

/** A log that says nothing: for tests and libraries. */
export const silentLog: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLog,
};

/** An error in words for an operator: its message, or its stack if it is our own bug (no `code`, not an Error we made). */
export function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const isOurBug = cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError;
  return isOurBug ? (cause.stack ?? cause.message) : cause.message;
}

function escapeControls(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) =>
    c === "\n" ? " | " : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
