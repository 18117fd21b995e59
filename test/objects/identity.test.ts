/** Who a device is, in both models; and which rows are one, by the resident's word. */
import { subscribe } from "../usp/support.ts";
import {
  CAMERA,
  Gateway,
  hears,
  mac,
  PHONE,
  print,
  read,
  readAll,
  refusal,
  ROOT,
  rule,
  run,
  told,
  tryDelete,
  trySet,
  value,
} from "./support.ts";

const HOSTS = "Device.Hosts.";
const DAY = 24 * 60 * 60_000;

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.start();
});
afterEach(() => gateway.stop());

const says = (index: number, said: object) =>
  gateway.home.tell({
    kind: "identity",
    time: gateway.home.clock.now(),
    mac: mac(index),
    source: "dhcp",
    ...said,
  });

describe("what a device says of itself", () => {
  test("is pushed as it becomes known", async () => {
    const operator = gateway.as("Operator");
    await subscribe(operator, "ValueChange", `${ROOT}Device.`);
    gateway.withDevices();
    says(2, { hostName: "front", mudUrl: "https://mud.example/c.json", vendorClass: "ipcam" });
    const path = gateway.device(CAMERA);
    await hears(operator, `${path}MUDURL=https://mud.example/c.json`);
    expect(told(operator)).toEqual(
      expect.arrayContaining([
        `${path}HostName=front`,
        `${path}Type=Camera`,
        `${path}TypeReason=gives DHCP the vendor class "ipcam"`,
      ]),
    );
  });

  test("and whether a rule ignores it", async () => {
    const operator = gateway.as("Operator");
    gateway.withDevices();
    await subscribe(operator, "ValueChange", `${gateway.device(CAMERA)}Ignored`);
    await rule(operator, { Action: "Ignore", MACAddressList: CAMERA, DestinationList: "*" });
    await hears(operator, `${gateway.device(CAMERA)}Ignored=true`);
    expect(await value(operator, `${gateway.device(PHONE)}Ignored`)).toBe("false");
  });
});

