import type { NetfilterHelper } from "../netlink/helper.ts";

/** Why the helper cannot be used, in words; `undefined` if it can. Settles at its first start, or at the signal. */
export async function whyUnusable(
  helper: NetfilterHelper | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (!helper) return "there is no helper";
  if (signal.aborted) return "stopped";
  let stop: () => void = () => undefined;
  const aborted = new Promise<string>((resolve) => {
    stop = () => resolve("stopped");
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([helper.usable(), aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
