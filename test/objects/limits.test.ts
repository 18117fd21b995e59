import { get } from "../usp/support.ts";
import { Gateway, PHONE, print, ROOT, rule, tryAdd, trySet } from "./support.ts";

let gateway: Gateway;
afterEach(() => gateway.stop());

/** A bridge for TR-069 fleets can carry no more. */
const LONGEST = 4095;

test("no value is longer than 4,095 characters, whatever devices, sources and controllers do", async () => {
  const health = {
    status: "Error",
    backend: "b".repeat(64),
    observations: 0,
    lost: 0,
    resyncs: 0,
    decodeErrors: 0,
  } as const;
  const sources = ["conntrack", "dns"].map((name) => ({
    name,
    run: () => Promise.resolve(),
    health: { ...health, lastError: `${name} ${"trouble ".repeat(1000)}` },
  }));
  gateway = await Gateway.start({ sources, level: "Destinations", secured: ["Operator"] });
  const { home } = gateway;
  const operator = gateway.as("Operator");
  for (let i = 0; i < 40; i++)
    home.neighbour(1, `2001:db8:1:0:aaaa:bbbb:cccc:${(0xd000 + i).toString(16)}`).neighbour(1, `192.0.2.${100 + i}`);
  home.lease(1, "192.0.2.11", "n".repeat(5000));
  for (let i = 0; i < 5; i++) {
    const label = "x".repeat(62);
    const to = `198.51.100.${i + 1}`;
    home.answer("192.0.2.11", [`${i}${label}.${label}.${label}.${"y".repeat(60)}`], [to]);
    home.flows({ id: i + 1, from: "192.0.2.11", to, sourcePort: 40000 + i, counters: [1, 1000 * (i + 1), 0, 0] });
  }
  await trySet(operator, gateway.device(PHONE), { Name: "%,".repeat(32) });
  await rule(operator, {
    MACAddressList: Array.from({ length: 227 }, (_, i) => `02:00:00:00:01:${i.toString(16).padStart(2, "0")}`).join(
      ",",
    ),
    DestinationList: Array.from({ length: 200 }, (_, i) => `ü${i}.example`).join(","),
    PortList: Array.from({ length: 32 }, (_, i) => `${10000 + 1000 * i}-${10999 + 1000 * i}`).join(","),
    Protocol: "6",
    Reason: "💬".repeat(256),
  });
  // A rule that very many decide instead of.
  for (let i = 0; i < 250; i++)
    await rule(gateway.resident, { Action: "Allow", MACAddressList: PHONE, DestinationList: `203.0.113.${i}` });
  const all = Array.from({ length: 250 }, (_, i) => `203.0.113.${i}`).join(",");
  await rule(operator, { MACAddressList: PHONE, DestinationList: all });
  await tryAdd(operator, `${ROOT}Rule.`, {
    MACAddressList: "*",
    DestinationList: `${ROOT}List.${"9".repeat(200)}`,
    Enable: "true",
  });
  await gateway.settled();
  gateway.spin.tick();
  const { reqPathResults } = await gateway.resident.response(get([ROOT]), "getResp");
  const values = reqPathResults.flatMap(({ resolvedPathResults }) =>
    resolvedPathResults.flatMap(({ resolvedPath, resultParams }) =>
      [...resultParams].map(([name, text]) => [`${resolvedPath}${name}`, text] as const),
    ),
  );
  expect(values.length).toBeGreaterThan(4000);
  expect(values.filter(([, text]) => text.length > LONGEST).map(([path]) => path)).toEqual([]);
  // The long ones are there, and not merely empty.
  const longest = (name: string) =>
    Math.max(...values.filter(([path]) => path.endsWith(`.${name}`)).map(([, text]) => text.length));
  expect(longest("MACAddressList")).toBeGreaterThan(4000);
  expect(longest("TopDestinations")).toBeGreaterThan(1200);
  expect(longest("IPv6Address")).toBeGreaterThan(200);
  expect(longest("StatusReason")).toBe(1024);
  expect(longest("LastError")).toBe(1024);
  expect(print(values)).toContain("Overruled");
});
