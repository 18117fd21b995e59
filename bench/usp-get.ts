/**
 * A Get of one parameter over mosquitto, 1 and 32 in flight: what it costs and how long it takes, beside the echo endpoint
 * and OB-USP-A, taking turns.
 */
import { type Load } from "./support/load.ts";
import { ms, print, quantile } from "./support/table.ts";
import { pair, type Pair } from "./support/usp-pair.ts";
import { median, rounds } from "./support/rounds.ts";

const PATH = "Device.DeviceInfo.SoftwareVersion";
const ROUNDS = 5;
const ROUND_MS = 1500;

async function main(): Promise<void> {
  const sides = await pair(1, 1);
  try {
    for (const inFlight of [1, 32]) await get(sides, inFlight);
  } finally {
    await sides.end();
  }
}

async function get(sides: Pair, inFlight: number): Promise<void> {
  const { agent, floor, peer } = await rounds(sides, PATH, { inFlight, count: ROUNDS, milliseconds: ROUND_MS });
  const beside = `echo endpoint ${describe(floor)}; ${sides.peerName}${peer.length > 0 ? ` ${describe(peer)}` : ""}`;
  const cost = cpu(agent) / cpu(floor);
  print({
    figure: `Get of one parameter over mosquitto, ${inFlight} in flight: CPU per request`,
    measured: `${cost.toFixed(2)} × the floor; ${describe(agent)}`,
    target: "≤ 1.3 × the echo endpoint's",
    met: cost <= 1.3,
    beside,
  });
  if (inFlight === 1) {
    const ratio = p50(agent) / p50(floor);
    print({
      figure: "the same: time to the answer",
      measured: `${ratio.toFixed(2)} × the floor; ${ms(p50(agent))}`,
      target: "≤ 1.25 × the echo endpoint's",
      met: ratio <= 1.25,
      beside: `echo endpoint ${ms(p50(floor))}; ${peer.length > 0 ? `OB-USP-A ${ms(p50(peer))}` : sides.peerName}`,
    });
  } else if (peer.length > 0)
    print({
      figure: "the same: requests a second",
      measured: `${rate(agent).toFixed(0)}/s`,
      target: "≥ OB-USP-A's",
      met: rate(agent) >= rate(peer),
      beside: `${sides.peerName} ${rate(peer).toFixed(0)}/s; echo endpoint ${rate(floor).toFixed(0)}/s`,
    });
}

const cpu = (loads: readonly Load[]) => median(loads.map(({ cpuUsPerRequest }) => cpuUsPerRequest));
const rate = (loads: readonly Load[]) => median(loads.map(({ requestsPerSecond }) => requestsPerSecond));
const p50 = (loads: readonly Load[]) => median(loads.map(({ latencies }) => quantile(latencies, 0.5)));

function describe(loads: readonly Load[]): string {
  return `${cpu(loads).toFixed(0)} µs of CPU, ${rate(loads).toFixed(0)}/s, p50 ${ms(p50(loads))}`;
}

void main();
