/** What the README tells a newcomer to type, typed: its configuration, its environment, its commands. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONNECTION } from "../../src/cli/ctl-options.ts";
import { parseConfig } from "../../src/config.ts";
import { bundle } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { start, stop } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { Bed, gatewayMissing } from "./support.ts";

const README = readFileSync("README.md", "utf8");
const CONFIG = /```\n(config agent[\s\S]*?)```/.exec(README)?.[1] ?? "";
const COMMANDS = /```sh\n(export SPIN_USP_BROKER[\s\S]*?)```/.exec(README)?.[1] ?? "";

test("the README's configuration is one", () => {
  const { mqtt, controllers, agent } = parseConfig(CONFIG);
  expect(agent).toMatchObject({ oui: "00005E", serial_number: "HOME0001" });
  expect(mqtt).toMatchObject([{ name: "operator", host: "broker.example", tls: true }]);
  expect(controllers).toMatchObject([{ endpoint_id: "self::acs.example", role: "Operator", mqtt: "operator" }]);
});

test("each environment variable in the README is one that ctl reads", () => {
  const names = [...README.matchAll(/\bSPIN_[A-Z_]+/g)].map(([name]) => name);
  expect(names.length).toBeGreaterThanOrEqual(4);
  const read = Object.keys(CONNECTION).map((name) => `SPIN_USP_${name.replace("-", "_").toUpperCase()}`);
  expect(read).toEqual(expect.arrayContaining(names));
});

test("each file that the README names is there", () => {
  const linked = [...README.matchAll(/\]\(([^):]+)\)/g)].map(([, path]) => path as string);
  const named = [...README.matchAll(/\b(?:src|test|docs|bin|demo|scripts|datamodel)\/[\w./-]*\w/g)].map(
    ([path]) => path,
  );
  expect(named.length).toBeGreaterThan(5);
  expect([...linked, ...named].filter((path) => !existsSync(path))).toEqual([]);
});

describeUnless(gatewayMissing, "the README's commands", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterAll(() => bed?.down());

  test("reach the README's agent, given a broker of this machine", async () => {
    const folder = await bed.folder();
    mkdirSync(join(folder, "state"));
    writeFileSync(join(folder, "password"), "pw\n", { mode: 0o600 });
    const config = CONFIG.replace("config agent\n", `config agent\n\toption state_dir '${folder}/state'\n`)
      .replace("'broker.example'", `'127.0.0.1'\n\toption port '${bed.broker.port}'\n\toption tls '0'`)
      .replace("/etc/spin-usp.password", `${folder}/password`)
      .concat(
        "\nconfig capture\n\toption enable '0'\n\toption helper 'none'\nconfig enforce\n\toption backend 'none'\n",
      );
    writeFileSync(join(folder, "spin-usp.conf"), config);
    const agent = start(undefined, process.execPath, [bundle(), "run", "--config", join(folder, "spin-usp.conf")]);
    // A shell that runs the README's lines, with `spin-usp` on its path.
    const lines = COMMANDS.replace("mqtts://broker.example", bed.broker.url).replace(
      "~/.spin-usp.password",
      `${folder}/password`,
    );
    const environment = lines.split("\n").filter((line) => line.startsWith("export "));
    const shell = async (command: string) => {
      const script = `spin-usp() { ${process.execPath} ${bundle()} "$@"; }\n${environment.join("\n")}\n${command}`;
      const child = spawn("bash", ["-c", script], { env: { PATH: process.env["PATH"], HOME: folder } });
      let text = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      const [code] = (await once(child, "close")) as [number];
      return { code, text };
    };
    try {
      await eventually(
        () => shell("spin-usp ctl devices --timeout 1s"),
        ({ text }) => text === "no devices yet\n",
        { what: "ctl devices", timeoutMs: 20_000 },
      );
      const commands = lines.split("\n").filter((line) => /^spin-usp ctl (?!subscribe)/.test(line));
      expect(commands.length).toBeGreaterThanOrEqual(5);
      for (const command of commands) {
        const { code, text } = await shell(command);
        // A home without devices has no camera: that is what may be wrong, and nothing else.
        if (/ camera/.test(command))
          expect({ code, text }).toMatchObject({ code: 2, text: expect.stringContaining('"camera"') });
        else expect({ command, code, text }).toEqual({ command, code: 0, text: expect.any(String) });
      }
      // Notifications reach it too, by the defaults alone.
      const heard = shell("spin-usp ctl subscribe ObjectCreation Device.X_SPIN.Rule. --count 1");
      await eventually(
        () => shell("spin-usp ctl get Device.LocalAgent.Subscription.*.Enable"),
        ({ text }) => text.includes("= true"),
        { what: "the Subscription" },
      );
      await shell("spin-usp ctl add Device.X_SPIN.Rule. MACAddressList=* DestinationList=203.0.113.1");
      expect(await heard).toMatchObject({
        code: 0,
        text: expect.stringContaining("ObjectCreation Device.X_SPIN.Rule.1."),
      });
    } finally {
      await stop(agent);
    }
  }, 60_000);
});
