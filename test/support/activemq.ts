/** A real ActiveMQ of this test's own, with STOMP on a free port and nothing kept; ended by pid. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./mosquitto.ts";
import { start } from "./namespace.ts";
import { missing } from "./needs.ts";

const HOME = "/usr/share/activemq";
const JAR = `${HOME}/bin/activemq.jar`;

/** Why there is none, in words. */
export const activeMqMissing = missing("setpriv", "java") ?? (existsSync(JAR) ? undefined : "needs Debian's activemq");

export interface ActiveMq {
  readonly port: number;
  readonly url: string;
  /** Ends the process as a crash would (kill -9); the port stays reserved for `start`. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Its only user. */
export const USER = { username: "home:1", password: "a\\b:c" } as const;

export async function startActiveMq(): Promise<ActiveMq> {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-activemq-"));
  const port = await freePort();
  writeFileSync(join(folder, "activemq.xml"), configuration(folder, port));
  let child: ChildProcess | undefined;
  const end = async () => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill("SIGKILL");
    await once(ending, "exit");
  };
  const broker: ActiveMq = {
    port,
    url: `stomp://127.0.0.1:${port}`,
    kill: end,
    async start() {
      const folders = ["home", "base", "conf"].map((name) => `-Dactivemq.${name}=${name === "home" ? HOME : folder}`);
      const args = ["-Xmx256m", "-XX:+UseSerialGC", ...folders, "-jar", JAR, "start"];
      // Dies with this process: one that is killed ends nothing.
      child = start(undefined, "java", [...args, `xbean:file:${join(folder, "activemq.xml")}`], { cwd: folder });
      let said = "";
      for (const stream of [child.stdout, child.stderr])
        stream?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4096)));
      await listening(port, child, () => said);
    },
    async stop() {
      await end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}

function configuration(folder: string, port: number): string {
  const schema = "http://activemq.apache.org/schema/core";
  const beans = "http://www.springframework.org/schema/beans";
  return `<beans xmlns="${beans}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="${beans} ${beans}/spring-beans.xsd ${schema} ${schema}/activemq-core.xsd">
  <broker xmlns="${schema}" brokerName="t${port}" dataDirectory="${folder}/data" persistent="false" useJmx="false" schedulerSupport="false">
    <plugins>
      <simpleAuthenticationPlugin>
        <users><authenticationUser username="${USER.username}" password="${USER.password}" groups="users"/></users>
      </simpleAuthenticationPlugin>
    </plugins>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:${port}"/>
    </transportConnectors>
  </broker>
</beans>
`;
}

const START_MS = 60_000;

async function listening(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const until = Date.now() + START_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`ActiveMQ exited with ${child.exitCode ?? child.signalCode}: ${said()}`);
    const socket = connect(port, "127.0.0.1");
    const answer = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`ActiveMQ does not listen on ${port} after ${START_MS} ms: ${said()}`);
}
