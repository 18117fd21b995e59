/** Every Message over MQTT 3.1.1 through RabbitMQ, between the agent as it is run and its controller. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectController } from "../../src/controller/connect.ts";
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { answers } from "../gateway/support.ts";
import { Agent, AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC } from "../support/agent.ts";
import { describeUnless } from "../support/needs.ts";
import { GUEST, rabbitMissing, startRabbit, type Rabbit } from "../support/rabbitmq.ts";

describeUnless(rabbitMissing, "RabbitMQ:", () => {
  let rabbit: Rabbit;
  beforeAll(async () => {
    rabbit = await startRabbit({ files: { guest: `${GUEST.password}\n` } });
  }, 120_000);
  afterAll(() => rabbit?.stop(), 30_000);

  const connect = async () => {
    const { controller } = await connectController(
      {
        controllerId: CONTROLLER_ID,
        agentId: AGENT_ID,
        agentTopic: AGENT_TOPIC,
        controllerTopic: CONTROLLER_TOPIC,
        timeoutMs: 10_000,
        mqtt: { url: rabbit.mqttUrl, version: "3.1.1", publishQos: 1, ...GUEST },
      },
      new AbortController().signal,
    );
    return controller;
  };

  describe.each([0, 1])("the agent at QoS %d", (qos) => {
    let folder: string;
    let agent: Agent;
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "spin-usp-rabbit-"));
      agent = await Agent.start({
        folder,
        broker: { host: "127.0.0.1", port: rabbit.mqttPort },
        mqttVersion: "3.1.1",
        mqtt: { username: GUEST.username, password_file: join(rabbit.folder, "guest") },
        qos,
        role: "Admin",
        enforce: "none",
        capture: { enable: "0", helper: "none" },
        args: ["--bench-model", `${BENCH_ROWS}`],
      });
      const controller = await connect();
      await answers(controller, agent);
      await controller.close();
    }, 60_000);
    afterAll(async () => {
      if (agent?.running) await agent.stop();
      rmSync(folder, { recursive: true, force: true });
    }, 30_000);

    messageContract("MQTT 3.1.1 over RabbitMQ", () => ({ connect }));
  });
});
