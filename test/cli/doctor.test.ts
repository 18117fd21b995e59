/** `spin-usp doctor`: what it finds, and the remedy, on machines to which something was done. */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID, CONTROLLER_TOPIC } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/mosquitto.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import { Bed, gatewayMissing } from "../gateway/support.ts";

interface Check {
  readonly Topic: string;
  readonly Name: string;
  readonly State: "ok" | "warn" | "fail";
  readonly Found: string;
  readonly Remedy: string;
}

/** Runs it, under other programs if some are given. */
function doctor(config: string, under: readonly string[] = []) {
  const run = (...args: string[]) => {
    const command = [...under, process.execPath, bundle(), "doctor", "--config", config, ...args] as [
      string,
      ...string[],
    ];
    return spawnSync(command[0], command.slice(1), { encoding: "utf8", timeout: 20_000 });
  };
  const { status, stdout, stderr } = run("--json");
  expect(stderr).toBe("");
  const checks = (JSON.parse(stdout) as { Check: Check[] }).Check;
  const of = (name: string) => checks.find(({ Name }) => Name === name);
  return { code: status, checks, of, text: () => run().stdout };
}

describeUnless(sceneMissing(), "doctor on the gateway of a live home", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 1 });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });
  const examine = (...under: string[]) =>
    doctor(join(s.home.folder, "spin-usp.conf"), ["ip", "netns", "exec", s.home.gateway, ...under]);

  test("finds nothing that fails when all is well, and tells how the agent is reached", async () => {
    const found = await eventually(
      () => examine(),
      ({ of }) => /last Record in 2.*, out 2/.test(of("Device.LocalAgent.MTP.1.")?.Found ?? ""),
      { everyMs: 500, what: "what doctor found" },
    );
    expect(found.checks.filter(({ State }) => State === "fail")).toEqual([]);
    expect(found.code).toBe(0);
    expect(found.of("helper")).toMatchObject({ State: "ok", Found: expect.stringMatching(/spin-usp-helper works$/) });
    for (const name of ["node", "nft", "ruleset", "conntrack table", "nf_conntrack_acct", "directory"])
      expect(found.of(name)).toMatchObject({ State: "ok", Remedy: "" });
    expect(found.of("process")).toMatchObject({ State: "ok", Found: `runs as ${s.agent.pid}` });
    expect(found.of("endpoint id")?.Found).toBe(AGENT_ID);
    expect(found.of("SPIN")).toMatchObject({ State: "ok", Found: "Running, counters Exact" });
    expect(found.of("source conntrack")).toMatchObject({ State: "ok", Found: "Running by helper" });
    expect(found.of("Device.LocalAgent.MTP.1.")?.Found).toMatch(
      new RegExp(
        `^198\\.51\\.100\\.250:1883 Up, listens on ${AGENT_TOPIC}; last Record in \\d{4}-.*Z, out \\d{4}-.*Z$`,
      ),
    );
    expect(found.of(`controller ${CONTROLLER_ID}`)?.Found).toBe(`notified at ${CONTROLLER_TOPIC}`);
    const text = found.text();
    expect(text).toMatch(/^ {2}ok {3}helper: /m);
    expect(text).not.toMatch(/FAIL/);
  }, 40_000);

  test("tells which settings of conntrack are off, and what that costs", async () => {
    const set = (value: string) =>
      s.home.exec(s.home.gateway, "sh", ["-c", `echo ${value} > /proc/sys/net/netfilter/nf_conntrack_acct`]);
    await set("0");
    const { of, code, text } = examine();
    await set("1");
    expect(of("nf_conntrack_acct")).toEqual({
      Topic: "kernel",
      Name: "nf_conntrack_acct",
      State: "warn",
      Found: "0: bytes and packets are not counted",
      Remedy: "the agent sets it through the helper; by hand: sysctl -w net.netfilter.nf_conntrack_acct=1",
    });
    expect(code).toBe(0);
    expect(text()).toMatch(/nf_conntrack_timestamp/);
  });

  test("tells that nft is missing", () => {
    const { of, code } = examine("env", "PATH=/nowhere");
    expect(code).toBe(1);
    expect(of("nft")).toMatchObject({ State: "fail", Found: "not found", Remedy: expect.stringContaining("nftables") });
    expect(of("flow offload")).toMatchObject({ State: "warn" });
  });

  test("tells that the helper may not read frames, which fails nothing else", () => {
    expect(examine().of("frames")).toMatchObject({ State: "ok" });
    const { of, code } = examine("setpriv", "--bounding-set", "-net_raw");
    expect(of("frames")).toMatchObject({ State: "warn", Remedy: expect.stringContaining("cap_net_raw+ep") });
    expect(of("frames")?.Found).toContain("lacks CAP_NET_RAW");
    expect(of("helper")).toMatchObject({ State: "ok" });
    expect(code).toBe(0);
  });

  test("tells a user without privileges what the helper lacks", () => {
    const helper = join(s.home.folder, "helper");
    copyFileSync(resolve("build/spin-usp-helper"), helper);
    chmodSync(helper, 0o755);
    chmodSync(s.home.folder, 0o755);
    const config = join(s.home.folder, "nobody.conf");
    writeFileSync(
      config,
      `config agent\n\toption state_dir '${s.home.folder}/state'\nconfig capture\n\toption helper '${helper}'\n`,
    );
    const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];
    const { of, code } = doctor(config, ["ip", "netns", "exec", s.home.gateway, ...nobody]);
    expect(code).toBe(1);
    expect(of("helper")).toMatchObject({
      State: "fail",
      Remedy: expect.stringContaining(`setcap cap_net_admin,cap_net_raw+ep ${helper}`),
    });
    expect(of("helper")?.Found).toContain("the helper lacks CAP_NET_ADMIN");
    expect(of("doctor itself")?.Found).toBe("user 65534");
    expect(of("brokers")).toMatchObject({ State: "fail", Remedy: "add a section: config mqtt, stomp or websocket" });
  });

  test("tells that the broker went, and the agent after it", async () => {
    await s.home.broker.kill();
    const lost = await eventually(
      () => examine(),
      ({ of }) => of("Device.LocalAgent.MTP.1.")?.State === "fail",
      { everyMs: 500, what: "the MTP's state" },
    );
    expect(lost.code).toBe(1);
    expect(lost.of("Device.LocalAgent.MTP.1.")?.Found).toMatch(/(?:Down|Error).*last Record in \d{4}-.*: .+/);
    await s.agent.stop();
    const { of } = examine();
    expect(of("process")).toMatchObject({ State: "warn", Remedy: "spin-usp run" });
  }, 30_000);
});