describe("Device.Hosts.", () => {
  test("has the same devices, with what they moved to and from the Internet", async () => {
    gateway.withTraffic();
    gateway.home.lease(1, "192.0.2.11", "phone").neighbour(1, "2001:db8:1::11");
    const { number } = gateway.spin.deviceByMac(mac(1))!;
    const host = (await value(gateway.as("Monitor"), `${gateway.device(PHONE)}Host`)) as string;
    expect(host).toBe(`${HOSTS}Host.${number}`);
    expect(await read(gateway.as("Monitor"), `${host}.`)).toEqual({
      PhysAddress: PHONE,
      IPAddress: "192.0.2.11",
      DHCPClient: "",
      AssociatedDevice: "",
      Layer1Interface: "",
      Layer3Interface: "",
      HostName: "phone",
      Active: "true",
      ActiveLastChange: expect.stringMatching(/^20/) as string,
      IPv4AddressNumberOfEntries: "1",
      IPv6AddressNumberOfEntries: "1",
    });
    expect(await readAll(gateway.as("Monitor"), `${host}.WANStats.`)).toEqual({
      BytesSent: "1100",
      BytesReceived: "3300",
      PacketsSent: "11",
      PacketsReceived: "22",
    });
    expect(await value(gateway.as("Monitor"), `${HOSTS}HostNumberOfEntries`)).toBe("2");
    const search = `${HOSTS}Host.[PhysAddress=="${CAMERA}"].HostName`;
    expect(await value(gateway.as("Monitor"), search)).toBe("");
  });

  test("keeps an address's row while the device has it", async () => {
    gateway.withDevices();
    const { number } = gateway.spin.deviceByMac(mac(1))!;
    const rows = () => {
      const found: string[] = [];
      for (const node of gateway.tree.all(gateway.tree.object(`${HOSTS}Host.{i}.IPv4Address.`)!))
        if (node.path.startsWith(`${HOSTS}Host.${number}.`))
          found.push(`${node.instance} ${gateway.tree.text(node, "IPAddress")}`);
      return found;
    };
    expect(rows()).toEqual(["1 192.0.2.11"]);
    gateway.home.after(1000).neighbour(1, "192.0.2.50");
    expect(rows()).toEqual(["1 192.0.2.11", "2 192.0.2.50"]);
    gateway.home.after(1000).lease(2, "192.0.2.11");
    expect(rows()).toEqual(["2 192.0.2.50"]);
    gateway.home.after(1000).neighbour(1, "192.0.2.51");
    expect(rows()).toEqual(["2 192.0.2.50", "3 192.0.2.51"]);
    const table = `${HOSTS}Host.${number}.IPv4Address.`;
    expect(await value(gateway.as("Monitor"), `${table}[IPAddress=="192.0.2.51"].IPAddress`)).toBe("192.0.2.51");
    expect(await value(gateway.as("Monitor"), `${table}1.IPAddress`)).toBeUndefined();
  });

  test("tells which hosts come, change and go", async () => {
    const operator = gateway.as("Operator");
    for (const kind of ["ObjectCreation", "ObjectDeletion"] as const) await subscribe(operator, kind, `${HOSTS}Host.`);
    await subscribe(operator, "ValueChange", HOSTS);
    gateway.withDevices();
    const path = `${HOSTS}Host.${gateway.spin.deviceByMac(mac(1))!.number}.`;
    await hears(operator, `+${path}`);
    says(1, { hostName: "phone" });
    await hears(operator, `${path}HostName=phone`);
    await tryDelete(operator, gateway.device(PHONE));
    await hears(operator, `-${path}`);
    await hears(operator, `${HOSTS}HostNumberOfEntries=1`);
  });

  test("shows nothing at level Summary, but to the resident", async () => {
    gateway.withTraffic();
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Summary" });
    const monitor = gateway.as("Monitor");
    const operator = gateway.as("Operator");
    for (const kind of ["ObjectCreation", "ObjectDeletion", "ValueChange"] as const)
      await subscribe(operator, kind, kind === "ValueChange" ? HOSTS : `${HOSTS}Host.`);
    gateway.home.neighbour(3, "192.0.2.13");
    says(3, { hostName: "secret-phone" });
    await tryDelete(gateway.resident, gateway.device(PHONE));
    gateway.withTraffic();
    await gateway.settled();
    expect(print(operator.notifies)).not.toMatch(/192\.0\.2|02:00:00|secret-phone|Hosts\.Host\./);
    expect(print(await readAll(monitor, HOSTS))).not.toContain("192.0.2");
    expect(print(await readAll(monitor, "Device."))).not.toContain(PHONE);
    expect(await value(gateway.resident, `${HOSTS}Host.[PhysAddress=="${PHONE}"].IPAddress`)).toBe("192.0.2.11");
  });

  test("can't be written, nor its rows deleted", async () => {
    gateway.withDevices();
    const path = `${HOSTS}Host.${gateway.spin.deviceByMac(mac(1))!.number}.`;
    expect((await trySet(gateway.resident, path, { HostName: "x" })).code).not.toBe(0);
    expect((await tryDelete(gateway.resident, path)).code).not.toBe(0);
  });
});

describe("ForgetDevicesAfter", () => {
  test("forgets what was silent for so many days, as both models are told; what has a name stays", async () => {
    gateway.withDevices();
    const [phone, camera] = [gateway.device(PHONE), gateway.device(CAMERA)];
    const operator = gateway.as("Operator");
    await subscribe(operator, "ObjectDeletion", `${ROOT}Device.`);
    expect(await value(operator, `${ROOT}ForgetDevicesAfter`)).toBe("35");
    await trySet(operator, camera, { Name: "Camera" });
    expect((await trySet(operator, ROOT, { ForgetDevicesAfter: "3" })).code).toBe(0);
    for (let day = 0; day < 2; day++) await gateway.after(DAY);
    expect(await value(operator, `${ROOT}DeviceNumberOfEntries`)).toBe("2");
    await gateway.after(DAY);
    await hears(operator, `-${phone}`);
    expect(await value(operator, `${HOSTS}HostNumberOfEntries`)).toBe("1");
    gateway = await gateway.restart();
    expect(await value(gateway.as("Operator"), `${ROOT}ForgetDevicesAfter`)).toBe("3");
    gateway.home.neighbour(3, "192.0.2.13");
    for (let day = 0; day < 4; day++) await gateway.after(DAY);
    expect(gateway.spin.summary.deviceCount).toBe(1);
  });

  test.each(["-1", "3651", "soon", ""])("is not %j", async (days) => {
    expect((await trySet(gateway.as("Operator"), ROOT, { ForgetDevicesAfter: days })).code).not.toBe(0);
  });
});

