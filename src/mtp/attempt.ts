/** One attempt to connect: it may take so long and no longer, and whoever asked for it may end it. */
import { MtpError } from "./error.ts";

const CONNECT_MS = 10_000;

/** What is being connected to, and how long all of it may take in milliseconds; default 10,000. */
export interface Attempt {
  readonly url: string;
  readonly connectTimeoutMs?: number | undefined;
}

/**
 * Runs `connect` with a signal that aborts, with an MtpError as its reason, when `signal` does or the time is over.
 * @throws what `connect` throws
 */
export async function attempting<T>(
  { url, connectTimeoutMs = CONNECT_MS }: Attempt,
  signal: AbortSignal,
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const attempt = new AbortController();
  const cancel = () => attempt.abort(new MtpError("aborted", "the attempt was ended"));
  const late = () => attempt.abort(new MtpError("unreachable", `${url}: not connected after ${connectTimeoutMs} ms`));
  const timer = setTimeout(late, connectTimeoutMs);
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    return await connect(attempt.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cancel);
  }
}
