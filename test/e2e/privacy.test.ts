/** Who sees what, live: `ctl privacy`, `accesses`, `support`, `export` and `erase` against the agent, by the resident's socket and by MQTT. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID, residentSocket } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const SERVER = "198.51.100.10";
const NAME = "www.example";

interface Exported {
  readonly Device: { readonly PhysAddress: string };
  readonly Destinations: readonly { readonly Domain: string; readonly Address: string }[];
  readonly Flows: readonly unknown[];
  readonly Rule: readonly { readonly DestinationList: string }[];
  readonly AccessLog: readonly { readonly What: string }[];
  readonly NotShown?: Record<string, string>;
}

describeUnless(sceneMissing(), "privacy", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({
      devices: 2,
      agent: { capture: { counter_interval: "1" }, role: "Support", controller: { secured: "0" } },
    });
    const [device] = s.home.devices;
    await device?.resolve(NAME);
    await device?.tcp(SERVER, { up: 1000, down: 20_000 });
    await eventually(
      async () => (await ctl("resident", "export", mac())).out,
      (out) => out.includes(SERVER),
      { what: "the destination" },
    );
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  const mac = () => s.home.device(1).mac;

  async function ctl(who: "resident" | "operator", ...args: string[]) {
    const over =
      who === "resident"
        ? ["--socket", residentSocket(s.home.folder)]
        : ["--broker", `mqtt://127.0.0.1:${s.home.broker.port}`, "--agent", AGENT_ID, "--controller", CONTROLLER_ID];
    const topic = who === "resident" ? [] : ["--agent-topic", AGENT_TOPIC];
    const child = spawn(process.execPath, [bundle(), "ctl", ...args, ...over, ...topic], {
      env: { PATH: process.env["PATH"] ?? "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    return { code, out, err };
  }

  test("a controller without the right exports what it may see, and says what it does not", async () => {
    const { code, out, err } = await ctl("operator", "export", mac());
    expect(out).not.toContain(SERVER);
    expect(out).not.toContain(NAME);
    const all = JSON.parse(out) as Exported;
    expect(Object.keys(all.NotShown ?? {})).toEqual(["Flows", "DNSQueries"]);
    expect([code, err]).toEqual([5, expect.stringContaining("SecuredRoles")]);
    expect(await ctl("operator", "erase", mac())).toMatchObject({
      code: 1,
      err: expect.stringContaining("resident") as string,
    });
    expect(await ctl("operator", "support", "1h")).toMatchObject({ code: 1 });
    expect((await ctl("operator", "accesses")).out).toContain("nothing");
  });

  test("ctl privacy tells each controller what it sees, and why not more", async () => {
    const own = await ctl("operator", "privacy", CONTROLLER_ID);
    expect(own.out).toContain(`${CONTROLLER_ID} (Support, MQTT)`);
    expect(own.out).toContain(
      "does not see whom devices talk to, nor what others' rules say, because none of its roles is in SecuredRoles",
    );
    await ctl("resident", "set", "Device.X_SPIN.PrivacyLevel=Summary");
    expect((await ctl("operator", "privacy", CONTROLLER_ID)).out).toMatch(
      /sees the home's totals alone, because PrivacyLevel is Summary\./,
    );
    await ctl("resident", "set", "Device.X_SPIN.PrivacyLevel=Devices");
  });

  test("a support session shows it for a while, and the access log who looked", async () => {
    expect((await ctl("resident", "support", "30m")).out).toMatch(/Support sees what is secured until 20/);
    const { code, out } = await ctl("operator", "export", mac());
    expect([code, out]).toEqual([0, expect.stringContaining(SERVER)]);
    expect((await ctl("operator", "privacy", CONTROLLER_ID)).out).toContain("because the resident granted support");
    const log = await ctl("resident", "accesses");
    expect(log.out).toMatch(/peers +Query\(Flows\)/);
    expect(log.out).toMatch(/peers +read Device\.X_SPIN\.Device\.\{i\}\.TopDestinations/);
    const told = (await ctl("resident", "privacy", CONTROLLER_ID)).out;
    expect(told).toMatch(/read what is secured \d+ times, last on 20/);
    expect((await ctl("resident", "support", "off")).code).toBe(0);
    expect((await ctl("operator", "export", mac())).out).not.toContain(SERVER);
  });

  test("the resident has everything in a file that nobody else reads, and erases it, on disk too", async () => {
    const file = join(s.home.folder, "export.json");
    expect(await ctl("resident", "export", mac(), "-o", file)).toMatchObject({ code: 0 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const all = JSON.parse(readFileSync(file, "utf8")) as Exported;
    expect(all.Device.PhysAddress).toBe(mac());
    expect(all.Destinations.map(({ Address }) => Address)).toContain(SERVER);
    const erased = await ctl("resident", "erase", mac());
    expect(erased.out).toMatch(/^erased: the history of .*: the flow log, [1-9]\d* destinations/);
    const after = JSON.parse((await ctl("resident", "export", mac())).out) as Exported;
    expect(after.Destinations).toEqual([]);
    const state = join(s.home.folder, "state");
    for (const name of readdirSync(state).filter((each) => each.endsWith(".json")))
      expect([name, readFileSync(join(state, name), "utf8").includes(NAME)]).toEqual([name, false]);
  });

  test.each([
    ["export"],
    ["export", "nobody"],
    ["erase"],
    ["erase", "x", "--all"],
    ["support"],
    ["support", "2d"],
    ["privacy", "nobody"],
    ["accesses", "x"],
  ])("%s %s is a mistake, and said so", async (...words) => {
    expect(await ctl("resident", ...words)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^error: /) as string,
    });
  });
});
