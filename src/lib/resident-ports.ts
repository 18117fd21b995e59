/** TCP ports of the gateway that no rule closes to a device, so that its resident can reach it: SSH and the web pages. */
export const RESIDENT_PORTS: readonly number[] = [22, 80, 443];
