/**
 * From a Set that enables a block, and from an Add of one, with 1,000 rules present, to the last packet of six streams of
 * the device.
 */
import { pause } from "../test/support/eventually.ts";
import { Home } from "../test/support/home.ts";
import type { HomeDevice } from "../test/support/home-device.ts";
import { type Scene, scene } from "../test/support/scene.ts";
import type { Stream } from "../test/support/traffic.ts";
import { now, print, quantile, spread } from "./support/table.ts";

const RULES = 1000;
const TARGETS = { helper: [10, 25], nft: [50, 100] } as const;
const SAMPLES = { helper: 40, nft: 25 } as const;

async function main(): Promise<void> {
  const floor = await nftAlone();
  for (const backend of ["helper", "nft"] as const) {
    const s = await scene({ devices: 2, agent: { enforce: backend, logLevel: "warn" } });
    try {
      await manyRules(s);
      for (const how of ["Set", "Add"] as const) {
        const samples = await blocks(s, SAMPLES[backend], how);
        const [p50, p99] = TARGETS[backend];
        print({
          figure: `${how} of a block to last packet, ${RULES} rules present, ${backend === "helper" ? "with the helper" : "spawned nft"}`,
          measured: spread(samples),
          target: `p50 ≤ ${p50} ms, p99 ≤ ${p99} ms`,
          met: quantile(samples, 0.5) <= p50 && quantile(samples, 0.99) <= p99,
          beside: `nft add element by hand, empty sets: ${spread(floor)}`,
        });
      }
    } finally {
      await s.end();
    }
  }
}

async function manyRules(s: Scene): Promise<void> {
  const add = (i: number) =>
    s.operator.addRuleOnly({
      macs: ["*"],
      destinations: [`198.19.${i >> 8}.${i & 255}`, `2001:db8:200:${i.toString(16)}::/64`],
    });
  for (let i = 0; i < RULES - 1; i += 20)
    await Promise.all(Array.from({ length: Math.min(20, RULES - 1 - i) }, (_, k) => add(i + k)));
}

async function blocks(s: Scene, count: number, how: "Set" | "Add"): Promise<number[]> {
  const device = s.home.device(1);
  let rule = await s.operator.addRule({ macs: [device.mac] });
  const streams = open(device);
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    if (how === "Set") await s.operator.connection.set(rule, { Enable: "false" });
    else await s.operator.removeRule(rule);
    await restart(streams, device);
    await pause(100 + Math.random() * 50);
    const at = now();
    if (how === "Set") await s.operator.connection.set(rule, { Enable: "true" });
    else rule = await s.operator.addRuleOnly({ macs: [device.mac] });
    await pause(400);
    // A packet that was on its way when the command was sent may come before it: nothing then passed after.
    samples.push(Math.max(0, Math.max(...streams.map((stream) => stream.last)) - at));
  }
  await Promise.all(streams.map((stream) => stream.stop()));
  await s.operator.removeRule(rule);
  return samples;
}

function open(device: HomeDevice): Stream[] {
  return (["tcp", "udp", "push"] as const).flatMap((kind) => [
    device.stream(kind, "198.51.100.90", { everyMs: 1, seconds: 600 }),
    device.stream(kind, "2001:db8:100::90", { everyMs: 1, seconds: 600 }),
  ]);
}

/** TCP backs off while it is blocked, so a stream that does not come back soon is begun anew. */
async function restart(streams: Stream[], device: HomeDevice): Promise<void> {
  for (const [at, stream] of streams.entries()) {
    if (
      await stream.flowing(stream.kind === "tcp" ? 300 : 1500).then(
        () => true,
        () => false,
      )
    )
      continue;
    await stream.stop();
    streams[at] = device.stream(stream.kind, stream.address, { everyMs: 1, seconds: 600 });
    await streams[at].flowing();
  }
}

/** The floor: a drop rule on an empty set, and `nft add element` started by hand. */
async function nftAlone(): Promise<number[]> {
  const home = await Home.up({ devices: 1 });
  try {
    await home.nft(`table inet floor {
      set macs { type ether_addr
      }
      set v4 { type ipv4_addr
      }
      set v6 { type ipv6_addr
      }
      chain forward { type filter hook forward priority -10; policy accept;
        ether saddr @macs drop
        ip daddr @v4 drop
        ip6 daddr @v6 drop
      }
    }`);
    const device = home.device(1);
    const elements = (verb: string) =>
      home.nft(`${verb} element inet floor macs { ${device.mac} }
        ${verb} element inet floor v4 { ${device.ipv4} }
        ${verb} element inet floor v6 { ${device.ipv6} }`);
    const streams = open(device);
    const samples: number[] = [];
    for (let i = 0; i < 15; i++) {
      await restart(streams, device);
      await pause(100);
      const at = now();
      await elements("add");
      await pause(300);
      samples.push(Math.max(0, Math.max(...streams.map((stream) => stream.last)) - at));
      await elements("delete");
    }
    await Promise.all(streams.map((stream) => stream.stop()));
    return samples;
  } finally {
    await home.down();
  }
}

void main();
