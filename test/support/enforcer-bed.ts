/** The test home as the enforcer's contract wants it: real packets, and the kernel's backend inside the gateway. */
import { resolve } from "node:path";
import { NftTransport } from "../../src/enforce/nft-transport.ts";
import { HelperTransport } from "../../src/enforce/helper-transport.ts";
import { NftablesEnforcer } from "../../src/enforce/nftables.ts";
import type { NftablesOptions } from "../../src/enforce/nftables.ts";
import { parsePrefix } from "../../src/lib/address.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Log } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import type { HomeNetwork } from "../../src/spin/ruleset.ts";
import type { EnforcerBed, Outcome } from "../contracts/enforcer.ts";
import { buildHelper } from "../netlink/helper-fixture.ts";
import { GATEWAY, type HomeDevice } from "./home-device.ts";
import { Home } from "./home.ts";
import { ended } from "./namespace.ts";

export const RULESET_FILE = resolve("src/enforce/spin.nft");

export type Backend = "nft" | "helper";

/** Services of the gateway besides its resolver, and a way in from the Internet. */
const EXTRAS = `
insert rule inet fw4 forward iifname "wan" accept
`;
/** UDP 1007 is the echo service under another number. */
const ALIAS = `
table inet alias {
  chain incoming { type nat hook prerouting priority dstnat; policy accept;
    udp dport 1007 redirect to :7
  }
}
`;

export const NETWORK: HomeNetwork = {
  lanInterfaces: ["br-lan"],
  lanPrefixes: ["192.168.77.0/24", "2001:db8:1::/64"]
    .map((text) => parsePrefix(text))
    .filter((one) => one !== undefined),
  gatewayAddresses: [GATEWAY[4], GATEWAY[6]],
  management: [],
};

export interface KernelBed extends EnforcerBed {
  readonly home: Home;
  readonly enforcer: NftablesEnforcer;
  readonly devices: readonly [HomeDevice, HomeDevice];
  /** Another enforcer on the same kernel, as after a restart; the bed closes it. */
  another(options?: Partial<NftablesOptions>): Promise<NftablesEnforcer>;
}

export async function kernelBed(
  backend: Backend,
  options: Partial<NftablesOptions> = {},
  log: Log = silentLog,
): Promise<KernelBed> {
  const home = await Home.up({ devices: 2 });
  await home.nft(EXTRAS);
  await home.nft(ALIAS, home.internet);
  const serve = (...args: string[]) => home.spawn(home.gateway, "socat", args);
  const servers = [
    serve("UDP4-LISTEN:67,fork", "PIPE"),
    serve("TCP4-LISTEN:80,fork,reuseaddr", "PIPE"),
    serve("TCP4-LISTEN:8080,fork,reuseaddr", "PIPE"),
  ];
  const stop = new AbortController();
  const prefix = ["ip", "netns", "exec", home.gateway];
  const running: Promise<void>[] = [];
  const closing: NftablesEnforcer[] = [];
  const another = async (more: Partial<NftablesOptions> = {}) => {
    let transport: NftablesOptions["transport"];
    if (backend === "nft") transport = new NftTransport({ rulesetFile: RULESET_FILE, prefix });
    else {
      const helper = new NetfilterHelper({ command: [...prefix, buildHelper()], rulesetFile: RULESET_FILE, log });
      running.push(helper.run(stop.signal));
      const reason = await helper.usable();
      if (reason !== undefined) throw new Error(`helper: ${reason}`);
      transport = new HelperTransport(helper);
    }
    const enforcer = new NftablesEnforcer({ transport, clock: systemClock, log, ...options, ...more });
    closing.push(enforcer);
    return enforcer;
  };
  const enforcer = await another();
  const devices: [HomeDevice, HomeDevice] = [home.device(1), home.device(2)];
  const deviceOf = (mac: string) => devices.find((device) => device.mac === mac) as HomeDevice;
  const listening = async () => {
    for (const [tcp, port] of [
      [true, 80],
      [true, 8080],
    ] as const) {
      for (let i = 0; i < 50 && tcp; i++) {
        const { stdout } = await home.exec(home.gateway, "ss", ["-Hltn", "sport", "=", String(port)]);
        if (stdout.trim() !== "") break;
      }
    }
  };
  await listening();
  return {
    home,
    enforcer,
    devices,
    network: NETWORK,
    another,
    now: () => Date.now(),
    async ask({ mac }, way, address, port) {
      const device = deviceOf(mac);
      if (way === "icmp") {
        const { stdout } = await device.exec("ping", "-c", "1", "-W", "0.5", "-q", address);
        return stdout.includes(" 1 received") ? "answered" : "silent";
      }
      if (way === "udp") {
        const { received } = await device.udp(address, { waitMs: 250, ...(port === undefined ? {} : { port }) });
        return received > 0 ? "answered" : "silent";
      }
      const { ok, error } = await device.tcp(address, { up: 20, down: 20, timeoutMs: 600 });
      const outcome: Outcome = ok ? "answered" : error === "timeout" ? "silent" : "refused";
      return outcome;
    },
    async askedBy({ mac }, peer) {
      const args = ["-6", "-c", "1", "-W", "0.5", "-q", "-I", peer, deviceOf(mac).ipv6];
      const { stdout } = await home.exec(home.internet, "ping", args, { mayFail: true });
      return stdout.includes(" 1 received") ? "answered" : "silent";
    },
    async send({ mac }, address, count, size) {
      await deviceOf(mac).udp(address, { count, size, port: 11, everyUs: 200, waitMs: 20 });
    },
    async stream({ mac }, kind, address) {
      const stream = deviceOf(mac).stream(kind, address);
      await stream.flowing();
      const someWindow = async (wanted: (packets: number) => boolean) => {
        for (let window = 0; window < 15; window++) if (wanted(await stream.during(100))) return true;
        return false;
      };
      return {
        flows: () => someWindow((packets) => packets > 0),
        stopped: () => someWindow((packets) => packets === 0),
        stop: async () => void (await stream.stop()),
      };
    },
    async resolves({ mac }) {
      return (await deviceOf(mac).resolve("www.example")) !== "";
    },
    async gatewayAnswers({ mac }, service) {
      const device = deviceOf(mac);
      if (service === "dhcp") return (await device.udp(GATEWAY[4], { port: 67, waitMs: 150 })).received > 0;
      const port = service === "web" ? "80" : "8080";
      return (await device.exec("nc", "-z", "-w", "1", GATEWAY[4], port)).code === 0;
    },
    wait: (ms) => new Promise((done) => setTimeout(done, ms)),
    async down() {
      for (const one of closing) await one.close();
      stop.abort();
      await Promise.all(running);
      for (const server of servers) server.kill("SIGKILL");
      await Promise.all(servers.map(ended));
      await home.down();
    },
  };
}
