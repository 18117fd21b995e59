/** SPIN 1.0's methods, each in terms of our model. Arguments as SPIN checked them: exact in number, by type. */
import { inPrefix, parseAddress, parsePrefix } from "../../lib/address.ts";
import {
  addressesOf,
  addressOf,
  dropFromRules,
  ensureRule,
  isAddress,
  isMeant,
  isPlain,
  list,
  LISTS,
  macOf,
  quoted,
  seconds,
  Spin1Error,
  type ListName,
  type Node,
  type Remote,
  type Row,
  type Spin1Home,
} from "./home.ts";

type Kind = "int" | "string" | "complex";
type Args = Readonly<Record<string, unknown>>;

interface Method {
  readonly args: readonly (readonly [name: string, kind: Kind])[];
  readonly result?: Kind;
  run(home: Spin1Home, args: Args): Promise<unknown>;
}

const REASON = "through SPIN's interface";
const DEVICE_TABLE = "Device.X_SPIN.Device.";
/** The model's longest Name. */
const MAX_NAME = 64;

export const METHODS: Readonly<Record<string, Method>> = {
  list_rpc_methods: {
    args: [],
    result: "complex",
    run: () =>
      Promise.resolve(
        Object.entries(METHODS).map(([name, { args, result = "complex" }]) => ({
          "rpc-name": name,
          "rpc-args": args.map(([arg, kind]) => ({ "rpc-arg-name": arg, "rpc-arg-type": kind })),
          "rpc-result-type": result,
        })),
      ),
  },
  list_devices: { args: [], result: "complex", run: async (home) => (await home.rows("Device")).map(deviceNode) },
  get_device_data: {
    args: [["node", "int"]],
    result: "complex",
    run: async (home, { node }) => {
      const found = await nodeOf(home, node as number);
      return "values" in found ? deviceNode(found) : remoteNode(found);
    },
  },
  list_device_flows: {
    args: [["device", "string"]],
    result: "complex",
    run: async (home, { device }) => {
      const { values } = await deviceOf(home, device as string);
      const rows = await home.query({ Kind: "Destinations", PhysAddress: values.get("PhysAddress") as string });
      const devices = await home.rows("Device");
      return rows.map((row) => {
        const sum = (name: string) => Number(row.get(`${name}Sent`) ?? 0) + Number(row.get(`${name}Received`) ?? 0);
        const lastseen = seconds(row.get("LastSeen"));
        const isIcmp = ["1", "58"].includes(row.get("Protocol") ?? "");
        const to = peerId(home, devices, row.get("Address") ?? "", row.get("Domain") ?? "", lastseen);
        const flow = { to, dst_port: isIcmp ? 0 : Number(row.get("Port") ?? 0), icmp_type: -1 };
        // Counters also of what is blocked: SPIN hid them.
        return {
          ...flow,
          ...(row.get("Blocked") === "true" ? { blocked: 1 } : {}),
          packets: sum("Packets"),
          bytes: sum("Bytes"),
          lastseen,
        };
      });
    },
  },
  set_device_name: {
    args: [
      ["node", "int"],
      ["name", "string"],
    ],
    run: async (home, { node, name }) => {
      const found = await nodeOf(home, node as number);
      if (!("values" in found)) throw new Spin1Error("only devices of the home have names that can be set");
      if ([...(name as string)].length > MAX_NAME) throw new Spin1Error(`a name has at most ${MAX_NAME} characters`);
      await home.ask((controller) => controller.write(found.path, { Name: name as string }));
    },
  },
  node_add_ip: {
    args: [
      ["node", "int"],
      ["ipaddr", "string"],
    ],
    run: async (home, { node, ipaddr }) => {
      const address = addressOf(ipaddr as string);
      const owner = (await home.rows("Device")).find((row) => addressesOf(row).includes(address));
      if (owner) throw new Spin1Error(`${address} is in node ${owner.number} already`);
      if (node === 0) return void home.remote(address);
      const found = await nodeOf(home, node as number);
      if ("values" in found) throw new Spin1Error("a device's addresses are what the network shows");
      if (!home.addAddress(found, address))
        throw new Spin1Error(`${address} is in a node already, or that one is full`);
    },
  },
  add_iplist_node: {
    args: [
      ["list", "string"],
      ["node", "int"],
    ],
    run: (home, { list: name, node }) => changeNode(home, listOf(name as string), node as number, true),
  },
  remove_iplist_node: {
    args: [
      ["list", "string"],
      ["node", "int"],
    ],
    run: (home, { list: name, node }) => changeNode(home, listOf(name as string), node as number, false),
  },
  add_iplist_ip: {
    args: [
      ["list", "string"],
      ["ip", "string"],
    ],
    run: (home, { list: name, ip }) => changeAddress(home, listOf(name as string), ip as string, true),
  },
  remove_iplist_ip: {
    args: [
      ["list", "string"],
      ["ip", "string"],
    ],
    run: (home, { list: name, ip }) => changeAddress(home, listOf(name as string), ip as string, false),
  },
  list_iplist: {
    args: [["list", "string"]],
    result: "complex",
    run: (home, { list: name }) => listed(home, listOf(name as string)),
  },
  reset_iplist_ignore: {
    args: [],
    run: async (home) => {
      for (const address of await listed(home, "ignore")) await changeAddress(home, "ignore", address, false);
    },
  },
  set_flow_block: {
    args: [
      ["node1", "int"],
      ["node2", "int"],
      ["block", "int"],
    ],
    run: async (home, { node1, node2, block }) => {
      const ends = [await nodeOf(home, node1 as number), await nodeOf(home, node2 as number)] as const;
      await flowBlock(home, ends, onOff(block));
    },
  },
  set_device_flow_block: {
    args: [
      ["device", "string"],
      ["node", "int"],
      ["block", "int"],
    ],
    run: async (home, { device, node, block }) => {
      const ends = [await deviceOf(home, device as string), await nodeOf(home, node as number)] as const;
      await flowBlock(home, ends, onOff(block));
    },
  },
  get_flow_block: {
    args: [],
    result: "complex",
    run: async (home) => {
      const devices = await home.rows("Device");
      const pairs = new Map<string, { node1: number; node2: number }>();
      for (const rule of await home.rows("Rule")) {
        if (!isPlain(rule, "Block") || !isMeant(rule)) continue;
        for (const mac of list(rule.values.get("MACAddressList")))
          for (const address of list(rule.values.get("DestinationList")).filter(isAddress)) {
            const device = devices.find(({ values }) => values.get("PhysAddress") === mac);
            if (!device) continue;
            const pair = { node1: device.number, node2: peerId(home, devices, address) };
            pairs.set(`${pair.node1} ${pair.node2}`, pair);
          }
      }
      return [...pairs.values()];
    },
  },
  dots_signal: { args: [["dots_signal", "complex"]], run: (home, { dots_signal }) => dots(home, dots_signal) },
};

