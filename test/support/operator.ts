/**
 * The operator at the other end of the broker, in the words of the end-to-end tests: devices by MAC address, rules,
 * queries. Everything goes through src/controller and over MQTT.
 */
import type { Agent } from "./agent.ts";
import { Connection } from "./controller.ts";
import { eventually } from "./eventually.ts";

const SPIN = "Device.X_SPIN.";

export interface DeviceStats {
  readonly BytesSent: number;
  readonly BytesReceived: number;
  readonly PacketsSent: number;
  readonly PacketsReceived: number;
  readonly LocalBytesSent: number;
  readonly LocalBytesReceived: number;
  readonly FlowsOpened: number;
  readonly ActiveFlowCount: number;
  readonly DNSQueryCount: number;
  readonly BlockedPackets: number;
  readonly BlockedBytes: number;
}

export interface RuleWish {
  readonly action?: "Block" | "Reject" | "Allow" | "Ignore" | "Count";
  /** MAC addresses; default every device. */
  readonly macs?: readonly string[];
  /** Addresses, prefixes, domains; default everywhere. */
  readonly destinations?: readonly string[];
  readonly protocol?: number;
  readonly ports?: string;
  readonly initiator?: "Any" | "Device" | "Peer";
  /** Seconds from now. */
  readonly forSeconds?: number;
}

export interface RuleState {
  readonly status: string;
  readonly reason: string;
  readonly hitPackets: number;
  readonly hitBytes: number;
}

export class Operator {
  private constructor(
    readonly connection: Connection,
    readonly agent: Agent,
  ) {}

  /** Connects to the broker and waits until the agent answers. */
  static async connect(agent: Agent, broker: { host: string; port: number }): Promise<Operator> {
    const operator = new Operator(await Connection.open(broker), agent);
    await operator.ready();
    return operator;
  }

  /** Waits until the agent answers, as after a restart. */
  async ready(timeoutMs = 15_000): Promise<void> {
    const ask = async () => {
      try {
        return await this.connection.get([`${SPIN}Status`], 500);
      } catch (error) {
        return String(error);
      }
    };
    const answered = eventually(ask, (answer) => answer instanceof Map, { timeoutMs, what: "the agent's answer" });
    await this.agent.unlessItDies(answered);
  }

  /** Waits until capture and enforcement run. */
  async running(): Promise<void> {
    const status = () => this.value(`${SPIN}Status`);
    await eventually(status, (text) => text === "Running" || text === "Degraded", { what: `${SPIN}Status` });
  }

  /** Parameters below the paths, by full path. */
  get(...paths: string[]): Promise<Map<string, string>> {
    return this.connection.get(paths);
  }

  /** One parameter's value. */
  async value(path: string): Promise<string> {
    const values = [...(await this.get(path)).values()];
    if (values.length !== 1) throw new Error(`${path} matched ${values.length} parameters`);
    return values[0] as string;
  }

  /** The row of a device, such as `Device.X_SPIN.Device.3.`; `undefined` if there is none. */
  async deviceRow(mac: string): Promise<string | undefined> {
    const found = await this.get(`${SPIN}Device.[PhysAddress=="${mac}"].PhysAddress`);
    return [...found.keys()][0]?.replace(/PhysAddress$/, "");
  }

  /** Waits for a device's row. */
  async device(mac: string): Promise<string> {
    return (await eventually(() => this.deviceRow(mac), Boolean, { what: `the row of ${mac}` })) as string;
  }

  /** Parameters of a device's row by their names below it. */
  async deviceParameters(mac: string): Promise<Map<string, string>> {
    const row = await this.device(mac);
    return new Map([...(await this.get(row))].map(([path, value]) => [path.slice(row.length), value]));
  }

  async stats(mac: string): Promise<DeviceStats> {
    const row = await this.deviceRow(mac);
    const entries = row ? [...(await this.get(`${row}Stats.`))] : [];
    return Object.fromEntries(entries.map(([path, value]) => [path.split(".").at(-1), Number(value)])) as never;
  }

  /** Adds a rule and waits until it is in force; its path. */
  async addRule(wish: RuleWish): Promise<string> {
    const path = await this.addRuleOnly(wish);
    await this.inForce(path);
    return path;
  }

  addRuleOnly(wish: RuleWish): Promise<string> {
    const { macs = ["*"], destinations = ["*"], action = "Block" } = wish;
    const values: Record<string, string> = {
      Enable: "true",
      Action: action,
      MACAddressList: macs.join(","),
      DestinationList: destinations.join(","),
    };
    if (wish.protocol !== undefined) values["Protocol"] = String(wish.protocol);
    if (wish.ports !== undefined) values["PortList"] = wish.ports;
    if (wish.initiator !== undefined) values["Initiator"] = wish.initiator;
    if (wish.forSeconds !== undefined) {
      const expiry = new Date(Math.ceil(Date.now() / 1000 + wish.forSeconds) * 1000);
      values["ExpiryDate"] = expiry.toISOString().replace(".000Z", "Z");
    }
    return this.connection.add(`${SPIN}Rule.`, values);
  }

  async inForce(path: string): Promise<void> {
    const state = () => this.rule(path);
    await eventually(state, ({ status }) => status === "Enabled", { everyMs: 10, timeoutMs: 5000, what: path });
  }

  async rule(path: string): Promise<RuleState> {
    const values = await this.get(path);
    const of = (name: string) => values.get(`${path}${name}`) ?? "";
    return {
      status: of("Status"),
      reason: of("StatusReason"),
      hitPackets: Number(of("HitPackets")),
      hitBytes: Number(of("HitBytes")),
    };
  }

  async removeRule(path: string): Promise<void> {
    await this.connection.delete(path);
  }

  /** Rows of `Query()`, each by its columns' names. */
  async query(kind: string, filters: Readonly<Record<string, string>> = {}): Promise<Record<string, string>[]> {
    const rows: Record<string, string>[] = [];
    for (let cursor = ""; ;) {
      const input = { Kind: kind, Limit: "500", ...filters, ...(cursor ? { Cursor: cursor } : {}) };
      const output = await this.connection.operate(`${SPIN}Query()`, input);
      const page = new Map<string, Record<string, string>>();
      for (const [key, value] of output) {
        const match = /^Row\.(\d+)\.(.+)$/.exec(key);
        if (!match) continue;
        const row = page.get(match[1] as string) ?? {};
        row[match[2] as string] = value;
        page.set(match[1] as string, row);
      }
      rows.push(...page.values());
      cursor = output.get("NextCursor") ?? "";
      if (!cursor || page.size === 0) return rows;
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
