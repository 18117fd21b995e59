/** Twenty agents with the same profile, as a fleet has it, at one collector. */
import { addProfile, bulkWorld, Collector, type BulkWorld } from "../usp/bulk-data/support.ts";

const AGENTS = 20;
const INTERVAL_MS = 4_000;
const PARTS = 10;

test("a fleet's reports come over the whole interval, not at once, though all began at one moment", async () => {
  const collector = await Collector.start();
  const worlds: BulkWorld[] = [];
  const cameAt = new Map<string, number>();
  collector.answer = (response, { query }) => {
    const serial = query.get("sn") as string;
    if (!cameAt.has(serial)) cameAt.set(serial, Date.now());
    response.writeHead(204).end();
  };
  try {
    for (let i = 0; i < AGENTS; i++) {
      const serialNumber = `HOME${1000 + i}`;
      const identity = { endpointId: `os::00005E-${serialNumber}`, oui: "00005E", productClass: "", serialNumber };
      worlds.push(await bulkWorld({ identity: () => identity }));
    }
    const profile = { Protocol: "HTTP", "HTTP.URL": collector.url(), ReportingInterval: `${INTERVAL_MS / 1000}` };
    await Promise.all(worlds.map(({ admin }) => addProfile(admin, profile, ["Device.House.Size"])));
    const end = Date.now() + 2 * INTERVAL_MS + 2_000;
    while (cameAt.size < AGENTS && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(cameAt.size).toBe(AGENTS);
    const perPart = new Array<number>(PARTS).fill(0);
    for (const time of cameAt.values()) perPart[Math.floor(((time % INTERVAL_MS) / INTERVAL_MS) * PARTS)]!++;
    // Two a part on average, by a hash. All at one moment would be twenty in one; a machine that halts may gather some.
    expect(Math.max(...perPart)).toBeLessThanOrEqual(15);
    expect(perPart.filter((count) => count > 0).length).toBeGreaterThanOrEqual(3);
  } finally {
    for (const world of worlds) await world.stop();
    await collector.stop();
  }
});
