/** From SPIN's files to what there is to do at the agent: rules and names that are not there yet. */
import { addressesOf, ensureRule, findRule, LISTS, type Row, type Spin1Home, type Wanted } from "./home.ts";
import { LIST_NAMES, type SpinFiles, type StoredNode } from "./files.ts";

export interface Step {
  /** For people. */
  readonly what: string;
  run(): Promise<void>;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** What stands already, so many. */
  readonly done: number;
  /** What can't be said in our model, in words. */
  readonly unmapped: readonly string[];
}

const REASON = "imported from SPIN";

export async function plan(home: Spin1Home, files: SpinFiles): Promise<Plan> {
  const [devices, rules] = [await home.rows("Device"), await home.rows("Rule")];
  const steps: Step[] = [];
  const unmapped: string[] = [];
  const seen = new Set<string>();
  let done = 0;
  const want = (wanted: Wanted, what: string) => {
    const key = JSON.stringify([wanted.action, wanted.macs, wanted.destinations]);
    if (seen.has(key)) return;
    seen.add(key);
    if (findRule(rules, wanted)) done++;
    else steps.push({ what, run: async () => void (await ensureRule(home, rules, wanted)) });
  };
  for (const name of LIST_NAMES)
    for (const address of files.lists[name]) {
      const device = devices.find((row) => addressesOf(row).includes(address));
      const action = LISTS[name];
      if (device) {
        const macs = macOf(device);
        want(
          { action, macs, destinations: ["*"], reason: REASON },
          `${action} device ${macs} (${address} in ${name}.list)`,
        );
      } else
        want(
          { action, macs: "*", destinations: [address], reason: REASON },
          `${action} ${address} for all devices (${name}.list)`,
        );
    }
  for (const [whose, name] of files.names) {
    const device = devices.find((row) => macOf(row) === whose || addressesOf(row).includes(whose));
    if (!device) unmapped.push(`names.conf: no device ${whose} (${JSON.stringify(name)}) is known to the agent`);
    else if (device.values.get("Name") === name) done++;
    else if (device.values.get("Name"))
      unmapped.push(
        `names.conf: ${macOf(device)} is named ${JSON.stringify(device.values.get("Name"))} already, not ${JSON.stringify(name)}`,
      );
    else
      steps.push({
        what: `name ${macOf(device)} ${JSON.stringify(name)}`,
        run: () => home.ask((controller) => controller.write(device.path, { Name: name })),
      });
  }
  for (const { ends } of files.pairs) {
    const [a, b] = ends;
    const device = macOfNode(devices, a);
    const [mac, other] = device === "" ? [macOfNode(devices, b), a] : [device, b];
    const destinations = other.ips;
    if (mac === "") unmapped.push(`nodepair.list ${a.id} ${b.id}: neither is a device of the home`);
    else if (destinations.length === 0) unmapped.push(`nodepair.list ${a.id} ${b.id}: node ${other.id} has no address`);
    else
      want(
        { action: "Block", macs: mac, destinations, reason: REASON },
        `Block between ${mac} and ${destinations.join(", ")} (nodepair.list)`,
      );
  }
  return { steps, done, unmapped };
}

const macOf = ({ values }: Row) => values.get("PhysAddress") ?? "";

/** By MAC address as SPIN kept it, whether the agent has seen it yet or not; else by an address that a device has. */
function macOfNode(devices: readonly Row[], { mac, ips }: StoredNode): string {
  const known = devices.find((row) => addressesOf(row).some((address) => ips.includes(address)));
  return mac !== "" ? mac : known ? macOf(known) : "";
}
