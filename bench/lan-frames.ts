/** CPU of agent and helper for what devices tell the LAN: a thousand frames a second of a home's kind, and a flood of ARP. */
import { arp, dhcpFrame, mdnsFrame, type DnsRecord } from "../test/support/lan-frames.ts";
import { scene } from "../test/support/scene.ts";
import { cpuNs } from "./support/process.ts";
import { print } from "./support/table.ts";

const SECONDS = 10;
const PER_SECOND = 1000;
const FLOOD_PER_SECOND = 50_000;

async function main(): Promise<void> {
  const s = await scene({ devices: 2, agent: { logLevel: "warn" } });
  try {
    const device = s.home.device(1);
    await device.udp("198.51.100.10");
    await s.operator.device(device.mac);
    const share = async (work: () => Promise<void>): Promise<number> => {
      const [cpu, at] = [cpuNs(s.agent.pid), performance.now()];
      await work();
      return ((cpuNs(s.agent.pid) - cpu) / ((performance.now() - at) * 1e6)) * 100;
    };
    const idle = await share(() => new Promise((done) => setTimeout(done, SECONDS * 1000)));
    const chatter = chatterOf(device.mac, device.ipv4);
    const times = Math.ceil((SECONDS * PER_SECOND) / chatter.length);
    const busy = await share(() => device.sendFrames(chatter, { perSecond: PER_SECOND, times }));
    const question = [arp({ mac: device.mac, sender: device.ipv4, target: "192.168.77.99" })];
    const flood = await share(() =>
      device.sendFrames(question, { perSecond: FLOOD_PER_SECOND, times: FLOOD_PER_SECOND * SECONDS }),
    );
    print({
      figure: `CPU for ${PER_SECOND} frames/s of a home's chatter (70 % ARP, 25 % mDNS, 5 % DHCP)`,
      measured: `${(busy - idle).toFixed(2)} % of a core over ${idle.toFixed(2)} % idle`,
      target: "≤ 5 % of a core",
      met: busy - idle <= 5,
      beside: `${FLOOD_PER_SECOND} ARP/s: ${(flood - idle).toFixed(2)} %`,
    });
  } finally {
    await s.end();
  }
}

function chatterOf(mac: string, address: string): Buffer[] {
  const records: DnsRecord[] = [
    { name: "_hap._tcp.local", type: "PTR", data: "Lamp._hap._tcp.local" },
    { name: "Lamp._hap._tcp.local", type: "SRV", data: "lamp.local 8080" },
    {
      name: "Lamp._hap._tcp.local",
      type: "TXT",
      data: ["c#=2", "ff=0", "id=02:AA:00:00:00:11", "md=LAMP 1", "pv=1.1"],
    },
    { name: "lamp.local", type: "A", data: address },
    { name: "lamp.local", type: "AAAA", data: "fe80::aa:ff:fe00:1" },
  ];
  return Array.from({ length: 100 }, (_, i) => {
    if (i % 20 === 0)
      return dhcpFrame(mac, 3, [
        [12, "lamp"],
        [55, Uint8Array.of(1, 3, 6, 15)],
        [60, "udhcp"],
      ]);
    if (i % 4 === 1) return mdnsFrame(mac, address, records);
    return arp({ mac, sender: address, target: `192.168.77.${2 + (i % 8)}` });
  });
}

void main();
