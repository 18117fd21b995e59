/** What was blocked is counted once, whatever becomes of the agent meanwhile: the kernel counts on while it is away. */
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const PEER = "198.51.100.90";

describeUnless(sceneMissing(), "hits", () => {
  let s: Scene;
  let rules: string[];
  let sent = 0;
  beforeAll(async () => {
    s = await scene({ devices: 3, agent: { capture: { counter_interval: "1" } } });
    const [first, second] = [1, 2].map((number) => s.home.device(number).mac) as [string, string];
    rules = [
      await s.operator.addRule({ macs: [first] }),
      await s.operator.addRule({ macs: [second], destinations: [`${PEER}/32`] }),
      await s.operator.addRule({ action: "Count", destinations: ["198.51.100.88/29"] }),
    ];
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  async function send(count: number): Promise<void> {
    sent += count;
    for (const number of [1, 2]) await s.home.device(number).udp(PEER, { count, port: 11, waitMs: 1 });
  }

  async function counted(): Promise<number[]> {
    const devices = await Promise.all([1, 2].map((number) => s.operator.stats(s.home.device(number).mac)));
    const hits = await Promise.all(rules.map((rule) => s.operator.rule(rule)));
    return [...devices.map((stats) => stats.BlockedPackets), ...hits.map(({ hitPackets }) => hitPackets)];
  }

  /** What it says when it has caught up, and two readings of the kernel later. */
  async function expectExact(): Promise<void> {
    const exact = [sent, sent, sent, sent, 2 * sent];
    await eventually(counted, (all) => String(all) === String(exact), { timeoutMs: 6000, everyMs: 200 }).catch(
      () => undefined,
    );
    expect(await counted()).toEqual(exact);
    await new Promise((done) => setTimeout(done, 2200));
    expect(await counted()).toEqual(exact);
  }

  async function again(): Promise<void> {
    s.agent.restart();
    await s.operator.ready();
    await s.operator.running();
    for (const rule of rules) await s.operator.inForce(rule);
  }

  const ends: [string, () => Promise<unknown>][] = [
    ["is stopped", () => s.agent.stop()],
    ["is killed", () => s.agent.kill()],
    ["is killed before it was back for long", () => s.agent.kill()],
    ["is stopped after that", () => s.agent.stop()],
  ];
  for (const [name, end] of ends)
    it(`are exact when the agent ${name}, with what was sent while it was away`, async () => {
      await send(5);
      await expectExact();
      await end();
      await again();
      await expectExact();
      await end();
      await send(3);
      await again();
      await expectExact();
    }, 60_000);

  it("are exact when the agent is killed with packets that it did not read yet", async () => {
    await send(4);
    await s.agent.kill();
    await send(2);
    await again();
    await s.agent.kill();
    await again();
    await expectExact();
  }, 60_000);
});
