/** aedes, the broker that the demo embeds, in a process of its own (it is an ES module, which jest's CommonJS cannot load). */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { freePort } from "./mosquitto.ts";

const PROGRAM = `
import { Aedes } from "aedes";
import { createServer } from "node:net";
const aedes = await Aedes.createBroker();
createServer(aedes.handle).listen(Number(process.argv[1]), "127.0.0.1", () => console.log("listening"));
`;

export interface AedesBroker {
  readonly port: number;
  readonly url: string;
  start(): Promise<void>;
  kill(): Promise<void>;
}

export async function startAedes(): Promise<AedesBroker> {
  const port = await freePort();
  let child: ChildProcess | undefined;
  const broker: AedesBroker = {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    async start() {
      const started = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM, String(port)], {
        cwd: `${__dirname}/../..`,
        stdio: ["ignore", "pipe", "inherit"],
      });
      child = started;
      await Promise.race([
        once(started.stdout, "data"),
        once(started, "exit").then(([code]) => Promise.reject(new Error(`aedes exited with ${String(code)}`))),
      ]);
    },
    async kill() {
      const ending = child;
      child = undefined;
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
      ending.kill("SIGKILL");
      await once(ending, "exit");
    },
  };
  await broker.start();
  return broker;
}
