/** The Link contract over STOMP 1.2, against RabbitMQ and ActiveMQ. */
import { connectStomp } from "../../src/mtp/stomp.ts";
import type { StompOptions } from "../../src/mtp/stomp-options.ts";
import { linkContract } from "../contracts/link.ts";
import { activeMqMissing, startActiveMq, USER, type ActiveMq } from "../support/activemq.ts";
import { describeUnless } from "../support/needs.ts";
import { GUEST, rabbitMissing, startRabbit, type Rabbit } from "../support/rabbitmq.ts";

const never = new AbortController().signal;

describeUnless(rabbitMissing, "RabbitMQ", () => {
  let rabbit: Rabbit;
  beforeAll(async () => {
    rabbit = await startRabbit();
  }, 120_000);
  afterAll(() => rabbit?.stop(), 30_000);
  describe.each(["/queue/", "/topic/"])("with destinations below %s", (prefix) => {
    linkContract("STOMP over RabbitMQ", () => ({
      connect: () => pair({ url: rabbit.url, ...GUEST, limits: { incomingRecords: 64 } }, prefix),
      cut: () => rabbit.kill(),
      restore: () => rabbit.start(),
    }));
  });
});

describeUnless(activeMqMissing, "ActiveMQ", () => {
  let broker: ActiveMq;
  beforeAll(async () => {
    broker = await startActiveMq();
  }, 90_000);
  afterAll(() => broker?.stop(), 30_000);
  describe.each(["/queue/", "/topic/"])("with destinations below %s", (prefix) => {
    linkContract("STOMP over ActiveMQ", () => ({
      connect: () => pair({ url: broker.url, ...USER, limits: { incomingRecords: 64 } }, prefix),
      cut: () => broker.kill(),
      restore: () => broker.start(),
    }));
  });

  test("is told credentials with colons and backslashes, and refuses wrong ones in words", async () => {
    const connect = (password: string) =>
      connectStomp({ url: broker.url, ...USER, password, endpointId: "self::a", destination: "/topic/a" }, never);
    await expect(connect("wrong")).rejects.toMatchObject({ kind: "credentials" });
    await (await connect(USER.password)).link.close();
  });
});

/** Two ends with destinations that no test before them used. */
async function pair(options: Omit<StompOptions, "endpointId" | "destination">, prefix: string) {
  const group = Math.random().toString(36).slice(2);
  const end = async (name: string) => {
    const address = `${prefix}usp.${group}.${name}`;
    const { link } = await connectStomp({ ...options, endpointId: `self::${name}`, destination: address }, never);
    return { link, address };
  };
  const [a, b] = await Promise.all([end("a"), end("b")]);
  return { a, b };
}
