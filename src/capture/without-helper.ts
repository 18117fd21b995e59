/** Ways to the kernel for want of the helper, by programs and files: read when they are used. */
export { procfsBackend } from "./conntrack-procfs.ts";
export { toolsBackend } from "./conntrack-tools.ts";
export { arpFileBackend, ipBackend } from "./neighbours-text.ts";
