/** From the start of the process to its MQTT connect Record at the broker. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import { Record as UspRecord } from "../proto/generated/usp-record.ts";
import { Agent, CONTROLLER_TOPIC } from "../test/support/agent.ts";
import { startMosquitto } from "../test/support/mosquitto.ts";
import { now, print, quantile, spread } from "./support/table.ts";

const STARTS = 15;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spin-bench-"));
  const broker = await startMosquitto({ config: ["set_tcp_nodelay true"] });
  const client = await connectAsync({ host: "127.0.0.1", port: broker.port, protocol: "mqtt", protocolVersion: 5 });
  await client.subscribeAsync(CONTROLLER_TOPIC);
  try {
    const samples: number[] = [];
    const floor: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      const connected = new Promise<number>((resolve) => {
        const listen = (_topic: string, payload: Buffer) => {
          if (UspRecord.decode(payload).recordType?.$case !== "mqttConnect") return;
          client.off("message", listen);
          resolve(now());
        };
        client.on("message", listen);
      });
      const began = now();
      const at = { host: "127.0.0.1", port: broker.port };
      const agent = await Agent.start({
        folder,
        broker: at,
        enforce: "none",
        capture: { enable: "0" },
        logLevel: "warn",
      });
      samples.push((await agent.unlessItDies(connected)) - began);
      await agent.stop();
      const empty = now();
      execFileSync(process.execPath, ["-e", "0"]);
      floor.push(now() - empty);
    }
    print({
      figure: "start to connect Record",
      measured: spread(samples),
      target: "≤ 600 ms",
      met: quantile(samples, 0.5) <= 600,
      beside: `node -e 0: ${spread(floor)}`,
    });
  } finally {
    await client.endAsync(true);
    await broker.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

void main();
