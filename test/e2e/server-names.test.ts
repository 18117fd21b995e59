/**
 * Peers that a device never asked DNS for have the names that it says itself, in TLS and QUIC; and what rules stop is told
 * in sums, whatever a device floods.
 */
import { readFileSync } from "node:fs";
import { eventually } from "../support/eventually.ts";
import { crypto, hello, initial } from "../support/hello.ts";
import { selfSigned } from "../support/certificates.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const TLS4 = "198.51.100.71";
const TLS6 = "2001:db8:100::71";
const QUIC = "198.51.100.72";
const HIDDEN = "198.51.100.73";
const FLOODED = "198.51.100.74";

describeUnless(sceneMissing() ?? missing("openssl", "socat"), "names that devices say themselves", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 4, agent: { capture: { counter_interval: "1" } } });
    await s.operator.connection.set("Device.X_SPIN.", { PrivacyLevel: "Destinations" });
    const { cert, key } = selfSigned(s.home.folder, "server", { host: "server.example" });
    for (const [family, address] of [
      ["-4", "127.0.0.1:443"],
      ["-6", "[::1]:443"],
    ] as const) {
      s.home.spawn(s.home.internet, "openssl", ["s_server", family, "-accept", "443", "-cert", cert, "-key", key]);
      const args = ["s_client", "-connect", address, "-brief"];
      const listens = () => s.home.exec(s.home.internet, "openssl", args, { mayFail: true });
      await eventually(listens, ({ code }) => code === 0, { what: "the server" });
    }
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  const handshake = (device: number, address: string, name: string, seconds = 5) =>
    s.home.exec(
      s.home.device(device).namespace,
      "openssl",
      [
        "s_client",
        "-connect",
        `${address.includes(":") ? `[${address}]` : address}:443`,
        "-servername",
        name,
        "-brief",
      ],
      { mayFail: true, timeoutMs: seconds * 1000 },
    );

  /** Sends datagrams from one port. */
  const send = (device: number, address: string, datagrams: readonly Uint8Array[], from: number) =>
    s.home.exec(s.home.device(device).namespace, "sh", [
      "-e",
      "-c",
      datagrams
        .map(
          (one) =>
            `echo ${Buffer.from(one).toString("base64")} | base64 -d | socat -b 65000 -u - UDP4-DATAGRAM:${address}:443,bind=:${from}`,
        )
        .join("\n"),
    ]);

  async function named(device: number, address: string, kind = "Destinations"): Promise<string[]> {
    const read = async () => {
      const rows = await s.operator.query(kind, { PhysAddress: s.home.device(device).mac, Destination: address });
      return rows.find((row) => row["Domain"] !== "");
    };
    const row = await eventually(read, Boolean, { what: `a name for ${address}`, timeoutMs: 8000 });
    return [String(row?.["Domain"]), String(row?.["DomainSource"])];
  }

  test("in TLS stand on the destination, over IPv4 and IPv6, and on the flow", async () => {
    await Promise.all([handshake(1, TLS4, "hard.coded.example"), handshake(1, TLS6, "six.example")]);
    expect(await named(1, TLS4)).toEqual(["hard.coded.example", "TLS"]);
    expect(await named(1, TLS6)).toEqual(["six.example", "TLS"]);
    expect(await named(1, TLS4, "Flows")).toEqual(["hard.coded.example", "TLS"]);
  });

  test("in QUIC stand there too, of a hello in two packets", async () => {
    const message = hello({ name: "quic.example", share: 1500 });
    const id = Buffer.from("8394c8f03e515708", "hex");
    const second = initial([crypto(message, 900, message.length), crypto(message, 0, 30)], {
      destinationId: id,
      number: 1,
    });
    const first = initial([crypto(message, 30, 900)], { destinationId: id, number: 0 });
    await send(1, QUIC, [second, first], 51_000);
    expect(await named(1, QUIC)).toEqual(["quic.example", "QUIC"]);
  });

  test("are counted by their source, which says that it runs", async () => {
    const rows = await s.operator.get('Device.X_SPIN.Capture.Source.[Name=="first-packets"].');
    const value = (name: string) => [...rows].find(([path]) => path.endsWith(`.${name}`))?.[1];
    expect([value("Status"), value("Backend"), Number(value("Observations")) >= 3]).toEqual([
      "Running",
      "helper",
      true,
    ]);
  });

  test("under a rule that blocks the name end the connection, though nobody resolved it", async () => {
    await s.operator.addRule({ macs: ["*"], destinations: ["secret.example"] });
    await handshake(2, HIDDEN, "www.secret.example", 2);
    // Once it has said so, the address is closed to this device, and open to others.
    const again = () => handshake(2, HIDDEN, "www.secret.example", 1);
    await eventually(again, ({ code }) => code !== 0, { what: "the block", everyMs: 50 });
    expect((await again()).code).not.toBe(0);
    expect((await handshake(3, HIDDEN, "other.example")).stderr).toContain("CONNECTION ESTABLISHED");
  });

  test("matter not when a blocked device floods: the agent stays, its counters are exact, and others' blocks are seen", async () => {
    const [flooder, other] = [s.home.device(4), s.home.device(1)];
    const rule = await s.operator.addRule({ macs: [flooder.mac], destinations: ["*"] });
    await s.operator.addRule({ macs: [other.mac], destinations: ["198.51.100.75"] });
    const cpuBefore = cpuMs(s.agent.pid);
    const { sent } = await flooder.blast(FLOODED, 20_000);
    await other.udp("198.51.100.75", { count: 5, port: 11, waitMs: 1 });
    const counted = async () => {
      const { BlockedPackets } = await s.operator.stats(flooder.mac);
      const set = await s.home.exec(s.home.gateway, "nft", ["list", "set", "inet", "spin_usp", "dropped_up"]);
      const kernel = new RegExp(`${flooder.mac.toLowerCase()} counter packets (\\d+)`).exec(set.stdout);
      return [BlockedPackets, Number(kernel?.[1])];
    };
    // What it sent by itself was dropped too: the kernel's count is the measure.
    const isExact = ([agent = 0, kernel]: number[]) => agent >= 20_000 && agent === kernel;
    await eventually(counted, isExact, { what: "the packets that were dropped" });
    expect((await s.operator.stats(other.mac)).BlockedPackets).toBe(5);
    expect(cpuMs(s.agent.pid) - cpuBefore).toBeLessThan(2000);
    const log = async (mac: string) => await s.operator.query("Blocked", { PhysAddress: mac });
    const told = async () => (await log(flooder.mac)).find((row) => row["Address"] === FLOODED);
    const row = await eventually(told, Boolean, { what: "the sum of what was stopped", timeoutMs: 12_000 });
    expect(row).toMatchObject({ Initiator: "Device", Protocol: "17", Port: "11" });
    // One went before those that the device counted.
    expect(row?.["PacketsSent"]).toBe(String(sent + 1));
    expect(row?.["Rule"]).toBe(rule.replace(/\.$/, ""));
    expect(await log(other.mac)).toMatchObject([{ Address: "198.51.100.75", PacketsSent: "5" }]);
    // A peer each, and what devices ask of the gateway: not packet by packet.
    const source = await s.operator.value('Device.X_SPIN.Capture.Source.[Name=="blocked"].Observations');
    expect(Number(source)).toBeLessThan(30);
  });
});

/** Time on a core, of the process and its threads. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
