/**
 * A home in network namespaces: devices behind a bridge, a gateway that masquerades IPv4 and routes IPv6, and an
 * Internet whose every address answers, with names. The agent runs inside the gateway's namespace; the broker is in the
 * Internet; the test itself stays outside and reaches the broker over `home.broker.port`.
 *
 * Several homes may stand side by side. A helper process removes what a home made when its stdin ends, so a home goes
 * even if the test is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HomeDevice, readSets } from "./home-device.ts";
import * as network from "./home-network.ts";
import { HomeBroker } from "./home-broker.ts";
import { type ExecOptions, type ExecResult, ended, exec, start, sweep, uniqueGroup } from "./namespace.ts";
import { missing } from "./needs.ts";
import { trafficTool } from "./traffic.ts";

export interface HomeOptions {
  /** Default 2. */
  readonly devices?: number;
  /** Start an MQTT broker in the Internet. */
  readonly broker?: boolean;
  /** More lines for the Internet's dnsmasq, such as `host-record=name.example,198.51.100.30`. */
  readonly names?: readonly string[];
  /** Seconds; default 60. */
  readonly ttl?: number;
}

/** Why no home can be had here, in words; `undefined` if it can. */
export function homeMissing(): string | undefined {
  return missing("root", "netns", "nft", "dnsmasq", "mosquitto", "ping", "setpriv", "cc");
}

export class Home {
  readonly gateway: string;
  readonly internet: string;
  readonly devices: readonly HomeDevice[];
  /** A folder that goes with the home. */
  readonly folder: string;
  readonly #group: string;
  readonly #reaper: ChildProcess;
  #broker: HomeBroker | undefined;

  private constructor(group: string, folder: string, plans: readonly network.DevicePlan[], reaper: ChildProcess) {
    this.#group = group;
    this.gateway = `${group}-gw`;
    this.internet = `${group}-inet`;
    this.folder = folder;
    this.devices = plans.map((plan) => new HomeDevice(plan, this.gateway));
    this.#reaper = reaper;
  }

  static async up(options: HomeOptions = {}): Promise<Home> {
    sweep();
    const group = uniqueGroup();
    const plans = Array.from({ length: options.devices ?? 2 }, (_, i) => network.devicePlan(group, i + 1));
    const folder = await mkdtemp(join(tmpdir(), "spin-home-"));
    const home = new Home(group, folder, plans, reaper(group, folder, plans));
    try {
      await home.#wire(plans);
      await home.#serve(options);
    } catch (error) {
      await home.down();
      throw error;
    }
    return home;
  }

  /** The first device, the second …; throws for one that the home does not have. */
  device(number: number): HomeDevice {
    const device = this.devices[number - 1];
    if (!device) throw new Error(`the home has ${this.devices.length} devices, not ${number}`);
    return device;
  }

  get broker(): HomeBroker {
    if (!this.#broker) throw new Error("the home has no broker: Home.up({ broker: true })");
    return this.#broker;
  }

  exec(namespace: string, command: string, args: readonly string[] = [], options?: ExecOptions): Promise<ExecResult> {
    return exec(namespace, command, args, options);
  }

  spawn(namespace: string, command: string, args: readonly string[] = []): ChildProcess {
    return start(namespace, command, args);
  }

  /** Loads text into the gateway's nftables, as an administrator or firewall4 would. */
  async nft(text: string, namespace = this.gateway): Promise<void> {
    await exec(namespace, "nft", ["-f", "-"], { input: text });
  }

  /** Loads the gateway's own firewall anew, as firewall4 does: its table goes and comes, no other is touched. */
  async reloadFirewall(): Promise<void> {
    await this.nft(`table inet fw4\ndelete table inet fw4\n${network.FIREWALL}`);
  }

  /** The line to the Internet is dead, silently: packets vanish, connections stay open. */
  async cut(): Promise<void> {
    await this.nft(network.CUT, this.internet);
  }

  async mend(): Promise<void> {
    await this.nft("delete table inet cut", this.internet);
  }

  /** Packets and bytes that reached an address of the Internet since the home came up. */
  async arrived(address: string, protocol?: string): Promise<{ packets: number; bytes: number }> {
    const total = { packets: 0, bytes: 0 };
    for (const elements of (await readSets(this.internet, "arrivals")).values())
      for (const element of elements)
        if (element.key[0] === address && (protocol === undefined || element.key[1] === protocol)) {
          total.packets += element.packets;
          total.bytes += element.bytes;
        }
    return total;
  }

  /** The gateway's lease file, in dnsmasq's format; empty until `writeLeases`. */
  get leases(): string {
    return join(this.folder, "dhcp.leases");
  }

  async writeLeases(leases: readonly { device: HomeDevice; name: string; seconds?: number }[]): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    const lines = leases.map(
      ({ device, name, seconds = 3600 }) => `${now + seconds} ${device.mac.toLowerCase()} ${device.ipv4} ${name} *`,
    );
    await writeFile(this.leases, lines.map((line) => `${line}\n`).join(""));
  }

