/** The test home itself: what the other end-to-end tests rest on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { BROKER4 } from "../support/home-network.ts";
import { GATEWAY, internetAddress } from "../support/home-device.ts";
import { Home, homeMissing } from "../support/home.ts";
import { list } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { type TcpResult, traffic } from "../support/traffic.ts";

const IPV4_UDP = 28;
const IPV6_UDP = 48;

describeUnless(homeMissing(), "test home", () => {
  let home: Home;
  beforeAll(async () => {
    home = await Home.up({ devices: 3, broker: true });
  });
  afterAll(async () => {
    await home?.down();
  });

  test("a device's MAC address is what the gateway sees", async () => {
    await home.device(1).ping(GATEWAY[4], { count: 1 });
    const { stdout } = await home.exec(home.gateway, "ip", ["neigh", "show", home.device(1).ipv4]);
    expect(stdout.toUpperCase()).toContain("02:AA:00:00:00:01");
  });

  test("IPv4 goes out through NAT and comes back", async () => {
    const result = await home.device(1).tcp("198.51.100.10", { up: 100_000, down: 200_000 });
    expect(result).toMatchObject({ ok: true, sent: 100_000, received: 200_000 });
    const { stdout } = await home.exec(home.gateway, "conntrack", ["-L", "-p", "tcp", "-d", "198.51.100.10"]);
    expect(stdout).toMatch(/src=192\.168\.77\.11 .*src=198\.51\.100\.10 dst=203\.0\.113\.2 /);
  });

  test("IPv6 is routed, and every address of the Internet answers", async () => {
    expect(await home.device(2).tcp("2001:db8:100::10", { down: 50_000 })).toMatchObject({
      ok: true,
      received: 50_000,
    });
    expect(await home.device(2).udp(internetAddress(4711, 6), { count: 20 })).toMatchObject({ sent: 20, received: 20 });
    expect(await home.device(2).udp(internetAddress(4711), { count: 20 })).toMatchObject({ sent: 20, received: 20 });
  });

  test("ICMP and ICMPv6 are answered", async () => {
    expect(await home.device(1).ping("198.51.100.77", { count: 3 })).toBe(3);
    expect(await home.device(1).ping("2001:db8:100::77", { count: 3 })).toBe(3);
  });

  test("names resolve through the gateway: A, AAAA, CNAME chains and wildcards", async () => {
    const device = home.device(1);
    expect(await device.resolve("www.example")).toBe("198.51.100.10");
    expect(await device.resolve("www.example", "AAAA")).toBe("2001:db8:100::10");
    expect(await device.resolve("shop.example")).toBe("198.51.100.11");
    expect(await device.resolve("any.wild.example", "AAAA")).toBe("2001:db8:100::20");
    expect(await device.resolve("n999.fresh.example")).toBe("198.18.103.231");
    expect(await device.resolve("nothing.example")).toBe("");
    expect(await device.raceNames("n%d.fresh.example", 50)).toMatchObject({ resolved: 50, sent: 50, returned: 50 });
  });

  test("a device's own counters are exact, in packets and in IP bytes", async () => {
    const device = home.device(3);
    const before = await device.total();
    await device.udp("198.51.100.30", { count: 40, size: 100 });
    await device.udp("2001:db8:100::30", { count: 30, size: 200 });
    const after = await device.total();
    const bytes = 40 * (100 + IPV4_UDP) + 30 * (200 + IPV6_UDP);
    expect(after.sent.packets - before.sent.packets).toBe(70);
    expect(after.sent.bytes - before.sent.bytes).toBe(bytes);
    expect(after.got).toEqual({ packets: before.got.packets + 70, bytes: before.got.bytes + bytes });
  });

  test("TCP counts the same at the device, in the gateway's conntrack and at the far end", async () => {
    const device = home.device(3);
    await home.exec(home.gateway, "sh", ["-c", "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct"]);
    expect(await device.tcp("198.51.100.31", { up: 300_000, down: 700_000 })).toMatchObject({ ok: true });
    const row = (await device.counted()).find((peer) => peer.address === "198.51.100.31" && peer.protocol === "tcp");
    const { stdout } = await home.exec(home.gateway, "conntrack", ["-L", "-d", "198.51.100.31"]);
    const [up, down] = [...stdout.matchAll(/packets=(\d+) bytes=(\d+)/g)].map((m) => ({
      packets: Number(m[1]),
      bytes: Number(m[2]),
    }));
    expect(row?.sent).toEqual(up);
    expect(row?.got).toEqual(down);
    expect(await home.arrived("198.51.100.31", "tcp")).toEqual(up);
    // MSS 1448 with timestamps: no packet was bigger than the wire.
    expect(down!.packets).toBeGreaterThanOrEqual(Math.ceil(700_000 / 1448));
  });

  test.each(["tcp", "udp", "push", "icmp"] as const)("a stream of %s tells what came in and when", async (kind) => {
    for (const address of ["198.51.100.40", "2001:db8:100::40"]) {
      const stream = home.device(1).stream(kind, address);
      await stream.flowing();
      expect(await stream.during(200)).toBeGreaterThan(10);
      await stream.stop();
      expect(Math.abs(Date.now() - stream.last)).toBeLessThan(2000);
    }
  });

  test("new flows are made at the rate that was asked for", async () => {
    const result = await home.device(1).flows("198.18.0.0", { count: 2000, rate: 4000 });
    expect(result).toMatchObject({ flows: 2000, sent: 2000, failed: 0, received: 2000 });
  });

  test("new TCP connections are made at the rate that was asked for", async () => {
    const result = await home.device(1).connections("198.18.0.0", { count: 500, rate: 1000 });
    expect(result).toMatchObject({ flows: 500, failed: 0, received: 500 });
  });

  test("a device changes its address, takes a privacy address and reconnects", async () => {
    const device = home.device(2);
    await device.changeIPv4("192.168.77.99");
    expect(await device.ping("198.51.100.77", { count: 1 })).toBe(1);
    const old = device.ipv6;
    expect(await device.addPrivacyAddress()).not.toBe(old);
    const { stdout } = await device.exec("ip", "-6", "route", "get", "2001:db8:100::77");
    expect(stdout).toContain(device.ipv6);
    await device.replug(20);
    expect(await device.udp("198.51.100.77")).toMatchObject({ received: 1 });
    expect(await device.udp("2001:db8:100::77")).toMatchObject({ received: 1 });
  });

  test("a device claims another's address by ARP, and the gateway believes it", async () => {
    await home.device(1).ping(GATEWAY[4], { count: 1 });
    await home.device(3).claim(home.device(1).ipv4);
    const { stdout } = await home.exec(home.gateway, "ip", ["neigh", "show", home.device(1).ipv4]);
    expect(stdout.toUpperCase()).toContain(home.device(3).mac);
    await home.device(1).claim(home.device(1).ipv4);
  });

  test("the broker takes connections from the test, from the gateway and again after a kill", async () => {
    const reach = async () => {
      const socket = connect(home.broker.port, home.broker.host);
      await once(socket, "connect");
      // MQTT 3.1.1 CONNECT, client id "t".
      socket.write(Buffer.from("100d00044d5154540402003c000174", "hex"));
      const [answer] = (await once(socket, "data")) as [Buffer];
      socket.destroy();
      return answer.toString("hex");
    };
    expect(await reach()).toBe("20020000");
    await home.broker.kill();
    await home.broker.run();
    expect(await reach()).toBe("20020000");
    // Sixteen bytes that are no MQTT: a broker closes, nobody at all refuses.
    const probe = await traffic<TcpResult>(home.gateway, ["tcp", BROKER4, 0, 0, 1000, 1883]);
    expect(["", "reset"]).toContain(probe.error);
  });

  test("a cut line lets nothing through until it is mended", async () => {
    await home.cut();
    expect(await home.device(1).udp("198.51.100.77", { count: 2 })).toMatchObject({ received: 0 });
    await home.mend();
    expect(await home.device(1).udp("198.51.100.77", { count: 2 })).toMatchObject({ received: 2 });
  });

  test("two homes stand side by side, and one that goes leaves nothing", async () => {
    const other = await Home.up({ devices: 1 });
    expect(await other.device(1).ping("198.51.100.77", { count: 1 })).toBe(1);
    await other.down();
    await other.down();
    expect(list()).not.toContain(other.gateway);
    expect(await home.device(1).ping("198.51.100.77", { count: 1 })).toBe(1);
  });

  test("a test that is killed leaves no namespace behind", async () => {
    const script = `const { Home } = require("./test/support/home.ts"); Home.up({ devices: 1 }).then((h) => console.log(h.gateway)); setInterval(() => {}, 1000)`;
    const loader = ["--require", "./test/support/register.cjs"];
    const child = spawn(process.execPath, [...loader, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const gateway = line.toString().trim();
    expect(list()).toContain(gateway);
    child.kill("SIGKILL");
    const end = Date.now() + 5000;
    while (list().some((name) => name.startsWith(gateway.replace(/-gw$/, ""))) && Date.now() < end)
      await new Promise((done) => setTimeout(done, 50));
    expect(list().filter((name) => name.startsWith(gateway.replace(/-gw$/, "")))).toEqual([]);
  });
});
