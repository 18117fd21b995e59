/** `spin-usp run` as a service manager sees it: options, errors, log, signals, exit codes. */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle, type Agent } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "../gateway/support.ts";

const VERSION = (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version;

/** The program to its end, with no terminal. */
function spin(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bundle(), ...args], {
    encoding: "utf8",
    timeout: 10_000,
  });
  return { code: status, out: stdout, err: stderr };
}

describe("spin-usp", () => {
  test.each([["--version"], ["-V"], ["run", "--version"]])("%s %s says the version", (...args) => {
    expect(spin(...args)).toEqual({ code: 0, out: `${VERSION}\n`, err: "" });
  });

  test.each([[["--help"]], [["-h"]], [["help"]]])("%j lists the commands", (args) => {
    const { code, out } = spin(...args);
    expect(code).toBe(0);
    for (const command of ["run", "ctl", "replay", "doctor", "reset"])
      expect(out).toMatch(new RegExp(`^ +${command} `, "m"));
  });

  test.each(["run", "ctl", "replay", "doctor", "reset"])("%s --help tells its options on stdout", (command) => {
    const { code, out, err } = spin(command, "--help");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.length).toBeGreaterThan(100);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(140);
  });

  test("without a command, or with one that is none, it says which there are", () => {
    expect(spin()).toMatchObject({ code: 2, out: "", err: expect.stringContaining("Usage: spin-usp COMMAND") });
    expect(spin("dance")).toMatchObject({ code: 2, err: expect.stringContaining('there is no command "dance"') });
    // Not a command, though every object has it.
    expect(spin("constructor")).toMatchObject({
      code: 2,
      err: expect.stringContaining('there is no command "constructor"'),
    });
  });
});

describe("spin-usp run", () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "spin-usp-run-"))));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (text: string) => {
    const path = join(folder, "spin-usp.conf");
    writeFileSync(path, text);
    return path;
  };

  test.each([
    [["--colour"], "--colour"],
    [["--bench-model", "many"], '--bench-model is "many"; it must be a number of rows'],
    [["--bench-model"], "--bench-model"],
    [["now"], "now"],
  ])("%j is wrong use", (args, text) => {
    const { code, out, err } = spin("run", ...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(text);
    expect(err).not.toMatch(/^ +at /m);
  });

  test("a configuration that is not there is named", () => {
    expect(spin("run", "--config", "/does/not/exist.conf")).toEqual({
      code: 2,
      out: "",
      err: "<3>spin-usp: ENOENT: no such file or directory, open '/does/not/exist.conf'\n",
    });
    expect(spin("run", "--config", folder).err).toMatch(/^<3>spin-usp: EISDIR: /);
  });

  test.each([
    ["config agent\n\toption colour 'red'\n", "line 2: agent has no option colour"],
    ["config agent\n\toption log_level 'loud'\n", 'line 2: agent option log_level is "loud"; it must be one of'],
    [
      "config mqtt 'x'\n\toption host 'broker.example'\n\toption port 'high'\n",
      'line 3: mqtt option port is "high"; it must be a number from 0 to 65535',
    ],
    [
      "config controller 'x'\n\toption endpoint_id 'my acs'\n",
      'line 2: controller option endpoint_id is "my acs"; it must',
    ],
    [
      "config capture\n\tlist interface 'br lan'\n",
      'line 2: capture option interface is "br lan"; it must be the name of an interface',
    ],
    [
      "config enforce\n\toption backend 'iptables'\n",
      'line 2: enforce option backend is "iptables"; it must be one of auto',
    ],
    ["config constructor\n", "line 1: there is no section constructor"],
    ["config agent\n\toption toString 'x'\n", "line 2: agent has no option toString"],
    ["\u001b[2J\n", "line 1: "],
  ])("of %j it says what is wrong and where, on one line, with --check and without", (text, message) => {
    const path = file(text);
    for (const args of [[], ["--check"]]) {
      const { code, out, err } = spin("run", "--config", path, ...args);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toContain(`<3>spin-usp: ${path}: ${message}`);
      expect(err.trimEnd()).not.toContain("\n");
      expect(err).not.toContain("\u001b");
    }
  });

  test("--check of a good one touches nothing", () => {
    const path = file(`config agent\n\toption state_dir '${folder}/none'\n`);
    expect(spin("run", "--config", path, "--check")).toEqual({ code: 0, out: "the configuration is fine\n", err: "" });
    expect(existsSync(join(folder, "none"))).toBe(false);
  });

  test("a certificate or password that can't be read is told at once, each by its option", () => {
    const path = file(
      `config agent\n\toption state_dir '${folder}/state-of-none'\n\n` +
        `config mqtt 'x'\n\toption host '127.0.0.1'\n\toption ca_file '${folder}/none.pem'\n` +
        `\toption username 'u'\n\toption password_file '${folder}/none.password'\n\toption cert_file ''\n`,
    );
    const { code, out, err } = spin("run", "--config", path, "--check");
    expect({ code, out }).toEqual({ code: 2, out: "" });
    for (const [option, name] of [
      ["ca_file", "none.pem"],
      ["password_file", "none.password"],
    ])
      expect(err).toContain(`mqtt 'x' option ${option}: ENOENT: no such file or directory, access '${folder}/${name}'`);
    expect(err).not.toContain("cert_file");
  });

  test("where the enforcer that it insists on can't be had, it ends and says why", () => {
    const path = file(
      `config agent\n\toption state_dir '${folder}/state'\nconfig capture\n\toption enable '0'\n\toption helper 'none'\nconfig enforce\n\toption backend 'helper'\n`,
    );
    expect(spin("run", "--config", path)).toMatchObject({
      code: 2,
      err: expect.stringContaining(
        'enforce option backend is "helper", but the helper can\'t be used: there is no helper',
      ),
    });
  });
});

