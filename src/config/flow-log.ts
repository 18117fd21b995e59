/** Options of the flow log. */
import { file, number, type ValuesOf } from "./option.ts";

export const flowLogOptions = {
  directory: file(
    "Where it lies; empty: `flow-log` in the state directory. On a memory file system it wears no flash.",
  ),
  size: number(
    "Kilobytes that it may have, 0: none is kept. Past them the device with most in it loses its oldest. 4 MB hold a week of 30 devices, on the smallest flash that gateways have to spare.",
    4096,
    0,
    1_048_576,
  ),
  days: number("How long what has been is kept, where there is room.", 7, 1, 365),
} as const;

export type FlowLogConfig = ValuesOf<typeof flowLogOptions>;