  /** Removes everything. Calling it twice is fine. */
  async down(): Promise<void> {
    await this.#broker?.close();
    this.#broker = undefined;
    this.#reaper.ref();
    this.#reaper.stdin?.end();
    await ended(this.#reaper);
    await rm(this.folder, { recursive: true, force: true });
  }

  async #wire(plans: readonly network.DevicePlan[]): Promise<void> {
    const { gateway, internet } = this;
    const names = [gateway, internet, ...plans.map((plan) => plan.namespace)];
    await exec(undefined, "ip", ["-batch", "-"], { input: names.map((name) => `netns add ${name}`).join("\n") });
    await Promise.all([
      setSysctl(gateway, network.SYSCTL.gateway),
      setSysctl(internet, network.SYSCTL.internet),
      ...plans.map((plan) => setSysctl(plan.namespace, network.SYSCTL.device)),
    ]);
    await exec(undefined, "ip", ["-batch", "-"], { input: network.links(gateway, internet, plans) });
    const tool = trafficTool();
    const ip = (namespace: string, input: string) => exec(undefined, "ip", ["-n", namespace, "-batch", "-"], { input });
    // Offloads go before links come up, so that no packet is ever bigger than the wire.
    await Promise.all([
      exec(gateway, tool, ["offload", "wan", ...plans.map((plan) => `port${plan.index}`)]),
      exec(internet, tool, ["offload", "isp"]),
      ...plans.map((plan) => exec(plan.namespace, tool, ["offload", "lan"])),
    ]);
    await Promise.all([
      ip(gateway, network.gatewayBatch(plans)).then(() => this.nft(network.FIREWALL)),
      ip(internet, network.internetBatch()).then(() => this.nft(network.ARRIVALS, internet)),
      ...plans.map((plan) =>
        this.nft(network.MEASURE, plan.namespace).then(() => ip(plan.namespace, network.deviceBatch(plan))),
      ),
    ]);
  }

  async #serve(options: HomeOptions): Promise<void> {
    const config = (name: string, text: string) => writeFile(join(this.folder, name), text);
    await mkdir(this.folder, { recursive: true });
    await config("internet.conf", network.internetNames(options.names ?? [], options.ttl ?? 60));
    await config("gateway.conf", network.gatewayNames());
    await this.writeLeases([]);
    const dnsmasq = (namespace: string, file: string) =>
      saying(start(namespace, "dnsmasq", ["-C", join(this.folder, file), "--log-facility=-"]), "started");
    const broker = options.broker ? HomeBroker.start(this.internet) : undefined;
    const servers = [
      saying(start(this.internet, trafficTool(), ["serve"]), "ready"),
      dnsmasq(this.internet, "internet.conf"),
      dnsmasq(this.gateway, "gateway.conf"),
    ];
    const results = await Promise.allSettled([broker?.then((started) => (this.#broker = started)), ...servers]);
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }
}

async function setSysctl(namespace: string, settings: Readonly<Record<string, number>>): Promise<void> {
  const writes = Object.entries(settings).map(
    ([key, value]) => `echo ${value} > /proc/sys/${key.replaceAll(".", "/")}`,
  );
  await exec(namespace, "sh", ["-e", "-c", writes.join("\n")]);
}

/** Resolves once the program prints the word; rejects if it ends before. */
function saying(child: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    const read = (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-8192);
      if (text.includes(word)) resolve();
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${child.spawnargs.join(" ")} exited with ${code}: ${text}`)));
  });
}

/** Waits for the end of its stdin, which comes when we close it or die, and then removes the home. */
function reaper(group: string, folder: string, plans: readonly network.DevicePlan[]): ChildProcess {
  const names = [`${group}-gw`, `${group}-inet`, ...plans.map((plan) => plan.namespace)];
  const script = `cat > /dev/null
for name in ${names.join(" ")}; do
  [ -e /run/netns/$name ] || continue
  for pid in $(ip netns pids $name); do kill -9 $pid 2> /dev/null; done
  ip netns del $name
done
rm -rf ${folder}`;
  const child = spawn("sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  child.unref();
  return child;
}