describeUnless(gatewayMissing, "spin-usp run, running", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down());

  const started = async (options: Parameters<Bed["agent"]>[1] = {}, folder?: string): Promise<[Agent, string]> => {
    const where = folder ?? (await bed.folder());
    const agent = await bed.agent(where, options);
    await answers(await bed.controller(), agent);
    return [agent, where];
  };

  test.each(["SIGTERM", "SIGINT"] as const)(
    "stops on %s with 0 and its state saved",
    async (signal) => {
      const [agent, folder] = await started();
      const before = Date.now();
      process.kill(agent.pid, signal);
      await eventually(
        () => agent.running,
        (running) => !running,
        { timeoutMs: 5000, what: "running" },
      );
      expect(await agent.stop()).toBe(0);
      expect(agent.log.trimEnd()).toMatch(/<6>spin-usp: stopped$/);
      const documents = readdirSync(join(folder, "state"));
      expect(documents).not.toContain("lock");
      const home = documents.filter(
        (name) => name.endsWith(".json") && !/^(?:model-|seeded|identity|status)/.test(name),
      );
      expect(home.length).toBeGreaterThan(0);
      for (const name of home)
        expect(statSync(join(folder, "state", name)).mtimeMs).toBeGreaterThanOrEqual(before - 50);
    },
    30_000,
  );

  test("stops within 5 s when the broker hangs; a second signal ends it at once", async () => {
    const [first] = await started();
    bed.broker.signal("SIGSTOP");
    try {
      expect(await first.stop()).toBe(0);
    } finally {
      bed.broker.signal("SIGCONT");
    }
    const [second] = await started();
    bed.broker.signal("SIGSTOP");
    try {
      process.kill(second.pid, "SIGTERM");
      await pause(300);
      expect(second.running).toBe(true);
      process.kill(second.pid, "SIGTERM");
      await eventually(
        () => second.running,
        (running) => !running,
        { timeoutMs: 1000, everyMs: 10, what: "running" },
      );
      expect(await second.stop()).toBe(143);
    } finally {
      bed.broker.signal("SIGCONT");
    }
  }, 60_000);

  test("stops while it still starts", async () => {
    const folder = await bed.folder();
    for (const ms of [0, 50, 150, 250, 350]) {
      const agent = await bed.agent(folder);
      await pause(ms);
      const code = await agent.stop();
      // Before it listens for signals, they end it as they end any program.
      expect([0, 128]).toContain(code);
      expect(agent.log).not.toMatch(/^ +at |Unhandled|exception/m);
    }
  }, 60_000);

  test("every line of its log begins with a priority where stderr is no terminal", async () => {
    const [agent] = await started();
    await agent.stop();
    const lines = agent.log.trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(line).toMatch(/^<[3467]>[a-z-]+: /);
    expect(lines[0]).toContain(`version ${VERSION}, endpoint os::02AA00-HOME0001`);
  }, 30_000);

  describeUnless(missing("root", "setpriv"), "without privileges", () => {
    test("it runs, with neither helper nor enforcement, and says what that costs", async () => {
      const folder = await bed.folder();
      mkdirSync(join(folder, "state"), { mode: 0o700 });
      chownSync(join(folder, "state"), 65534, 65534);
      const under = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all"];
      const [agent] = await started({ under, capture: { enable: "1" } }, folder);
      const controller = await bed.controller();
      const values = await controller.read([
        "Device.X_SPIN.Status",
        "Device.X_SPIN.StatusReason",
        "Device.X_SPIN.Capture.",
      ]);
      expect(["Degraded", "Error"]).toContain(values.get("Device.X_SPIN.Status"));
      expect(values.get("Device.X_SPIN.StatusReason")).not.toBe("");
      const rule = await controller.create("Device.X_SPIN.Rule.", {
        Enable: "true",
        Action: "Block",
        MACAddressList: "*",
        DestinationList: "203.0.113.1",
      });
      await eventually(
        async () => (await controller.read([`${rule}Status`])).get(`${rule}Status`),
        (status) => status === "Error",
        { what: "the rule's Status" },
      );
      expect((await controller.read([`${rule}StatusReason`])).get(`${rule}StatusReason`)).toBe(
        "Not enforced: option backend of enforce is none.",
      );
      expect(await agent.stop()).toBe(0);
      expect(agent.log).not.toMatch(/^ +at |Unhandled/m);
    }, 30_000);
  });

  test("where nothing can enforce, SPIN and each rule say so", async () => {
    const [agent] = await started({ enforce: "auto", under: ["env", "PATH=/nowhere"], capture: { enable: "1" } });
    const controller = await bed.controller();
    await eventually(
      async () => (await controller.read(["Device.X_SPIN.StatusReason"])).get("Device.X_SPIN.StatusReason"),
      (reason) => reason?.includes("rules can't be enforced: nft can't be used: spawnSync nft ENOENT") === true,
      { what: "StatusReason" },
    );
    expect(agent.log).toContain("<3>enforce: rules can't be enforced: nft can't be used");
  }, 30_000);

  describeUnless(missing("mosquitto_passwd"), "with passwords", () => {
    test("none is ever logged, kept where others read it, or read back", async () => {
      const folder = await bed.folder();
      const secrets = ["Correct-Horse-1", "Written-Later-2", "Never-Right-3"];
      const [right, later, wrong] = secrets as [string, string, string];
      writeFileSync(join(bed.broker.folder, "users"), `home:${right}\nhome2:${later}\n`);
      spawnSync("mosquitto_passwd", ["-U", join(bed.broker.folder, "users")]);
      const guarded = await Bed.up([`password_file ${join(bed.broker.folder, "users")}`, "set_tcp_nodelay true"]);
      try {
        writeFileSync(join(folder, "password"), `${right}\n`, { mode: 0o600 });
        const agent = await guarded.agent(folder, {
          role: "Admin",
          mqtt: { username: "home", password_file: join(folder, "password") },
        });
        const controller = await guarded.controller();
        await answers(controller, agent);
        for (const path of ["Device.MQTT.Client.1.Password", "Device.MQTT.Client.1."])
          expect([...(await controller.read([path])).values()].join("\n")).not.toContain(right);
        await controller.write("Device.MQTT.Client.1.", { Username: "home2", Password: later });
        await eventually(
          () => agent.log,
          (log) => / again|connect/i.test(log),
          { what: "the log" },
        ).catch(() => undefined);
        await answers(controller, agent);
        const password = (await controller.read(["Device.MQTT.Client.1.Password"])).get(
          "Device.MQTT.Client.1.Password",
        );
        expect(password).toBe("");
        // Neither can it be guessed by a search.
        const found = await controller.get([`Device.MQTT.Client.[Password=="${later}"].Name`]);
        expect(found.flatMap(({ objects }) => objects)).toEqual([]);
        await controller.write("Device.MQTT.Client.1.", { Password: wrong });
        await eventually(
          () => agent.log,
          (log) => log.includes("user name or password is wrong") || log.includes("not authorized"),
          {
            what: "the log",
          },
        );
        await agent.stop();
        const status = readFileSync(join(folder, "state/status.json"), "utf8");
        const doctor = spin("doctor", "--config", join(folder, "spin-usp.conf"), "--json").out;
        for (const secret of secrets) {
          expect(agent.log).not.toContain(secret);
          expect(status).not.toContain(secret);
          expect(doctor).not.toContain(secret);
        }
        for (const name of readdirSync(join(folder, "state")))
          expect(statSync(join(folder, "state", name)).mode & 0o077).toBe(0);
      } finally {
        await guarded.down();
      }
    }, 60_000);
  });
});
