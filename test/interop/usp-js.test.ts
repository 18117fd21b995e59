/**
 * usp-js as a foreign controller over MQTT. It names no topic for its answers, so they go where its row says; and it is
 * ended by a Disconnect Record, which is why that is withheld from it.
 */
import { AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC, type Agent } from "../support/agent.ts";
import { describeUnless } from "../support/needs.ts";
import { runUspJs, uspJsMissing } from "../support/usp-js.ts";
import { answers, Bed, gatewayMissing } from "../gateway/support.ts";

describe.each(["5", "3.1.1"] as const)("MQTT %s:", (version) => {
  describeUnless(uspJsMissing ?? gatewayMissing, "usp-js", () => {
    let bed: Bed;
    let agent: Agent;
    beforeEach(async () => {
      bed = await Bed.up();
      agent = await bed.agent(await bed.folder(), {
        mqttVersion: version === "5" ? "5.0" : version,
        qos: 0,
        role: "Admin",
        controller: { withhold: "Disconnect" },
        args: ["--bench-model", "5"],
      });
      const controller = await bed.controller({ version });
      await answers(controller, agent);
      await controller.close();
    }, 60_000);
    afterEach(() => bed?.down(), 30_000);

    const run = (script: string, onSaid?: (value: unknown) => void) =>
      runUspJs(
        {
          host: "127.0.0.1",
          port: bed.broker.port,
          protocol: "mqtt",
          protocolVersion: version === "5" ? 5 : 4,
          publishEndpoint: AGENT_TOPIC,
          // Over 3.1.1 an endpoint says at the end of the topic where it listens itself (R-MQTT.24).
          subscribeEndpoint: version === "5" ? CONTROLLER_TOPIC : `${CONTROLLER_TOPIC}/#`,
          fromId: CONTROLLER_ID,
          toId: AGENT_ID,
        },
        script,
        onSaid,
      );

    test("reads, writes, adds, lists, runs, is told and deletes", async () => {
      const { said, code } = await run(`
        say({ get: await device.get("Device.LocalAgent.EndpointID") });
        say({ add: await device.add("Device.X_BENCH.Obj.", { Name: "foreign", Value: "1" }) });
        say({ instances: await device.instances("Device.X_BENCH.Obj.") });
        const told = new Promise((resolve) => device.subscribe({
          id: "changes", notif: "ValueChange", reference: ["Device.X_BENCH.Mem"], persistent: false,
        }, (message) => resolve(message)));
        await new Promise((resolve) => setTimeout(resolve, 500));
        await device.set("Device.X_BENCH.Mem", "changed");
        say({ told: await told });
        const [echo] = await device.operate("Device.X_BENCH.Echo()", { isAsync: false });
        say({ run: await echo({ Text: "ab", Times: "2" }) });
        const [wait] = await device.operate("Device.X_BENCH.Wait()");
        say({ waited: await wait({ Seconds: "1" }) });
        say({ proto: await device.supportedProto("1.0,1.1,1.2,1.3,1.4") });
        say({ dm: Object.keys(await device.supportedDM("Device.X_BENCH.", { firstLevelOnly: true })).length > 0 });
        say({ del: await device.del("Device.X_BENCH.Obj.1.") });`);
      const all = JSON.stringify(said);
      expect([code, code === 0 ? "" : all]).toEqual([0, ""]);
      expect(said).toContainEqual({ get: AGENT_ID });
      expect(all).toContain('"Device.X_BENCH.Obj.1."');
      expect(all).toContain("changed");
      expect(all).toContain("abab");
      expect(all).toContain('"Waited"');
      expect(all).toContain("1.4");
      expect(said).toContainEqual({ dm: true });
      expect(all).not.toContain("threw");
    }, 60_000);

    test("outlives the agent's leaving", async () => {
      let stopping: Promise<unknown> | undefined;
      const { said, code } = await run(
        `say({ get: await device.get("Device.LocalAgent.EndpointID") });
        await new Promise((resolve) => setTimeout(resolve, 4000));
        say("lives");`,
        () => void (stopping ??= agent.stop()),
      );
      await stopping;
      expect([code, said.at(-1)]).toEqual([0, "lives"]);
    }, 60_000);
  });
});