describe("MergeInto()", () => {
  const merge = (peer = gateway.resident, into = gateway.device(PHONE)) =>
    run(peer, `${gateway.device(CAMERA)}MergeInto()`, { Device: into });

  test("is the resident's alone", async () => {
    gateway.withDevices();
    for (const role of ["Operator", "Support", "Admin", "Monitor"] as const)
      expect((await refusal(gateway.as(role), `${gateway.device(CAMERA)}MergeInto()`, { Device: "" })).errCode).toBe(
        7006,
      );
  });

  test("makes a rule on either hold for both, is told, and can be undone and unblocked as one", async () => {
    gateway.withDevices();
    const operator = gateway.as("Operator");
    await subscribe(operator, "ValueChange", `${ROOT}Device.`);
    await run(operator, `${gateway.device(PHONE)}Block()`);
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Block", "Pass"]);
    await merge();
    await hears(operator, `${gateway.device(CAMERA)}MergedInto=${gateway.device(PHONE).slice(0, -1)}`);
    expect(gateway.packet(CAMERA, "198.51.100.7")).toBe("Block");
    expect(await value(operator, `${gateway.device(CAMERA)}Blocked`)).toBe("true");
    // Unblocking the one is unblocking the device.
    expect(await run(operator, `${gateway.device(CAMERA)}Unblock()`)).toMatchObject({ Blocked: "false" });
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Pass", "Pass"]);
    await run(operator, `${gateway.device(CAMERA)}Block()`);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    await merge(gateway.resident, "");
    await hears(operator, `${gateway.device(CAMERA)}MergedInto=`);
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Pass", "Block"]);
  });

  test("holds after a restart, and after a crash", async () => {
    gateway.withDevices();
    await merge(gateway.resident, gateway.device(PHONE).slice(0, -1));
    gateway = await gateway.crash();
    expect(await value(gateway.as("Operator"), `${gateway.device(CAMERA)}MergedInto`)).toBe(
      gateway.device(PHONE).slice(0, -1),
    );
  });

  test.each([
    ["itself", () => gateway.device(CAMERA)],
    ["a row that is not there", () => `${ROOT}Device.77`],
    ["what is no device", () => `${ROOT}Summary.`],
    ["a host", () => `${HOSTS}Host.1`],
    ["what is no path", () => "phone"],
    ["a search", () => `${ROOT}Device.*`],
  ])("refuses %s", async (_, into) => {
    gateway.withDevices();
    const { errCode } = await refusal(gateway.resident, `${gateway.device(CAMERA)}MergeInto()`, { Device: into() });
    expect([7022, 7027]).toContain(errCode);
    expect(gateway.spin.deviceByMac(mac(2))!.mergedInto).toBe(0);
  });

  test("refuses a circle", async () => {
    gateway.withDevices();
    await merge();
    const back = await refusal(gateway.resident, `${gateway.device(PHONE)}MergeInto()`, {
      Device: gateway.device(CAMERA),
    });
    expect(back.errCode).toBe(7022);
  });

  test("an operator who deletes a row lifts no rule of the resident's", async () => {
    gateway.withDevices();
    await merge();
    await run(gateway.resident, `${gateway.device(PHONE)}Block()`);
    for (const device of [PHONE, CAMERA]) await tryDelete(gateway.as("Operator"), gateway.device(device));
    gateway.withDevices();
    await gateway.settled();
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Block", "Block"]);
  });
});
