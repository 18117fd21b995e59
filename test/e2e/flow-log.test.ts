/** What the home remembers, with the kernel's own NAT: an abuse report leads to its device, also after restarts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { WAN4 } from "../support/home-network.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const SERVER = "198.51.100.10";

describeUnless(sceneMissing(), "the flow log", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 2, agent: { capture: { counter_interval: "1" } } });
    await s.operator.connection.set("Device.X_SPIN.", { PrivacyLevel: "Destinations" });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  /** The port under which the Internet knows the newest UDP flow of the device with the server. */
  async function publicPort(source: string): Promise<string> {
    const { stdout } = await s.home.exec(s.home.gateway, "conntrack", ["-L", "-p", "udp", "-s", source, "-d", SERVER]);
    return /dst=203\.0\.113\.2 sport=\d+ dport=(\d+)/.exec(stdout)?.[1] ?? "";
  }

  async function resolved(SourcePort: string, more: Record<string, string> = {}): Promise<Record<string, string>> {
    const report = {
      Time: new Date().toISOString(),
      Tolerance: "600",
      Protocol: "17",
      SourceAddress: WAN4,
      SourcePort,
    };
    const input = { ...report, DestinationAddress: SERVER, ...more };
    return Object.fromEntries(await s.operator.connection.operate("Device.X_SPIN.ResolveIncident()", input));
  }

  async function ctl(...args: string[]): Promise<string> {
    const child = spawn(process.execPath, [bundle(), "ctl", ...args], {
      env: {
        PATH: process.env["PATH"] ?? "",
        SPIN_USP_BROKER: `mqtt://127.0.0.1:${s.home.broker.port}`,
        SPIN_USP_AGENT: AGENT_ID,
        SPIN_USP_CONTROLLER: CONTROLLER_ID,
        SPIN_USP_AGENT_TOPIC: AGENT_TOPIC,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await once(child, "close");
    return said;
  }

  test("leads from the home's address and port to the device, before and after restarts, and tells what was asked", async () => {
    const [first, second] = [s.home.device(1), s.home.device(2)];
    await first.udp(await first.resolve("www.example"), { count: 2 });
    await second.udp(SERVER, { count: 2 });
    const [one, two] = [await publicPort(first.ipv4), await publicPort(second.ipv4)];
    const row = async (mac: string) => (await s.operator.device(mac)).replace(/\.$/, "");
    const found = await eventually(
      () => resolved(one),
      ({ Found }) => Found === "true",
      { what: "the device" },
    );
    expect(found).toEqual({ Found: "true", Device: await row(first.mac), FlowCount: "1", Blocked: "false" });
    expect((await resolved(two))["Device"]).toBe(await row(second.mac));
    expect(await resolved(one, { SourceAddress: "203.0.113.77" })).toMatchObject({ Found: "false", Device: "" });

    const names = async () =>
      (await s.operator.query("DNSQueries", { PhysAddress: first.mac })).map(({ Name }) => Name);
    expect(await names()).toEqual(["www.example"]);
    const asked = await ctl("dns", first.mac);
    expect(asked).toMatch(/www\.example +A +198\.51\.100\.10/);
    expect(
      await ctl("resolve", "--time", "1m", "--tolerance", "10m", "--address", WAN4, "--port", one, "--protocol", "udp"),
    ).toContain(first.mac);
    expect(await ctl("query", "flows", first.mac, "--to", "example", "--since", "1h")).toMatch(
      /www\.example +198\.51\.100\.10 +udp\/7/,
    );

    // The kernel forgets the flow while nobody looks.
    expect(await s.agent.stop()).toBe(0);
    expect(readdirSync(join(s.home.folder, "state", "flow-log"))).toEqual(["00000001-j.log"]);
    await s.home.exec(s.home.gateway, "conntrack", ["-F"]);
    s.agent.restart();
    await s.agent.unlessItDies(s.operator.ready());
    expect(await resolved(one)).toEqual(found);
    expect(await names()).toEqual(["www.example"]);
    const flows = await s.operator.query("Flows", { PhysAddress: first.mac, Destination: "www.example" });
    expect(flows).toEqual([expect.objectContaining({ Address: SERVER, Domain: "www.example", Port: "7" })]);
  }, 60_000);
});
