/** Addresses of the simulated Internet. */

/** So many of them are content networks'. */
export const CDN_HOSTS = 4000;

/** An address of the Internet, always the same for a number. */
export function place(n: number): string {
  return `198.${18 + ((n >> 16) & 1)}.${(n >> 8) & 255}.${n & 255}`;
}

export const place6 = (n: number) => `2001:db8:100::${(n & 0xffff).toString(16)}`;
