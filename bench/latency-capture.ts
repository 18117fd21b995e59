/** From the first frame of a new MAC address to its Device row, and from a connection to its row in Query(Flows). */
import { pause } from "../test/support/eventually.ts";
import { forgedMac, internetAddress } from "../test/support/home-device.ts";
import { type Scene, scene } from "../test/support/scene.ts";
import { now, print, quantile, spread } from "./support/table.ts";

const DEVICES = 60;
const CONNECTIONS = 200;

async function main(): Promise<void> {
  const s = await scene({ devices: 1 });
  try {
    await s.home.device(1).udp("198.51.100.10");
    await s.operator.device(s.home.device(1).mac);
    const floor = await roundTrip(s);
    const rows = await newDevices(s);
    print({
      figure: "new MAC address to Device row (ObjectCreation at the controller)",
      measured: spread(rows),
      target: "≤ 250 ms p99",
      met: quantile(rows, 0.99) <= 250,
      beside: `a Get's round trip: ${spread(floor)}`,
    });
    const flows = await newConnections(s);
    print({
      figure: "connection to Query(Flows)",
      measured: spread(flows),
      target: "≤ 60 ms p99",
      met: quantile(flows, 0.99) <= 60,
      beside: `a Get's round trip: ${spread(floor)}`,
    });
  } finally {
    await s.end();
  }
}

async function newDevices(s: Scene): Promise<number[]> {
  const { connection } = s.operator;
  await connection.add("Device.LocalAgent.Subscription.", {
    Enable: "true",
    ID: "devices",
    NotifType: "ObjectCreation",
    ReferenceList: "Device.X_SPIN.Device.",
  });
  const samples: number[] = [];
  for (let i = 0; i < DEVICES; i++) {
    const seen = connection.notifications.length;
    // The tool starts, sends one frame and ends: its start is in the figure, some milliseconds of it.
    const at = now();
    await s.home.device(1).forgeMacs(1, 1000, 9000 + i);
    for (const end = at + 3000; now() < end && connection.notifications.length === seen;) await pause(2);
    const notice = connection.notifications[seen];
    if (!notice) throw new Error(`no row for ${forgedMac(9000 + i)} in 3 s`);
    samples.push(notice.at - at);
    await pause(20 + Math.random() * 60);
  }
  return samples;
}

async function newConnections(s: Scene): Promise<number[]> {
  const device = s.home.device(1);
  const samples: number[] = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const address = internetAddress(5000 + i);
    const sending = device.udp(address, { count: 1, port: 11, waitMs: 0 });
    let found = false;
    let at = 0;
    while (!found) {
      found =
        (await s.operator.query("Flows", { PhysAddress: device.mac, Destination: address, Limit: "5" })).length > 0;
      at = now();
    }
    samples.push(at - (await sending).first);
    await pause(Math.random() * 40);
  }
  return samples;
}

async function roundTrip(s: Scene): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < 200; i++) {
    const at = now();
    await s.operator.get("Device.X_SPIN.Status");
    samples.push(now() - at);
  }
  return samples;
}

void main();
