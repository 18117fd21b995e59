/** Every Message over STOMP through ActiveMQ, between the agent as it is run and its controller. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectByStomp } from "../../src/controller/connect-stomp.ts";
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { answers } from "../gateway/support.ts";
import { activeMqMissing, startActiveMq, USER, type ActiveMq } from "../support/activemq.ts";
import { Agent, AGENT_ID, CONTROLLER_ID } from "../support/agent.ts";
import { describeUnless } from "../support/needs.ts";

describeUnless(activeMqMissing, "the agent behind ActiveMQ", () => {
  let broker: ActiveMq;
  let folder: string;
  let agent: Agent;
  beforeAll(async () => {
    broker = await startActiveMq();
    folder = mkdtempSync(join(tmpdir(), "spin-usp-activemq-agent-"));
    const password_file = join(folder, "password");
    writeFileSync(password_file, `${USER.password}\n`, { mode: 0o600 });
    const options = { host: "127.0.0.1", port: String(broker.port), tls: "0", username: USER.username, password_file };
    agent = await Agent.start({
      folder,
      enforce: "none",
      role: "Admin",
      controller: { stomp: "broker" },
      capture: { enable: "0", helper: "none" },
      args: ["--bench-model", `${BENCH_ROWS}`],
      sections: [{ type: "stomp", name: "broker", options }],
    });
    const controller = await connect();
    await answers(controller, agent);
    await controller.close();
  }, 120_000);
  afterAll(async () => {
    if (agent?.running) await agent.stop();
    rmSync(folder, { recursive: true, force: true });
    await broker?.stop();
  }, 30_000);

  const connect = async () => {
    const stomp = { url: broker.url, ...USER };
    const ids = { controllerId: CONTROLLER_ID, agentId: AGENT_ID, timeoutMs: 10_000 };
    return (await connectByStomp({ ...ids, stomp }, new AbortController().signal)).controller;
  };

  messageContract("STOMP over ActiveMQ", () => ({ connect }));
});