describeUnless(gatewayMissing ?? missing("root"), "doctor beside an agent", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterAll(() => bed?.down());

  test("tells why the broker is not reached", async () => {
    const folder = await bed.folder();
    const port = await freePort();
    await bed.agent(folder, { mqtt: { port: String(port) } });
    const found = await eventually(
      () => (existsSync(join(folder, "state/status.json")) ? doctor(join(folder, "spin-usp.conf")) : undefined),
      (now) => now?.of("Device.LocalAgent.MTP.1.")?.Found.includes("refused") === true,
      { everyMs: 300, what: "what doctor found" },
    );
    expect(found?.of("Device.LocalAgent.MTP.1.")).toMatchObject({
      State: "fail",
      Found: `127.0.0.1:${port} Down, listens on ${AGENT_TOPIC}; last Record in never, out never: 127.0.0.1:${port}: connection refused: nothing listens there`,
      Remedy: "check host, port, credentials and TLS of its section",
    });
    expect(found?.of("helper")).toMatchObject({ State: "warn", Found: "option helper is none" });
  }, 30_000);
});

describe("doctor", () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "spin-usp-doctor-"))));
  afterAll(() => rmSync(folder, { recursive: true }));
  const config = (text: string) => {
    const path = join(folder, "spin-usp.conf");
    writeFileSync(path, text);
    return path;
  };

  test("tells that a helper is not there, and how to build one", () => {
    const { of, code } = doctor(
      config(`config agent\n\toption state_dir '${folder}/state'\nconfig capture\n\toption helper '/does/not/exist'\n`),
    );
    expect(code).toBe(1);
    expect(of("helper")).toMatchObject({
      State: "fail",
      Found: "/does/not/exist does not exist",
      Remedy: expect.stringContaining("npm run helper"),
    });
    expect(of("directory")).toMatchObject({ State: "warn", Found: `${folder}/state is not there yet` });
    expect(of("process")).toMatchObject({ State: "warn", Found: "it has not run with this state directory" });
    expect(existsSync(join(folder, "state"))).toBe(false);
  });

  const isConfigured = ["/etc/config/spin-usp", "/etc/spin-usp.conf"].some((path) => existsSync(path));
  const why = isConfigured ? " (SKIPPED: this machine has a configuration)" : "";
  (isConfigured ? test.skip : test)(`looks at the machine where there is no configuration, and says that${why}`, () => {
    const run = (...args: string[]) => spawnSync(process.execPath, [bundle(), "doctor", ...args], { encoding: "utf8" });
    const { status, stdout, stderr } = run();
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toMatch(/^configuration\n {2}FAIL file: there is none at .*\n +→ write one .*--config$/m);
    expect(stdout).toMatch(/^ {2}ok {3}node: v/m);
    expect(stdout).not.toMatch(/^(?:state|agent)$/m);
    const topics = stdout.split("\n").filter((line) => /^[a-z]+$/.test(line));
    expect(topics).toContain("kernel");
    expect(new Set(topics).size).toBe(topics.length);
  });

  test.each(["", "{", "null"])("is not upset by an agent's last word of %j", (text) => {
    mkdirSync(join(folder, "state"), { recursive: true });
    writeFileSync(join(folder, "state/status.json"), text);
    const { of } = doctor(
      config(`config agent\n\toption state_dir '${folder}/state'\nconfig capture\n\toption helper 'none'\n`),
    );
    expect(of("process")).toMatchObject({ State: "warn", Found: expect.stringContaining("can't be read") });
  });

  test("says what it did not understand", () => {
    const run = (...args: string[]) => spawnSync(process.execPath, [bundle(), "doctor", ...args], { encoding: "utf8" });
    expect(run("--colour")).toMatchObject({ status: 2, stderr: expect.stringContaining("--colour") });
    expect(run("--config", config("config agnet\n"))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("no section agnet"),
    });
  });
});