export function deviceNode(row: Row): Node {
  const { number: id, values } = row;
  const name = values.get("Name") || values.get("HostName");
  return {
    id,
    ...(name ? { name } : {}),
    mac: (values.get("PhysAddress") ?? "").toLowerCase(),
    ...(values.get("Blocked") === "true" ? { is_blocked: true } : {}),
    lastseen: seconds(values.get("LastSeen")),
    ips: addressesOf(row),
    domains: [],
  };
}

export function remoteNode({ id, ips, domains, lastSeen }: Remote): Node {
  // A name ends with a dot, as SPIN had it.
  return { id, lastseen: lastSeen, ips: [...ips], domains: [...domains].map((domain) => `${domain}.`) };
}

/** Of whoever has the address: a device of the home, else a peer. */
export function peerId(home: Spin1Home, devices: readonly Row[], address: string, domain = "", lastSeen = 0): number {
  const device = address === "" ? undefined : devices.find((row) => addressesOf(row).includes(address));
  return device ? device.number : home.remote(address, domain, lastSeen).id;
}

/** As long as SPIN's lists are: every address of devices, and what stands for all devices. */
export async function listed(home: Spin1Home, name: ListName): Promise<string[]> {
  const devices = await home.rows("Device");
  const found = new Set<string>();
  for (const rule of await home.rows("Rule")) {
    if (!isPlain(rule, LISTS[name]) || !isMeant(rule)) continue;
    const macs = list(rule.values.get("MACAddressList"));
    const where = list(rule.values.get("DestinationList"));
    if (macs.includes("*"))
      for (const each of where) if (isAddress(each) || parsePrefix(each) !== undefined) found.add(each);
    if (where.includes("*"))
      for (const row of devices)
        if (macs.includes(row.values.get("PhysAddress") ?? "")) for (const each of addressesOf(row)) found.add(each);
  }
  return [...found];
}

async function changeNode(home: Spin1Home, name: ListName, id: number, isAdded: boolean): Promise<void> {
  const node = await nodeOf(home, id);
  if ("values" in node) return change(home, name, node.values.get("PhysAddress") as string, "*", isAdded);
  for (const address of node.ips) await change(home, name, "*", address, isAdded);
}

/** An address of the home is its device's: a rule by MAC holds when the address changes. */
export async function changeAddress(home: Spin1Home, name: ListName, ip: string, isAdded: boolean): Promise<void> {
  const address = addressOf(ip);
  const owner = (await home.rows("Device")).find((row) => addressesOf(row).includes(address));
  if (owner) await change(home, name, owner.values.get("PhysAddress") as string, "*", isAdded);
  // Also what was said of the address before it was known to be a device's.
  if (!owner || !isAdded) await change(home, name, "*", address, isAdded);
}

