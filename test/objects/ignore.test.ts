import { Gateway, PHONE, ROOT, rule, run, tryDelete, value } from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = (await Gateway.start({ secured: ["Operator"] })).withTraffic();
});
afterEach(() => gateway.stop());

const operator = () => gateway.as("Operator");
/** Peers that Query() shows. */
async function peers(Kind: string): Promise<string[]> {
  const output = await run(operator(), `${ROOT}Query()`, { Kind });
  return Object.entries(output)
    .filter(([name]) => /^Row\.\d+\.Address$/.test(name))
    .map(([, address]) => address)
    .sort();
}
const top = () => value(operator(), `${gateway.device(PHONE)}TopDestinations`);

test.each([
  ["an address", { DestinationList: "198.51.100.8" }, ["198.51.100.7"], "secret.example"],
  ["a domain", { DestinationList: "example" }, ["198.51.100.8"], "198.51.100.8"],
  ["everything", { DestinationList: "*" }, [], ""],
  [
    "another port",
    { DestinationList: "*", PortList: "80" },
    ["198.51.100.7", "198.51.100.8"],
    "secret.example,198.51.100.8",
  ],
  [
    "another device",
    { MACAddressList: "02:00:00:00:00:02", DestinationList: "*" },
    ["198.51.100.7", "198.51.100.8"],
    "secret.example,198.51.100.8",
  ],
])("an Ignore rule on %s leaves that out of reports, and of nothing else", async (_, values, shown, names) => {
  const before = await value(operator(), `${gateway.device(PHONE)}Stats.BytesSent`);
  const path = await rule(operator(), { Action: "Ignore", MACAddressList: PHONE, ...values });
  expect(await peers("Flows")).toEqual(shown);
  expect(await peers("Destinations")).toEqual(shown);
  expect(await top()).toBe(names);
  expect(await value(operator(), `${gateway.device(PHONE)}Stats.BytesSent`)).toBe(before);

  await tryDelete(operator(), path);
  expect(await peers("Flows")).toEqual(["198.51.100.7", "198.51.100.8"]);
});
