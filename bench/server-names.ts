/** What reading servers' names costs: TLS hellos and QUIC Initials, one after the other, as the kernel hands them on. */
import { tcp, udp } from "../demo/packets.ts";
import { PacketView } from "../src/capture/decode/packet.ts";
import { LinkType } from "../src/capture/pcap-format.ts";
import { ServerNames } from "../src/capture/server-names.ts";
import { crypto, hello, initial, records } from "../test/support/hello.ts";
import { print, quantile } from "./support/table.ts";

const FLOWS = 1000;
const ROUNDS = 20;

/** As long as a browser's: with a post-quantum key share and ECH. */
const message = (i: number) => hello({ name: `www${i}.example`, share: 1300, ech: true });
const server = (i: number) => `198.51.${i >> 8}.${i & 255}`;

interface Kind {
  readonly what: string;
  readonly packets: (i: number) => Uint8Array[];
  readonly limit: number;
}

const KINDS: readonly Kind[] = [
  {
    what: "TLS hello of 1,700 bytes in two segments",
    packets: (i) => {
      const stream = records(message(i));
      const segment = (from: number, to: number) => {
        const ports = { sourcePort: 20_000 + i, destinationPort: 443 };
        const payload = stream.subarray(from, to);
        return tcp("192.0.2.10", server(i), { ...ports, flags: 16, sequence: 1 + from, payload });
      };
      return [segment(0, 1400), segment(1400, stream.length)];
    },
    limit: 30,
  },
  {
    what: "QUIC hello of 1,700 bytes in two Initial packets",
    packets: (i) => {
      const whole = message(i);
      const destinationId = Buffer.from(`id${i}`.padEnd(8));
      const packet = (number: number, from: number, to: number) => {
        const datagram = initial([crypto(whole, from, to)], { destinationId, number });
        return udp("192.0.2.10", server(i), 20_000 + i, 443, datagram);
      };
      return [packet(0, 0, 1000), packet(1, 1000, whole.length)];
    },
    limit: 150,
  },
];

function main(): void {
  for (const { what, packets, limit } of KINDS) {
    const flows = Array.from({ length: FLOWS }, (_, i) => packets(i));
    const costs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      let told = 0;
      const names = new ServerNames(() => told++);
      const view = new PacketView();
      const from = process.cpuUsage();
      for (const [i, flow] of flows.entries())
        for (const bytes of flow) {
          view.parse(bytes, 0, bytes.length, bytes.length, LinkType.Raw, 0);
          // Ten milliseconds a flow: as many packets in a second as may be opened.
          names.packet(view, 1, 10 * i);
        }
      const { user, system } = process.cpuUsage(from);
      if (told !== FLOWS) throw new Error(`${told} of ${FLOWS} names were told`);
      costs.push((user + system) / FLOWS);
    }
    const cost = quantile(costs, 0.5);
    print({
      figure: `name of a server: ${what}`,
      measured: `${cost.toFixed(1)} µs (median of ${ROUNDS} × ${FLOWS.toLocaleString("en")})`,
      target: `≤ ${limit} µs`,
      met: cost <= limit,
      beside: "",
    });
  }
}

main();
