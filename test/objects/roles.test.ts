import { addOne, get, operation, settle, subscribe } from "../usp/support.ts";
import {
  Gateway,
  idOf,
  PHONE,
  read,
  ROOT,
  rule,
  run,
  told,
  tryAdd,
  tryDelete,
  trySet,
  value,
  type Role,
} from "./support.ts";

let gateway: Gateway;
afterEach(() => gateway.stop());

const NOTHING = 0;
const REFUSED = 7006;

/** What each role may do: 0, or the code that refuses it. */
const MAY: readonly {
  readonly what: string;
  readonly does: (peer: ReturnType<Gateway["as"]>, gateway: Gateway) => Promise<number>;
  readonly codes: Readonly<Record<Role, number>>;
}[] = [
  {
    what: "read the home's totals",
    does: async (peer) => ((await value(peer, `${ROOT}Summary.DeviceCount`)) === "2" ? 0 : 7026),
    codes: { Monitor: 0, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "read a device's counters",
    does: async (peer, { device }) =>
      (await value(peer, `${device.call(gateway, PHONE)}Stats.BytesSent`)) === "1100" ? 0 : 7026,
    codes: { Monitor: 0, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "name a device",
    does: async (peer) => (await trySet(peer, gateway.device(PHONE), { Name: "Phone" })).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "forget a device",
    does: async (peer) => (await tryDelete(peer, gateway.device(PHONE))).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "make a rule",
    does: async (peer) => (await tryAdd(peer, `${ROOT}Rule.`, { MACAddressList: PHONE, DestinationList: "*" })).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "block a device",
    does: (peer) => codeOf(peer, `${gateway.device(PHONE)}Block()`),
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "unblock a device",
    does: (peer) => codeOf(peer, `${gateway.device(PHONE)}Unblock()`),
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "ask for destinations",
    does: (peer) => codeOf(peer, `${ROOT}Query()`, { Kind: "Destinations" }),
    codes: { Monitor: 0, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "switch SPIN off",
    does: async (peer) => (await trySet(peer, ROOT, { Enable: "false" })).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "set the capture's pace",
    does: async (peer) => (await trySet(peer, `${ROOT}Capture.`, { CounterInterval: "7" })).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "lower the privacy ceiling",
    does: async (peer) => (await trySet(peer, ROOT, { PrivacyLevel: "Devices", PrivacyCeiling: "Devices" })).code,
    codes: { Monitor: REFUSED, Operator: REFUSED, Support: REFUSED, Admin: REFUSED, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "subscribe",
    does: async (peer) =>
      (
        await tryAdd(peer, "Device.LocalAgent.Subscription.", {
          Enable: "true",
          ID: "s",
          NotifType: "ValueChange",
          ReferenceList: `${ROOT}Status`,
        })
      ).code,
    codes: { Monitor: REFUSED, Operator: 0, Support: 0, Admin: 0, Resident: 0, Untrusted: 7026 },
  },
  {
    what: "make another controller",
    does: async (peer) => (await tryAdd(peer, "Device.LocalAgent.Controller.", { EndpointID: "self::new" })).code,
    codes: { Monitor: REFUSED, Operator: REFUSED, Support: REFUSED, Admin: 0, Resident: REFUSED, Untrusted: 7026 },
  },
  {
    what: "give itself a role",
    does: async (peer) =>
      (
        await trySet(peer, "Device.LocalAgent.ControllerTrust.", {
          SecuredRoles: gateway.roleRow("Operator"),
        })
      ).code,
    codes: { Monitor: REFUSED, Operator: REFUSED, Support: REFUSED, Admin: 0, Resident: REFUSED, Untrusted: REFUSED },
  },
];

async function codeOf(peer: ReturnType<Gateway["as"]>, command: string, args: Record<string, string> = {}) {
  const content = await peer.ask(operation(command, args));
  if (content.kind === "error") return content.error.errCode;
  const result = content.kind === "response" && content.response.$case === "operateResp" && content.response.value;
  const response = result ? result.operationResults[0]?.operationResp : undefined;
  return response?.$case === "cmdFailure" ? response.value.errCode : NOTHING;
}

describe.each(MAY)("to $what", ({ does, codes }) => {
  test.each(Object.entries(codes))("%s gets %i", async (role, code) => {
    gateway = (await Gateway.start()).withTraffic();
    const peer = role === "Resident" ? gateway.resident : gateway.as(role as Role);
    expect(await does(peer, gateway)).toBe(code);
  });
});

describe("the resident's role", () => {
  test("counts for nothing through the broker", async () => {
    gateway = (await Gateway.start()).withDevices();
    const remote = gateway.add("self::remote", ["Resident"]);
    expect(await value(remote, `${ROOT}Summary.DeviceCount`)).toBeUndefined();
    expect((await trySet(remote, ROOT, { PrivacyCeiling: "Summary", PrivacyLevel: "Summary" })).code).toBe(7026);
    expect((await tryAdd(remote, `${ROOT}Rule.`, { MACAddressList: PHONE })).code).toBe(7026);
  });

  test("adds nothing to an operator's own, through the broker", async () => {
    gateway = (await Gateway.start()).withDevices();
    const both = gateway.add("self::both", ["Operator", "Resident"]);
    expect((await trySet(both, ROOT, { PrivacyCeiling: "Devices", PrivacyLevel: "Devices" })).code).toBe(7006);
    const path = await rule(both, { MACAddressList: PHONE, DestinationList: "*" });
    expect(await read(both, path)).toMatchObject({ Origin: "Controller", Creator: "self::both" });
  });

  test("makes rules of Origin User, through the local door", async () => {
    gateway = (await Gateway.start()).withDevices();
    const path = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "*" });
    expect(await read(gateway.resident, path)).toMatchObject({ Origin: "User", Creator: "self::resident" });
  });

  test("is not another's for coming through the local door", async () => {
    gateway = (await Gateway.start()).withDevices();
    const operator = gateway.atHome(idOf("Operator"));
    const path = await rule(operator, { MACAddressList: PHONE, DestinationList: "*" });
    expect(await read(operator, path)).toMatchObject({ Origin: "Controller" });
    expect((await trySet(operator, ROOT, { PrivacyCeiling: "Devices", PrivacyLevel: "Devices" })).code).toBe(7006);
  });
});

describe("the resident's role, in an Admin's hand", () => {
  const ROWS = "Device.LocalAgent.Controller.";

  test("is given to nobody, neither by Set nor by Add", async () => {
    gateway = await Gateway.start();
    const admin = gateway.as("Admin");
    const roles = `${gateway.roleRow("Admin")},${gateway.roleRow("Resident")}`;
    for (const row of [idOf("Admin"), "self::operator2"])
      expect((await trySet(admin, `${gateway.controllerRow(row)}.`, { AssignedRole: roles })).code).toBe(7006);
    const added = await tryAdd(admin, ROWS, { EndpointID: "self::new", AssignedRole: roles });
    expect(added.code).toBe(7006);
    expect(await value(admin, `${gateway.controllerRow(idOf("Admin"))}.AssignedRole`)).toBe(gateway.roleRow("Admin"));
  });

  test("makes nobody irrevocable who does not come by the resident's door", async () => {
    gateway = await Gateway.start();
    gateway.add("self::remote", ["Admin", "Resident"]);
    const admin = gateway.as("Admin");
    const row = `${gateway.controllerRow("self::remote")}.`;
    expect((await trySet(admin, row, { Enable: "false" })).code).toBe(0);
    expect((await trySet(admin, row, { AssignedRole: gateway.roleRow("Operator") })).code).toBe(0);
    expect((await tryDelete(admin, row)).code).toBe(0);
  });

  test("is not changed under another name of Admin", async () => {
    gateway = await Gateway.start();
    const admin = gateway.as("Admin");
    const all = { Enable: "true", Order: "1", Targets: "Device.", Param: "rw-n", Obj: "rw-n", InstantiatedObj: "rw-n" };
    const role = await tryAdd(admin, "Device.LocalAgent.ControllerTrust.Role.", { Name: "Boss", Enable: "true" });
    expect((await tryAdd(admin, `${role.path}Permission.`, all)).code).toBe(0);
    const boss = gateway.add("self::boss", ["Boss"]);
    const resident = `${gateway.roleRow("Resident")}.`;
    expect((await trySet(boss, resident, { Enable: "false" })).code).toBe(7006);
    expect((await tryDelete(boss, resident)).code).toBe(7006);
  });
});

describe("a role that an Admin makes", () => {
  test("is not the agent's for bearing its name", async () => {
    gateway = (await Gateway.start({ level: "Devices", ceiling: "Devices" })).withTraffic();
    const admin = gateway.as("Admin");
    const mine = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "198.51.100.0/24" });
    const role = (await tryAdd(admin, "Device.LocalAgent.ControllerTrust.Role.", { Name: "Agent", Enable: "true" }))
      .path;
    expect(role).not.toBe("");
    const row = gateway.controllerRow(idOf("Admin"));
    const roles = `${gateway.roleRow("Admin")},${role.slice(0, -1)}`;
    expect((await trySet(admin, `${row}.`, { AssignedRole: roles })).code).toBe(0);
    expect(await value(admin, `${mine}DestinationList`)).toBe("");
    expect((await tryDelete(admin, mine)).code).toBe(7006);
    expect((await tryAdd(admin, `${ROOT}Rule.`, { Origin: "System", MACAddressList: PHONE })).code).toBe(7006);
    expect((await trySet(admin, ROOT, { PrivacyCeiling: "Destinations" })).code).toBe(7006);
  });

  test("does not open the ceiling, whatever its permissions say", async () => {
    gateway = (await Gateway.start({ level: "Devices", ceiling: "Devices" })).withDevices();
    const admin = gateway.as("Admin");
    const added = await tryAdd(admin, `${gateway.roleRow("Admin")}.Permission.`, {
      Enable: "true",
      Order: "1000",
      Targets: `${ROOT}PrivacyCeiling`,
      Param: "rw-n",
    });
    expect(added.code).toBe(0);
    expect((await trySet(admin, ROOT, { PrivacyCeiling: "Destinations" })).code).toBe(7006);
    expect(await value(admin, `${ROOT}PrivacyCeiling`)).toBe("Devices");
    // Nor may it be lowered in the resident's name.
    expect((await trySet(admin, ROOT, { PrivacyLevel: "Summary", PrivacyCeiling: "Summary" })).code).toBe(7006);
  });
});

