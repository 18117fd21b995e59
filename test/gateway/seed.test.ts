/** The first start makes the model's rows from the configuration; from then on the state directory knows. */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Controller } from "../../src/controller/controller.ts";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID, CONTROLLER_TOPIC } from "../support/agent.ts";
import { describeUnless } from "../support/needs.ts";
import { answers, Bed, gatewayMissing } from "./support.ts";

const INTERVAL = "Device.X_SPIN.Capture.CounterInterval";
const NOTIFY = "Device.LocalAgent.Controller.1.PeriodicNotifInterval";

describeUnless(gatewayMissing, "the model's rows", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down());

  /** What the rows say that come from the configuration. */
  const seeded = (controller: Controller) =>
    controller.read([
      "Device.MQTT.Client.",
      "Device.LocalAgent.MTP.",
      "Device.LocalAgent.Controller.",
      "Device.LocalAgent.ControllerTrust.",
      INTERVAL,
    ]);
  const reset = (folder: string, ...args: string[]) =>
    spawnSync(process.execPath, [bundle(), "reset", "--config", join(folder, "spin-usp.conf"), ...args], {
      encoding: "utf8",
    });

  test("are made by the first start", async () => {
    const folder = await bed.folder();
    const agent = await bed.agent(folder, {
      role: "Admin",
      capture: { counter_interval: "7" },
      mqtt: { keepalive: "33", client_id: "home-1", username: "u" },
    });
    const controller = await bed.controller();
    await answers(controller, agent);
    const values = await seeded(controller);
    expect(Object.fromEntries(values)).toMatchObject({
      "Device.MQTT.Client.1.Name": "broker",
      "Device.MQTT.Client.1.Enable": "true",
      "Device.MQTT.Client.1.Status": "Connected",
      "Device.MQTT.Client.1.BrokerAddress": "127.0.0.1",
      "Device.MQTT.Client.1.BrokerPort": String(bed.broker.port),
      "Device.MQTT.Client.1.TransportProtocol": "TCP/IP",
      "Device.MQTT.Client.1.ProtocolVersion": "5.0",
      "Device.MQTT.Client.1.KeepAliveTime": "33",
      "Device.MQTT.Client.1.ClientID": "home-1",
      "Device.MQTT.Client.1.Username": "u",
      "Device.LocalAgent.MTP.1.Protocol": "MQTT",
      "Device.LocalAgent.MTP.1.Status": "Up",
      "Device.LocalAgent.MTP.1.MQTT.Reference": "Device.MQTT.Client.1",
      "Device.LocalAgent.MTP.1.MQTT.ResponseTopicConfigured": AGENT_TOPIC,
      "Device.LocalAgent.Controller.1.EndpointID": CONTROLLER_ID,
      "Device.LocalAgent.Controller.1.MTP.1.MQTT.Topic": CONTROLLER_TOPIC,
      "Device.LocalAgent.Controller.1.MTP.1.MQTT.AgentMTPReference": "Device.LocalAgent.MTP.1",
      [INTERVAL]: "7",
    });
    const role = values.get("Device.LocalAgent.Controller.1.AssignedRole") ?? "";
    expect(values.get(`${role}.Name`)).toBe("Admin");
    expect(values.get("Device.LocalAgent.ControllerTrust.SecuredRoles")).toContain(role);
    const roles = [...values].filter(([path]) => /\.Role\.\d+\.Name$/.test(path)).map(([, name]) => name);
    expect(roles.sort()).toEqual(["Admin", "Monitor", "Operator", "Resident", "Support", "Untrusted"]);
  }, 60_000);

  test("stay as controllers left them, whatever the file says later, until reset", async () => {
    const folder = await bed.folder();
    const agent = await bed.agent(folder, { role: "Admin" });
    const controller = await bed.controller();
    await answers(controller, agent);
    await controller.write("Device.X_SPIN.Capture.", { CounterInterval: "9" });
    await controller.write("Device.LocalAgent.Controller.1.", { PeriodicNotifInterval: "1234" });
    const rule = await controller.create("Device.X_SPIN.Rule.", {
      Enable: "true",
      Action: "Block",
      MACAddressList: "*",
      DestinationList: "203.0.113.1",
    });
    const before = await seeded(controller);
    expect(reset(folder)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`in use by process ${agent.pid}`),
    });
    expect(await agent.stop()).toBe(0);
    appendFileSync(
      join(folder, "spin-usp.conf"),
      "config controller 'late'\n\toption endpoint_id 'self::late'\n\toption mqtt 'broker'\n",
    );
    const conf = join(folder, "spin-usp.conf");
    writeFileSync(
      conf,
      readFileSync(conf, "utf8").replace("option interface", "option counter_interval '3'\n\toption interface"),
    );

    agent.restart();
    await answers(controller, agent);
    const after = await seeded(controller);
    for (const [path, value] of before)
      if (!/Established|Stats\.|Since|LastChange/.test(path)) expect([path, after.get(path)]).toEqual([path, value]);
    expect([...after.values()]).not.toContain("self::late");
    expect(after.get(NOTIFY)).toBe("1234");
    expect((await controller.read([`${rule}DestinationList`])).size).toBe(1);
    expect(await agent.stop()).toBe(0);

    const { status, stdout } = reset(folder);
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/state: \d+ documents forgotten\n$/),
    });
    agent.restart();
    await answers(controller, agent);
    const anew = await seeded(controller);
    expect([...anew.values()]).toContain("self::late");
    expect(anew.get(NOTIFY)).toBe("86400");
    expect(anew.get(INTERVAL)).toBe("5");
    expect(await controller.read(["Device.X_SPIN.Rule."])).toEqual(new Map());
    expect(anew.get("Device.LocalAgent.Controller.1.EndpointID")).toBe(CONTROLLER_ID);
  }, 90_000);

  test("reset keeps the identity and the devices; --all forgets them too", async () => {
    const folder = await bed.folder();
    const agent = await bed.agent(folder);
    const controller = await bed.controller();
    await answers(controller, agent);
    expect(await agent.stop()).toBe(0);
    const state = join(folder, "state");
    writeFileSync(join(state, "identity.json"), JSON.stringify({ oui: "02AA00", serialNumber: "X" }));
    const documents = () =>
      spawnSync("ls", [state], { encoding: "utf8" })
        .stdout.split("\n")
        .filter((name) => name.endsWith(".json"));
    expect(documents()).toEqual(expect.arrayContaining(["identity.json", "seeded.json", "status.json"]));
    for (const file of ["rules.nft", "rules-bridge.nft"])
      writeFileSync(join(state, file), "# what the boot script would load\n");
    expect(reset(folder).status).toBe(0);
    expect(documents()).toContain("identity.json");
    for (const file of ["rules.nft", "rules-bridge.nft"]) expect(existsSync(join(state, file))).toBe(false);
    expect(documents().filter((name) => /^(?:model-|seeded)/.test(name))).toEqual([]);
    expect(reset(folder, "--all").status).toBe(0);
    expect(documents()).toEqual([]);
    expect(readFileSync(join(folder, "spin-usp.conf"), "utf8")).toContain(AGENT_ID);
  }, 60_000);

  test("reset says what it did not understand", () => {
    const run = (...args: string[]) => spawnSync(process.execPath, [bundle(), "reset", ...args], { encoding: "utf8" });
    expect(run("--everything")).toMatchObject({ status: 2, stderr: expect.stringContaining("--everything") });
    expect(run("--config", "/does/not/exist")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("/does/not/exist"),
    });
    expect(run("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("Usage: spin-usp reset") });
  });
});