async function change(home: Spin1Home, name: ListName, macs: string, where: string, isAdded: boolean): Promise<void> {
  const rules = await home.rows("Rule");
  const wanted = { action: LISTS[name], macs, destinations: [where], reason: REASON };
  if (isAdded) await ensureRule(home, rules, wanted);
  else await dropFromRules(home, rules, wanted);
}

async function flowBlock(home: Spin1Home, [a, b]: readonly [Row | Remote, Row | Remote], isOn: boolean): Promise<void> {
  const [device, other] = "values" in a ? [a, b] : [b, a];
  if (!("values" in device)) throw new Spin1Error("one of the two has to be a device of the home");
  const destinations = "values" in other ? addressesOf(other) : [...other.ips];
  if (destinations.length === 0) throw new Spin1Error("the other has no address");
  const macs = device.values.get("PhysAddress") as string;
  const wanted = { action: "Block", macs, destinations, reason: REASON };
  const rules = await home.rows("Rule");
  if (isOn) await ensureRule(home, rules, wanted);
  else await dropFromRules(home, rules, wanted);
}

async function nodeOf(home: Spin1Home, id: number): Promise<Row | Remote> {
  const found = home.remoteById(id) ?? (await home.rows("Device")).find(({ number }) => number === id);
  if (!found) throw new Spin1Error("Unknown node id");
  return found;
}

async function deviceOf(home: Spin1Home, mac: string): Promise<Row> {
  const wanted = macOf(mac);
  const found = (await home.rows("Device")).find(({ values }) => values.get("PhysAddress") === wanted);
  if (!found) throw new Spin1Error(`there is no device ${wanted}`);
  return found;
}

/** SPIN compared as many letters as were given. */
function listOf(text: string): ListName {
  const found = (Object.keys(LISTS) as ListName[]).filter((name) => text !== "" && name.startsWith(text));
  if (found.length !== 1) throw new Spin1Error(`${quoted(text)} is no list: block, ignore or allow`);
  return found[0] as ListName;
}

function onOff(value: unknown): boolean {
  if (value !== 0 && value !== 1) throw new Spin1Error("block is 0 or 1");
  return value === 1;
}

/** Scopes, prefixes and port ranges of one signal. */
const MAX_PARTS = 32;
const SCOPE = "ietf-dots-signal-channel:mitigation-scope";

/** A call for help of the provider's (draft-ietf-dots-signal-call-home): devices that spoke to the target are blocked, for the scope's lifetime. */
async function dots(home: Spin1Home, signal: unknown): Promise<void> {
  const scopes = partsOf(object(object(signal)[SCOPE])["scope"]);
  if (scopes.length === 0) throw new Spin1Error(`dots_signal has no ${SCOPE} with a scope`);
  for (const each of scopes) {
    const scope = object(each);
    const prefixes = partsOf(scope["target-prefix"]).map((text) => {
      const prefix = parsePrefix(String(text));
      if (!prefix) throw new Spin1Error(`target-prefix ${quoted(String(text))} is no prefix`);
      return prefix;
    });
    if (prefixes.length === 0) throw new Spin1Error("a scope needs a target-prefix");
    const ports = partsOf(scope["target-port-range"]).map((range) => {
      const lower = Number(object(range)["lower-port"]);
      return [lower, Number(object(range)["upper-port"] ?? lower)] as const;
    });
    const lifetime = Number(scope["lifetime"] ?? 3600);
    if (!Number.isInteger(lifetime) || lifetime < 0 || lifetime > 31_536_000)
      throw new Spin1Error("lifetime is a number of seconds, at most a year; 0: for good");
    const rows = await home.query({ Kind: "Destinations" });
    const guilty = new Set(
      rows
        .filter((row) => {
          const port = Number(row.get("Port") ?? 0);
          const isPort = ports.length === 0 || ports.some(([lower, upper]) => lower <= port && port <= upper);
          const words = parseAddress(row.get("Address") ?? "");
          return isPort && words !== undefined && prefixes.some((prefix) => inPrefix(prefix, words));
        })
        .map((row) => row.get("PhysAddress") as string),
    );
    for (const mac of guilty)
      await home.ask((controller) =>
        controller.run(`${DEVICE_TABLE}[PhysAddress=="${mac}"].Block()`, {
          Duration: `${lifetime}`,
          Reason: "the provider's call for help (DOTS)",
        }),
      );
  }
}

function object(value: unknown): Args {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Spin1Error("dots_signal is not of the form that draft-ietf-dots-signal-call-home has");
  return value as Args;
}

function partsOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_PARTS)
    throw new Spin1Error(`a part of dots_signal is no list of at most ${MAX_PARTS}`);
  return value;
}
