/** Each detector sees its attack in the test home, live; all at once, each by a device of its own (figures: bench/detect-live.ts). */
import { describeUnless } from "../support/needs.ts";
import { expose, introduce, LIVE_ATTACKS, silence } from "../support/live-attacks.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

describeUnless(sceneMissing(), "detectors, live", () => {
  let s: Scene;
  let found: Map<string, number>;
  beforeAll(async () => {
    s = await scene({ devices: LIVE_ATTACKS.length + 1, agent: { capture: { counter_interval: "1" } } });
    await silence(s.home);
    await introduce(s);
    const victim = s.home.device(LIVE_ATTACKS.length + 1);
    const outcomes = await Promise.all(
      LIVE_ATTACKS.map(async (attack, at) => {
        const { seconds } = await expose(s, attack, [s.home.device(at + 1)], victim, 25);
        return [attack.name, seconds.length] as const;
      }),
    );
    found = new Map(outcomes);
  }, 90_000);
  afterAll(async () => {
    await s?.end();
  });

  it.each(LIVE_ATTACKS)("find: $type ($name)", ({ name }) => {
    expect(found.get(name)).toBe(1);
  });

  it("find nothing of the device that does nothing", async () => {
    const mac = s.home.device(LIVE_ATTACKS.length + 1).mac;
    const values = await s.operator.get(`Device.X_SPIN.Incident.[PhysAddress=="${mac}"].Severity`);
    expect([...values.values()].filter((severity) => severity !== "Info")).toEqual([]);
  });
});
