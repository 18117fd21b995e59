/** From a Set that changes a value to the ValueChange notification at another controller's end of the broker. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "../test/support/agent.ts";
import { pause } from "../test/support/eventually.ts";
import { startMosquitto } from "../test/support/mosquitto.ts";
import { Operator } from "../test/support/operator.ts";
import { now, print, quantile, spread } from "./support/table.ts";

const SAMPLES = 200;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spin-bench-"));
  const broker = await startMosquitto({ config: ["set_tcp_nodelay true"] });
  const at = { host: "127.0.0.1", port: broker.port };
  const agent = await Agent.start({
    folder,
    broker: at,
    enforce: "none",
    capture: { enable: "0" },
    args: ["--bench-model", "1"],
    role: "Admin",
  });
  const operator = await Operator.connect(agent, at);
  try {
    const { connection } = operator;
    await connection.add("Device.LocalAgent.Subscription.", {
      Enable: "true",
      ID: "mem",
      NotifType: "ValueChange",
      ReferenceList: "Device.X_BENCH.Mem",
    });
    const samples: number[] = [];
    const answers: number[] = [];
    for (let i = 0; i < SAMPLES; i++) {
      const seen = connection.notifications.length;
      const began = now();
      await connection.set("Device.X_BENCH.", { Mem: String(i) });
      answers.push(now() - began);
      while (connection.notifications.length === seen && now() < began + 2000) await pause(1);
      samples.push((connection.notifications[seen]?.at ?? began + 2000) - began);
    }
    print({
      figure: "value change to notification (Set sent to Notify received)",
      measured: spread(samples),
      target: "≤ 50 ms",
      met: quantile(samples, 0.99) <= 50,
      beside: `the Set's own answer: ${spread(answers)}`,
    });
  } finally {
    await operator.close();
    await agent.kill();
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

void main();
