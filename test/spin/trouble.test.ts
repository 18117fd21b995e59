/** What the kernel does not take shows, in words, in the home's state and in that of the rules that wait for it. */
import type { Health, Source } from "../../src/spin/observation.ts";
import { newRule } from "../../src/spin/rules.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, TestHome } from "./home.ts";

const block = (id: number) => newRule({ id, enable: true, action: "Block", macs: [mac(1)], destinations: "*" });
const turn = () => new Promise<void>((done) => setImmediate(done));

function home() {
  const enforcer = new WritingEnforcer();
  const test = new TestHome({ enforcer });
  const seconds = async (count: number) => {
    for (let second = 0; second < count; second++) {
      test.clock.advance(1000);
      test.spin.tick();
      await turn();
    }
  };
  return { enforcer, test, seconds };
}

it("a policy that the kernel refuses makes the home Degraded and its rules say why, until it is in force", async () => {
  const { enforcer, test, seconds } = home();
  test.network();
  await test.spin.settled();
  await seconds(1);
  expect(test.spin.status).toBe("Running");
  const told: string[] = [];
  test.spin.subscribe((notice) => notice.kind === "rule-changed" && told.push(...notice.fields));
  enforcer.failures = 1;
  test.spin.rules.put(block(1));
  await turn();
  await turn();
  expect([test.spin.status, test.spin.statusReason]).toEqual([
    "Degraded",
    "rules are not in force: the kernel is busy",
  ]);
  expect(test.spin.rules.state(1)).toMatchObject({
    status: "Pending",
    reason: "Not yet in force: the kernel is busy",
  });
  await test.spin.settled();
  await turn();
  expect([test.spin.status, test.spin.rules.state(1).status]).toEqual(["Running", "Enabled"]);
  expect(told).toContain("StatusReason");
});

it("a kernel that does not answer makes the home Degraded after three seconds", async () => {
  const { enforcer, test, seconds } = home();
  test.network();
  await test.spin.settled();
  const release = enforcer.hold();
  test.spin.rules.put(block(1));
  await turn();
  await seconds(3);
  expect(test.spin.status).toBe("Running");
  await seconds(3);
  expect(test.spin.status).toBe("Degraded");
  expect(test.spin.rules.state(1)).toMatchObject({
    status: "Pending",
    reason: expect.stringContaining("3 s") as string,
  });
  release();
  await test.spin.settled();
  await seconds(1);
  expect([test.spin.status, test.spin.rules.state(1).status]).toEqual(["Running", "Enabled"]);
});

it("a home whose rules never came into force is in Error", async () => {
  const { enforcer, test, seconds } = home();
  enforcer.start = () => Promise.reject(new Error("there is no nf_tables"));
  test.spin.rules.put(block(1));
  test.network();
  await turn();
  await seconds(1);
  expect(test.spin.status).toBe("Error");
  expect(test.spin.rules.state(1).reason).toContain("there is no nf_tables");
  // Else it would try again for ever.
  enforcer.start = () => Promise.resolve();
  await test.spin.settled();
  expect(test.spin.rules.state(1).status).toBe("Enabled");
});

it("one source that fails leaves the home Degraded; all of them, Error", () => {
  const health = (status: Health["status"], backend: string): Health => ({
    backend,
    status,
    observations: 0,
    lost: 0,
    resyncs: 0,
    decodeErrors: 0,
    lastError: status === "Error" ? "there is no helper" : "",
  });
  const source = (name: string, state: Health): Source & { health: Health } => ({
    name,
    health: state,
    run: () => Promise.resolve(),
  });
  const conntrack = source("conntrack", health("Running", "conntrack-tools"));
  const sources = [conntrack, source("dns", health("Error", "")), source("leases", health("Disabled", "file"))];
  const test = new TestHome({ sources });
  test.spin.tick();
  expect([test.spin.status, test.spin.statusReason]).toEqual(["Degraded", "dns: there is no helper"]);
  conntrack.health = health("Error", "conntrack-tools");
  test.spin.tick();
  expect(test.spin.status).toBe("Error");
});

it("a rule that waits because nothing is observed says so, until something is", async () => {
  const { test } = home();
  test.spin.setEnabled(false);
  test.spin.rules.put(block(1));
  await turn();
  expect(test.spin.rules.state(1)).toMatchObject({
    status: "Pending",
    reason: expect.stringContaining("Not yet in force: Capture.Enable is false"),
  });
  test.spin.setEnabled(true);
  expect(test.spin.rules.state(1).reason).toBe("Not yet in force.");
  test.network();
  await test.spin.settled();
  expect(test.spin.rules.state(1).status).toBe("Enabled");
  // What enforces already goes on without being told anything new.
  test.spin.setEnabled(false);
  test.spin.rules.put(block(2));
  await test.spin.settled();
  expect(test.spin.rules.state(2)).toMatchObject({ status: "Enabled", reason: "" });
});
