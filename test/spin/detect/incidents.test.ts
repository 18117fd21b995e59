import type { Finding } from "../../../src/spin/detect/finding.ts";
import { Incidents, type IncidentNotice } from "../../../src/spin/detect/incidents.ts";

const START = Date.UTC(2026, 0, 1);

function finding(more: Partial<Finding> = {}): Finding {
  return {
    type: "HostScan",
    slot: 0,
    severity: "Medium",
    time: START,
    measured: 10,
    threshold: 10,
    windowMs: 60_000,
    summary: "tried to reach 10 addresses in 60 s, and none answered",
    peers: ["203.0.113.9 port 23"],
    ...more,
  };
}

function book() {
  const notices: IncidentNotice[] = [];
  return { notices, incidents: new Incidents({ limit: 100, notify: (notice) => void notices.push(notice) }) };
}

describe("incidents", () => {
  it("unite what belongs together, and keep the worst of it", () => {
    const { incidents, notices } = book();
    incidents.report(finding(), 1);
    incidents.report(finding({ time: START + 10_000, measured: 64, severity: "High", peers: ["203.0.113.80"] }), 1);
    incidents.report(finding({ time: START + 20_000 }), 1);
    expect(incidents.all()).toMatchObject([
      { number: 1, count: 3, measured: 64, severity: "High", firstTime: START, lastTime: START + 20_000 },
    ]);
    expect(incidents.all()[0]?.peers).toEqual(["203.0.113.9 port 23", "203.0.113.80"]);
    expect(notices.map(({ kind }) => kind)).toEqual(["opened", "changed", "changed"]);
  });

  it("are one for each device and type", () => {
    const { incidents } = book();
    incidents.report(finding(), 1);
    incidents.report(finding(), 2);
    incidents.report(finding({ type: "PortScan" }), 1);
    expect(incidents.all()).toHaveLength(3);
  });

  it("close when it has been quiet for a quarter of an hour; what comes then is another", () => {
    const { incidents, notices } = book();
    incidents.report(finding(), 1);
    incidents.tick(START + 14 * 60_000);
    expect(incidents.openCount).toBe(1);
    incidents.tick(START + 15 * 60_000);
    expect(incidents.openCount).toBe(0);
    expect(notices.at(-1)?.kind).toBe("closed");
    incidents.report(finding({ time: START + 16 * 60_000 }), 1);
    expect(incidents.all().map(({ number }) => number)).toEqual([1, 2]);
  });

  it("of one device never push the others' out", () => {
    const { incidents } = book();
    for (let mac = 1; mac <= 30; mac++) incidents.report(finding({ severity: "Low" }), mac);
    for (let n = 0; n < 1000; n++) {
      incidents.report(finding({ time: START + n * 1_000_000 }), 99);
      incidents.tick(START + n * 1_000_000 + 900_000);
    }
    expect(incidents.all().length).toBe(100);
    for (let mac = 1; mac <= 30; mac++) expect(incidents.all().some((each) => each.mac === mac)).toBe(true);
  });

  it("are told ten a minute; how many were not, the next one says", () => {
    const { incidents, notices } = book();
    for (let mac = 1; mac <= 25; mac++) incidents.report(finding(), mac);
    expect(notices.filter(({ kind }) => kind === "opened")).toHaveLength(10);
    incidents.report(finding({ time: START + 61_000 }), 26);
    expect(notices.at(-1)).toMatchObject({ kind: "opened", suppressed: 15 });
  });

  it("outlive a restart with their numbers, and leave out what is none", () => {
    const { incidents } = book();
    incidents.report(finding(), 1);
    incidents.setState(1, "Acknowledged");
    const saved = JSON.parse(JSON.stringify(incidents.save())) as { next: number; rows: unknown[] };
    saved.rows.push({ number: 2 }, null, 7, { ...(saved.rows[0] as object), severity: "Terrible" });
    const { incidents: after } = book();
    after.load(saved);
    expect(after.all()).toEqual(incidents.all());
    for (const rubbish of [undefined, null, 7, [], { rows: 3, next: -1 }]) book().incidents.load(rubbish);
    after.report(finding({ type: "Flood" }), 1);
    expect(after.all().at(-1)?.number).toBe(2);
  });
});
