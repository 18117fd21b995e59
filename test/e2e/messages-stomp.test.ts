/** Every Message over STOMP, between the agent as it is run and its controller, through RabbitMQ. */
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { answers } from "../gateway/support.ts";
import { describeUnless } from "../support/needs.ts";
import { rabbitMissing } from "../support/rabbitmq.ts";
import { StompBed } from "../support/stomp-bed.ts";

describeUnless(rabbitMissing, "the agent behind RabbitMQ", () => {
  let bed: StompBed;
  beforeAll(async () => {
    bed = await StompBed.up();
    const agent = await bed.agent({ args: ["--bench-model", `${BENCH_ROWS}`] });
    const controller = await bed.controller();
    await answers(controller, agent);
    await controller.close();
  }, 150_000);
  afterAll(() => bed?.down(), 30_000);

  messageContract("STOMP over RabbitMQ", () => ({ connect: () => bed.controller() }));
});
