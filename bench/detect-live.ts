/**
 * Detectors in the test home: time from the first packet of an attack to its incident in the model, and recall. As many
 * devices as there are runs do it at once, on two cores that also carry the home, its Internet and the broker.
 */
import { pause } from "../test/support/eventually.ts";
import { expose, introduce, LIVE_ATTACKS, LIVE_PEAK, type LiveAttack, silence } from "../test/support/live-attacks.ts";
import { scene, type Scene } from "../test/support/scene.ts";
import { print, quantile } from "./support/table.ts";

const RUNS = 10;
const PATIENCE_S = 40;
const LEARNING_S = 60;

async function main(): Promise<void> {
  const s = await scene({ devices: RUNS, agent: { logLevel: "warn" } });
  try {
    await silence(s.home);
    await s.operator.connection.set("Device.X_SPIN.Detection.TrafficPeak.", { Learning: String(LEARNING_S) });
    await introduce(s);
    await pause((LEARNING_S + 15) * 1000);
    // Before the floods, which would be what the devices are used to.
    for (const attack of [LIVE_PEAK, ...LIVE_ATTACKS]) await figure(s, attack);
  } finally {
    await s.end();
  }
}

async function figure(s: Scene, attack: LiveAttack): Promise<void> {
  // The types' incidents stay open for a quarter of an hour; a flood's second kind would be the first's.
  if (attack.type === "Flood") await closeAll(s);
  const { seconds, runs } = await expose(s, attack, s.home.devices, undefined, PATIENCE_S);
  const median = quantile(seconds, 0.5);
  print({
    figure: `${attack.type}: ${attack.name}, onset to incident`,
    measured: `${median.toFixed(1)} s median, ${Math.max(...seconds).toFixed(1)} s at most; recall ${seconds.length}/${runs}`,
    target: `≤ ${attack.target} s, ${runs}/${runs}`,
    met: median <= attack.target && seconds.length === runs,
    beside: attack.source,
  });
}

async function closeAll(s: Scene): Promise<void> {
  await s.operator.connection
    .set('Device.X_SPIN.Incident.[State!="Closed"].', { State: "Closed" })
    .catch(() => undefined);
}

void main();
