/** `spin-usp ctl` with OB-USP-A as the agent, over MQTT: a USP controller of any agent. */
import { runCtl } from "../../src/cli/ctl.ts";
import { hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { describeUnless } from "../support/needs.ts";
import {
  Obuspa,
  OBUSPA_CONTROLLER_ID,
  OBUSPA_CONTROLLER_TOPIC,
  OBUSPA_ID,
  OBUSPA_TOPIC,
  obuspaMissing,
} from "../support/obuspa.ts";

describeUnless(obuspaMissing ?? (hasMosquitto ? undefined : "needs mosquitto"), "ctl with OB-USP-A as agent", () => {
  let broker: Broker;
  let obuspa: Obuspa;

  beforeAll(async () => {
    broker = await startMosquitto({ config: ["set_tcp_nodelay true"] });
    obuspa = await Obuspa.start(broker.port);
    for (let attempt = 0; attempt < 20; attempt++)
      if ((await ctl("get", "Device.LocalAgent.EndpointID", "--timeout", "1s")).code === 0) return;
    throw new Error(`OB-USP-A does not answer: ${obuspa.log.slice(-2000)}`);
  }, 60_000);
  afterAll(async () => {
    await obuspa?.stop();
    await broker?.stop();
  });

  async function ctl(...args: string[]) {
    let [out, err] = ["", ""];
    const settings = {
      broker: broker.url,
      agent: OBUSPA_ID,
      controller: OBUSPA_CONTROLLER_ID,
      "agent-topic": OBUSPA_TOPIC,
      "reply-topic": OBUSPA_CONTROLLER_TOPIC,
    };
    const connection = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const code = await runCtl([...connection, ...args], {
      out: (text) => void (out += text),
      err: (text) => void (err += text),
      env: {},
      signal: AbortSignal.timeout(20_000),
    });
    return { code, out, err };
  }

  test("get, and what is not there", async () => {
    expect(await ctl("get", "Device.LocalAgent.EndpointID")).toMatchObject({
      code: 0,
      out: expect.stringContaining(OBUSPA_ID),
    });
    expect(await ctl("get", "Device.Nowhere.")).toMatchObject({ code: 1, err: expect.stringContaining("7026") });
  });

  test("set", async () => {
    const path = "Device.LocalAgent.Controller.1.ProvisioningCode";
    expect((await ctl("set", `${path}=ctl`)).code).toBe(0);
    expect((await ctl("get", path)).out).toContain("ctl");
  });

  test("add, instances and delete", async () => {
    const added = await ctl("add", "Device.LocalAgent.Subscription.", "ID=ctl", "NotifType=Event", "Enable=false");
    const row = /Device\.LocalAgent\.Subscription\.\d+\./.exec(added.out)?.[0];
    expect([added.code, row]).toEqual([0, expect.any(String)]);
    expect((await ctl("instances", "Device.LocalAgent.Subscription.")).out).toContain(row);
    expect((await ctl("delete", row as string)).code).toBe(0);
    expect((await ctl("instances", "Device.LocalAgent.Subscription.")).out).not.toContain(row);
  });

  test("supported", async () => {
    const { code, out } = await ctl("supported", "Device.LocalAgent.");
    expect(code).toBe(0);
    expect(out).toContain("EndpointID");
  });

  test("subscribe tells a change", async () => {
    const path = "Device.LocalAgent.Controller.1.ProvisioningCode";
    const told = ctl("subscribe", "ValueChange", path, "--count", "1");
    // OB-USP-A looks at values now and then; one that differs from the last is told.
    const changing = (async () => {
      for (let value = 0; value < 3; value++) {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        await ctl("set", `${path}=changed${value}`);
      }
    })();
    const { code, out } = await told;
    await changing;
    expect([code, out]).toEqual([0, expect.stringContaining("changed")]);
  }, 40_000);

  test("words of SPIN say that this agent has none", async () => {
    const { code, err } = await ctl("devices");
    expect(code).toBe(1);
    expect(err).toContain("Device.X_SPIN.");
  });
});