describe("whoever the agent does not serve", () => {
  test("gets no answer: an unknown endpoint id", async () => {
    gateway = await Gateway.start();
    const stranger = gateway.peer("self::stranger");
    void stranger.ask(get([ROOT]));
    void stranger.ask(addOne(`${ROOT}Rule.`, {}));
    await settle();
    expect(stranger.records).toEqual([]);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("gets no answer: a controller that is disabled", async () => {
    gateway = await Gateway.start();
    const off = gateway.add("self::off", ["Operator"], { Enable: "false" });
    void off.ask(get([ROOT]));
    void off.ask(addOne(`${ROOT}Rule.`, {}));
    await settle();
    expect(off.records).toEqual([]);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("is told nothing more once it is disabled", async () => {
    gateway = await Gateway.start();
    const operator = gateway.as("Operator");
    await subscribe(operator, "ObjectCreation", `${ROOT}Device.`);
    await trySet(gateway.as("Admin"), `${gateway.controllerRow(idOf("Operator"))}.`, { Enable: "false" });
    gateway.withDevices();
    await settle();
    expect(told(operator)).toEqual([]);
  });

  test("sees an empty model with no role but Untrusted", async () => {
    gateway = (await Gateway.start()).withDevices();
    for (const peer of [gateway.as("Untrusted"), gateway.add("self::none", [])]) {
      const { reqPathResults } = await peer.response(get(["Device.", ROOT]), "getResp");
      expect(reqPathResults.flatMap(({ resolvedPathResults }) => resolvedPathResults)).toEqual([]);
    }
  });
});

describe("what each role is told", () => {
  test.each<[Role, boolean]>([
    ["Operator", true],
    ["Support", true],
    ["Admin", true],
  ])("%s hears of new devices: %s", async (role, hears) => {
    gateway = await Gateway.start();
    const peer = gateway.as(role);
    await subscribe(peer, "ObjectCreation", `${ROOT}Device.`);
    await subscribe(peer, "Event", `${ROOT}DeviceDiscovered!`);
    gateway.withDevices();
    await settle();
    expect(told(peer).length > 0).toBe(hears);
  });

  test.each(["Monitor", "Untrusted"])(
    "a subscription that an Admin made for %s's role says no more than its rights",
    async (role) => {
      gateway = (await Gateway.start()).withDevices();
      const peer = gateway.add("self::later", ["Operator"]);
      await subscribe(peer, "ValueChange", gateway.device(PHONE));
      const row = gateway.controllerRow("self::later");
      await trySet(gateway.as("Admin"), `${row}.`, { AssignedRole: gateway.roleRow(role) });
      await trySet(gateway.as("Operator"), gateway.device(PHONE), { Name: "Phone" });
      await settle();
      expect(told(peer)).toEqual(role === "Monitor" ? [`${gateway.device(PHONE)}Name=Phone`] : []);
    },
  );

  test("the outputs of Block() and Unblock() name the rule", async () => {
    gateway = (await Gateway.start()).withDevices();
    const operator = gateway.as("Operator");
    const { Rule } = await run(operator, `${gateway.device(PHONE)}Block()`);
    expect(await read(operator, `${Rule}.`)).toMatchObject({ Creator: idOf("Operator"), Status: "Enabled" });
  });
});
