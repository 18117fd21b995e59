/** Incidents as controllers see them, and what the agent does about one by itself. */
import { subscribe } from "../usp/support.ts";
import { CAMERA, Gateway, read, ROOT, told, trySet, until, value } from "./support.ts";

let gateway: Gateway;
afterEach(() => gateway.stop());

/** The camera tries telnet at twelve addresses, and nobody answers. */
async function scan(first = 0): Promise<void> {
  for (let host = first; host < first + 12; host++)
    gateway.flows({
      id: 100 + host,
      event: "New",
      from: "192.0.2.12",
      to: `203.0.113.${host + 10}`,
      sourcePort: 41000 + host,
      port: 23,
      counters: [1, 60, 0, 0],
    });
  for (let second = 0; second < 8; second++) await gateway.after(1000);
}

const INCIDENT = `${ROOT}Incident.1.`;

test("a scan becomes a row and an event, in a plain sentence", async () => {
  gateway = (await Gateway.start({ secured: ["Operator"] })).withDevices();
  const operator = gateway.as("Operator");
  await subscribe(operator, "Event", ROOT);
  await scan();
  expect(await read(operator, INCIDENT)).toMatchObject({
    Type: "HostScan",
    Severity: "High",
    Device: gateway.device(CAMERA).slice(0, -1),
    PhysAddress: CAMERA,
    Summary: `${CAMERA} tried to reach 5 addresses in 60 s, and none answered.`,
    State: "Open",
    ActionTaken: "",
    Rule: "",
  });
  expect(JSON.parse((await value(operator, `${INCIDENT}Evidence`)) as string)).toMatchObject({
    Threshold: 10,
    Window: 60,
    Peers: ["203.0.113.14 port 23"],
  });
  await until(() => told(operator).some((each) => each.includes("IncidentOpened!")), "the event");
  expect(await value(operator, `${ROOT}Summary.OpenIncidentCount`)).toBe("1");
  expect(await value(operator, `${gateway.device(CAMERA)}Blocked`)).toBe("false");
});

test("its evidence is secured, its summary is not, and at level Summary there is none of it", async () => {
  gateway = (await Gateway.start({ secured: [] })).withDevices();
  await scan();
  const operator = gateway.as("Operator");
  const row = await read(operator, INCIDENT);
  expect(row).toMatchObject({ Type: "HostScan", Evidence: "" });
  expect(JSON.stringify(row)).not.toContain("203.0.113");
  await subscribe(operator, "Event", ROOT);
  await trySet(operator, ROOT, { PrivacyLevel: "Summary" });
  expect(await read(operator, `${ROOT}Incident.`)).toEqual({});
  await scan(40);
  expect(told(operator).filter((each) => each.includes("Incident"))).toEqual([]);
});

test("an operator closes it; it closes by itself when it has been quiet", async () => {
  gateway = (await Gateway.start()).withDevices();
  await scan();
  const operator = gateway.as("Operator");
  expect(await trySet(operator, INCIDENT, { State: "Acknowledged" })).toMatchObject({ code: 0 });
  await gateway.after(16 * 60_000);
  expect(await value(operator, `${INCIDENT}State`)).toBe("Closed");
  expect(await trySet(gateway.as("Monitor"), INCIDENT, { State: "Open" })).not.toMatchObject({ code: 0 });
});

test("where somebody said so the device is blocked, for a while", async () => {
  gateway = (await Gateway.start()).withDevices();
  const operator = gateway.as("Operator");
  await trySet(operator, `${ROOT}Detection.HostScan.`, { AutoBlock: "true", BlockDuration: "600" });
  await scan();
  expect(gateway.packet(CAMERA, "198.51.100.7")).toBe("Block");
  expect(await read(operator, INCIDENT)).toMatchObject({ ActionTaken: "blocked for 600 s", Rule: `${ROOT}Rule.1` });
  expect(await read(operator, `${ROOT}Rule.1.`)).toMatchObject({ Origin: "System", Action: "Block" });
  await gateway.after(601_000);
  expect(gateway.packet(CAMERA, "198.51.100.7")).not.toBe("Block");
});

test("thresholds are set by controllers and outlive a restart, as incidents do", async () => {
  gateway = (await Gateway.start()).withDevices();
  await trySet(gateway.as("Operator"), `${ROOT}Detection.HostScan.`, { Threshold: "60" });
  await trySet(gateway.as("Operator"), `${ROOT}Detection.PortScan.`, { Enable: "false" });
  await scan();
  expect(gateway.spin.detection.incidents.all()).toEqual([]);
  gateway = await gateway.restart();
  expect(gateway.spin.detection.detectors.fanOut.hostScan).toMatchObject({ enable: true, threshold: 60 });
  expect(gateway.spin.detection.detectors.fanOut.portScan.enable).toBe(false);
  await trySet(gateway.as("Operator"), `${ROOT}Detection.HostScan.`, { Threshold: "10" });
  await scan(100);
  const [incident] = gateway.spin.detection.incidents.all();
  gateway = await gateway.restart();
  expect(gateway.spin.detection.incidents.all()).toEqual([incident]);
});
