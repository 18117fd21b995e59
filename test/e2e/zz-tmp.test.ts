/** Domain rules follow DNS: hits survive refreshes, and what slips through before the first block is counted. */
import { describeUnless } from "../support/needs.ts";
import { pause } from "../support/eventually.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import { GATEWAY } from "../support/home-device.ts";
import { FRESH_NAMES } from "../support/home-network.ts";

describeUnless(sceneMissing(), "blocking by name", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 2, ttl: 60, agent: { capture: { counter_interval: "1" } } });
  }, 60_000);
  afterAll(async () => {
    console.log(s.agent.log.slice(-1500)); await s?.end();
  });

  test("hits are right across refreshes of a name with a TTL of 2 s, and end with the answer's TTL", async () => {
    const device = s.home.device(1);
    const rule = await s.operator.addRule({ destinations: ["short.example"] });
    let sent = 0;
    const arrivedBefore = (await s.home.arrived("198.51.100.12", "udp")).packets;
    for (let round = 0; round < 4; round++) {
      expect(await device.resolve("short.example")).toBe("198.51.100.12");
      await pause(100);
      for (let burst = 0; burst < 3; burst++) {
        sent += (await device.udp("198.51.100.12", { count: 25, waitMs: 1 })).sent;
        await pause(400);
      }
    }
    await pause(1500);
    const { hitPackets, hitBytes } = await s.operator.rule(rule);
    const passed = (await s.home.arrived("198.51.100.12", "udp")).packets - arrivedBefore;
    expect(passed).toBe(0);
    expect(hitPackets).toBe(sent);
    expect(hitBytes).toBe(sent * 92);
    await s.operator.removeRule(rule);
    expect((await device.udp("198.51.100.12", { count: 5 })).received).toBe(5);
  }, 60_000);

  test.each(["A", "AAAA", "A", "AAAA","A", "AAAA","A", "AAAA","A", "AAAA","A", "AAAA"] as const)(
    `of ${FRESH_NAMES} fresh names (%s) under a blocked domain no packet passes, or Status says best effort`,
    async (type) => {
      const rule = await s.operator.addRule({ destinations: ["fresh.example"] });
      try {
        const result = await s.home.device(2).raceNames("n%d.fresh.example", FRESH_NAMES, type);
        const { status, reason } = await s.operator.rule(rule);
        const says = `${status}${reason ? `: ${reason}` : ""}`;
        console.log(
          `${FRESH_NAMES} fresh names (${type}): ${result.returned} of ${result.sent} first packets passed (${says})`,
        );
        expect(result.resolved).toBe(FRESH_NAMES);
        if (!/best effort/i.test(reason)) expect(result.returned).toBe(0);
      } finally {
        await s.operator.removeRule(rule);
      }
    },
    60_000,
  );

  test("a private, gateway or management address in an answer is never blocked for it", async () => {
    const device = s.home.device(1);
    const rule = await s.operator.addRule({ destinations: ["rebind.example"] });
    expect(await device.resolve("rebind.example")).toBe(GATEWAY[4]);
    expect(await device.ping(GATEWAY[4], { count: 2 })).toBe(2);
    expect(await device.resolve("www.example")).toBe("198.51.100.10");
    await s.operator.removeRule(rule);
  });
});
