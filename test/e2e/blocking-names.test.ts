/** Domain rules follow DNS: hits survive refreshes, and what slips through before the first block is counted. */
import { existsSync, readFileSync } from "node:fs";
import { describeUnless } from "../support/needs.ts";
import { eventually, pause } from "../support/eventually.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import { GATEWAY } from "../support/home-device.ts";
import { FRESH_NAMES } from "../support/home-network.ts";

describeUnless(sceneMissing(), "blocking by name", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 2, ttl: 60, agent: { capture: { counter_interval: "1" } } });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
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

  test.each(["A", "AAAA"] as const)(
    `of ${FRESH_NAMES} fresh names (%s) under a blocked domain no packet passes, or Status says best effort`,
    async (type) => {
      const rule = await s.operator.addRule({ destinations: ["fresh.example"] });
      try {
        const result = await s.home.device(2).raceNames("n%d.fresh.example", FRESH_NAMES, type);
        if (result.returned > 0) await pause(2000);
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

  /** Prints how long answers take; they come out of the gateway's cache. */
  async function timeAnswers(what: string): Promise<void> {
    const { p50Us, p99Us, resolved } = await s.home.device(2).raceNames("n%d.fresh.example", FRESH_NAMES);
    console.log(`an answer ${what} takes ${p50Us} µs (median), ${p99Us} µs (99th percentile)`);
    expect(resolved).toBe(FRESH_NAMES);
  }

  test("how long answers take: without rules on domains, beside one, under one", async () => {
    await s.home.device(2).raceNames("n%d.fresh.example", FRESH_NAMES);
    await timeAnswers("without rules on domains");
    const beside = await s.operator.addRule({ destinations: ["another.example"] });
    await timeAnswers("beside a rule on another domain");
    await s.operator.removeRule(beside);
    const under = await s.operator.addRule({ destinations: ["fresh.example"] });
    await timeAnswers("under a rule");
    await s.operator.removeRule(under);
  }, 60_000);

  test("names resolve while the agent hangs, and after its helper was killed", async () => {
    const device = s.home.device(1);
    const rule = await s.operator.addRule({ destinations: ["fresh.example"] });
    process.kill(s.agent.pid, "SIGSTOP");
    try {
      for (let i = 0; i < 5; i++) {
        const { resolved, p50Us } = await device.raceNames(`n${i}.fresh.example`, 1);
        console.log(`an answer while the agent hangs takes ${p50Us} µs`);
        expect(resolved).toBe(1);
      }
    } finally {
      process.kill(s.agent.pid, "SIGCONT");
    }
    const helper = helperOf(s.agent.pid);
    process.kill(helper, "SIGKILL");
    // An answer that waits at that very moment is lost with the queue, and the device asks again (docs/blocking.md).
    await eventually(
      () => device.resolve("n7.fresh.example"),
      (address) => address !== "",
      { what: "an answer after the helper was killed" },
    );
    await eventually(
      () => Promise.resolve(helperOf(s.agent.pid)),
      (pid) => pid !== 0 && pid !== helper,
      { what: "a helper" },
    );
    // Once the agent follows again, so do the rules.
    const race = () => s.home.device(2).raceNames("n%d.fresh.example", 50);
    await eventually(race, ({ returned }) => returned === 0, { what: "no packet passes" });
    await s.operator.removeRule(rule);
  }, 60_000);

  test("a private, gateway or management address in an answer is never blocked for it", async () => {
    const device = s.home.device(1);
    const rule = await s.operator.addRule({ destinations: ["rebind.example"] });
    expect(await device.resolve("rebind.example")).toBe(GATEWAY[4]);
    expect(await device.ping(GATEWAY[4], { count: 2 })).toBe(2);
    expect(await device.resolve("www.example")).toBe("198.51.100.10");
    await s.operator.removeRule(rule);
  });
});

describeUnless(sceneMissing(), "blocking by name without the helper", () => {
  test("the rule says best effort", async () => {
    const s = await scene({ devices: 1, agent: { enforce: "nft" } });
    try {
      const rule = await s.operator.addRule({ destinations: ["fresh.example"] });
      const { sent, returned } = await s.home.device(1).raceNames("n%d.fresh.example", 50);
      const { status, reason } = await s.operator.rule(rule);
      console.log(`without the helper: ${returned} of ${sent} first packets passed (${status}: ${reason})`);
      expect([status, reason]).toEqual(["Enabled", expect.stringMatching(/^Best effort: .* without the helper\.$/)]);
      const other = await s.operator.addRule({ destinations: ["198.51.100.10"] });
      expect(await s.operator.rule(other)).toMatchObject({ status: "Enabled", reason: "" });
    } finally {
      await s.end();
    }
  }, 60_000);
});

/** The process of the agent's helper; 0 while there is none. */
function helperOf(agent: number): number {
  const children = readFileSync(`/proc/${agent}/task/${agent}/children`, "utf8").split(" ").map(Number).filter(Boolean);
  const nameOf = (pid: number) => (existsSync(`/proc/${pid}/comm`) ? readFileSync(`/proc/${pid}/comm`, "utf8") : "");
  return children.find((pid) => "spin-usp-helper".startsWith(nameOf(pid).trim() || "?")) ?? 0;
}
