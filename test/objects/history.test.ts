/** `History.` of devices and of the home, as controllers see it. */
import { CAMERA, Gateway, PHONE, read, ROOT, run, told, trySet, value } from "./support.ts";
import { SpinDeviceHistory } from "../../datamodel/spin-history.ts";
import { subscribe } from "../usp/support.ts";

const HOME = `${ROOT}Summary.History.`;

let gateway: Gateway;
afterEach(() => gateway.stop());

async function minutes(count: number): Promise<void> {
  for (let second = 0; second < 60 * count; second++) {
    gateway.home.after(1000);
    gateway.spin.tick();
  }
  await gateway.settled();
}

const list = async (path: string) => ((await value(gateway.as("Monitor"), path)) as string).split(",").map(Number);

test("lists of 60 minutes, 48 hours and 35 days, in TR-181's idiom", async () => {
  gateway = (await Gateway.start()).withTraffic();
  await minutes(2);
  const minute = await read(gateway.as("Monitor"), `${gateway.device(PHONE)}History.Minute.`);
  const zeros = (count: number) => Array<number>(count).fill(0).join(",");
  expect(minute).toEqual({
    SampleInterval: "60",
    ReportEndTime: "2026-01-01T00:02:00Z",
    BytesSent: `${zeros(58)},1100,0`,
    BytesReceived: `${zeros(58)},3300,0`,
    BlockedPackets: zeros(60),
    SuspectData: `${zeros(58).replaceAll("0", "1")},0,0`,
  });
  for (const [span, seconds, samples] of [
    ["Hour", "3600", 48],
    ["Day", "86400", 35],
  ] as const) {
    const row = await read(gateway.as("Monitor"), `${HOME}${span}.`);
    expect(row).toMatchObject({ SampleInterval: seconds, ReportEndTime: "2026-01-01T00:00:00Z" });
    expect(row["SuspectData"]).toBe(zeros(samples).replaceAll("0", "1"));
  }
  expect((await list(`${HOME}Minute.BytesSent`)).slice(-2)).toEqual([1100, 0]);
});

test("what rules stopped stands there, at the device and at the home", async () => {
  gateway = (await Gateway.start()).withDevices();
  await run(gateway.as("Operator"), `${gateway.device(CAMERA)}Block()`);
  for (let packet = 0; packet < 3; packet++) expect(gateway.packet(CAMERA, "198.51.100.7")).toBe("Block");
  await gateway.spin.harvest();
  await minutes(1);
  expect((await list(`${gateway.device(CAMERA)}History.Minute.BlockedPackets`)).at(-1)).toBe(3);
  expect((await list(`${HOME}Minute.BlockedPackets`)).at(-1)).toBe(3);
  expect((await list(`${gateway.device(PHONE)}History.Minute.BlockedPackets`)).at(-1)).toBe(0);
});

test("at level Summary the home's is told and the devices' are not", async () => {
  gateway = (await Gateway.start()).withTraffic();
  const device = gateway.device(PHONE);
  await minutes(1);
  await trySet(gateway.as("Operator"), ROOT, { PrivacyLevel: "Summary" });
  const monitor = gateway.as("Monitor");
  expect(await read(monitor, `${ROOT}Device.*.History.`)).toEqual({});
  expect(await value(monitor, `${device}History.Minute.BytesSent`)).toBeUndefined();
  expect((await list(`${HOME}Minute.BytesSent`)).at(-1)).toBe(1100);
  expect((await read(gateway.resident, `${device}History.Minute.`))["BytesSent"]).toContain("1100");
});

test("nobody is told that it changed: it always does", async () => {
  gateway = (await Gateway.start()).withTraffic();
  const operator = gateway.as("Operator");
  await subscribe(operator, "ValueChange", ROOT);
  await minutes(2);
  expect(told(operator).filter((each) => each.includes("History"))).toEqual([]);
});

test("it outlives a restart, and a device that is forgotten takes its own along", async () => {
  gateway = (await Gateway.start()).withTraffic();
  await minutes(1);
  const device = gateway.device(PHONE);
  const before = await read(gateway.as("Monitor"), `${device}History.Minute.`);
  gateway = await gateway.restart();
  expect(await read(gateway.as("Monitor"), `${device}History.Minute.`)).toEqual(before);
  await gateway.spin.forget(gateway.spin.deviceByMac(0x020000000001)?.number as number);
  expect(await value(gateway.as("Monitor"), `${device}History.Minute.BytesSent`)).toBeUndefined();
  expect((await list(`${HOME}Minute.BytesSent`)).at(-1)).toBe(1100);
});

test("no list is longer than a value may be, whatever was moved", async () => {
  gateway = await Gateway.start();
  for (const { params } of Object.values(SpinDeviceHistory))
    if ("BytesSent" in params)
      for (const { type } of [params.BytesSent, params.BytesReceived, params.BlockedPackets]) {
        const { maxItems } = type.facets.list as { maxItems: number };
        const text = type.print(Array<number>(maxItems).fill(Number.MAX_SAFE_INTEGER));
        expect(text.length).toBeLessThan(4096);
        expect(type.parse(text)).toHaveLength(maxItems);
      }
});
