/** MQTT 3.1.1 against RabbitMQ's plugin: the Link contract. */
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import { linkContract } from "../contracts/link.ts";
import { describeUnless } from "../support/needs.ts";
import { GUEST, rabbitMissing, startRabbit, type Rabbit } from "../support/rabbitmq.ts";

const never = new AbortController().signal;

describeUnless(rabbitMissing, "RabbitMQ", () => {
  let rabbit: Rabbit;
  beforeAll(async () => {
    rabbit = await startRabbit();
  }, 120_000);
  afterAll(() => rabbit?.stop(), 30_000);

  describe.each([0, 1] as const)("at QoS %d", (qos) => {
    linkContract("MQTT 3.1.1 over RabbitMQ", () => ({
      connect: () => pair(qos),
      cut: () => rabbit.kill(),
      restore: () => rabbit.start(),
    }));
  });

  async function pair(publishQos: 0 | 1) {
    const group = Math.random().toString(36).slice(2);
    const end = async (name: string) => {
      const address = `usp/${group}/${name}`;
      const { link } = await connectMqtt(
        {
          url: rabbit.mqttUrl,
          version: "3.1.1",
          ...GUEST,
          endpointId: `self::${group}-${name}`,
          responseTopic: address,
          publishQos,
          limits: { incomingRecords: 64 },
        },
        never,
      );
      return { link, address };
    };
    const [a, b] = await Promise.all([end("a"), end("b")]);
    return { a, b };
  }
});
