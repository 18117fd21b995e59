import { Flag, ethernet, tcp, udp } from "../../demo/packets.ts";
import { PacketView } from "../../src/capture/decode/packet.ts";
import { LinkType } from "../../src/capture/pcap-format.ts";
import { ServerNames } from "../../src/capture/server-names.ts";
import type { ServerName } from "../../src/capture/server-names.ts";
import { pcapFile } from "../support/capture-formats.ts";
import { crypto, hello, initial, records } from "../support/hello.ts";
import { observeCapture } from "../support/observe-capture.ts";
import { INITIAL_V1 } from "../support/quic-vectors.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";

const DEVICE = "192.168.1.10";
const SERVER = "198.51.100.7";
const MAC = 0x020000000001;
const START = Date.UTC(2026, 0, 15, 12, 0, 0);

class Bench {
  readonly told: ServerName[] = [];
  readonly names = new ServerNames((name) => this.told.push(name));
  readonly #view = new PacketView();
  time = START;

  packet(bytes: Uint8Array): this {
    this.#view.parse(bytes, 0, bytes.length, bytes.length, LinkType.Raw, 0);
    this.names.packet(this.#view, MAC, this.time);
    return this;
  }
  segment(payload: Uint8Array, sequence: number, options: { flags?: number; port?: number; from?: number } = {}): this {
    const { flags = Flag.Ack, port = 443, from = 40_000 } = options;
    return this.packet(tcp(DEVICE, SERVER, { sourcePort: from, destinationPort: port, flags, sequence, payload }));
  }
  datagram(payload: Uint8Array, from = 50_000): this {
    return this.packet(udp(DEVICE, SERVER, from, 443, payload));
  }
}

const stream = records(hello({ name: "cam.example", share: 1800, ech: true }));
const id = Buffer.from("0102030405060708", "hex");

describe("the name of a server in first packets", () => {
  test("of TLS is told with the device's address and the server's", () => {
    const bench = new Bench().segment(records(hello({ name: "cam.example" })), 1001);
    expect(bench.told).toEqual([
      { client: DEVICE, address: SERVER, port: 443, protocol: 6, name: "cam.example", ech: false, mac: MAC },
    ]);
  });

  test("of QUIC is told so too, and over IPv6", () => {
    const bench = new Bench().packet(udp("2001:db8:1::5", "2001:db8:100::7", 50_000, 443, INITIAL_V1));
    expect(bench.told).toEqual([
      {
        client: "2001:db8:1::5",
        address: "2001:db8:100::7",
        port: 443,
        protocol: 17,
        name: "example.com",
        ech: false,
        mac: MAC,
      },
    ]);
  });

  test("of a hello in three segments is told once all are there, whatever their order, and once", () => {
    const parts = [stream.subarray(0, 700), stream.subarray(700, 1400), stream.subarray(1400)];
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [0, 2, 1],
    ]) {
      const bench = new Bench();
      for (const [i, at] of order.entries()) {
        expect(bench.told).toHaveLength(0);
        bench.segment(parts[at] as Uint8Array, 0xffffff00 + 700 * at);
        if (i === 1) bench.segment(parts[at] as Uint8Array, 0xffffff00 + 700 * at);
      }
      expect([order, bench.told.map(({ name, ech }) => [name, ech])]).toEqual([order, [["cam.example", true]]]);
      // What the connection says next is no hello.
      bench.segment(Buffer.alloc(300, 5), 0xffffff00 + stream.length);
      bench.time += 10_000;
      bench.names.sweep(bench.time);
      expect([bench.told.length, bench.names.decodeErrors]).toEqual([1, 0]);
    }
  });

  test("comes with data in the SYN as well, as TCP Fast Open sends it", () => {
    const bench = new Bench().segment(stream.subarray(0, 1000), 99, { flags: Flag.Syn });
    expect(bench.segment(stream.subarray(1000), 1100).told).toHaveLength(1);
  });

  test("of a hello whose end never comes is told after a while, if it was there", () => {
    const early = records(hello({ name: "cam.example" }));
    const bench = new Bench().segment(early.subarray(0, early.length - 3), 1);
    expect(bench.told).toHaveLength(0);
    bench.names.sweep((bench.time += 4000));
    expect(bench.told).toMatchObject([{ name: "cam.example" }]);
    bench.segment(stream.subarray(0, 100), 1, { from: 40_001 });
    bench.names.sweep((bench.time += 4000));
    expect([bench.told.length, bench.names.decodeErrors]).toEqual([1, 1]);
  });

  test("of QUIC in shuffled packets is told when the last is there, with keys of the first id only", () => {
    const message = hello({ name: "cam.example", share: 1500 });
    const server = Buffer.from("a1a2a3a4", "hex");
    const bench = new Bench()
      .datagram(initial([crypto(message, 1000, message.length)], { destinationId: id, number: 1 }))
      // Sent again after the server has chosen an id of its own.
      .datagram(initial([crypto(message, 400, 1000)], { destinationId: server, keysOf: id, number: 2 }));
    expect(bench.told).toHaveLength(0);
    bench.datagram(initial([crypto(message, 0, 400)], { destinationId: id, number: 0 }));
    expect(bench.told).toMatchObject([{ name: "cam.example", protocol: 17 }]);
    expect(bench.names.decodeErrors).toBe(0);
  });

  test("of QUIC after a Retry, with keys made anew, is told", () => {
    const message = hello({ name: "cam.example", share: 1500 });
    const retry = { destinationId: Buffer.from("b1b2b3b4b5b6b7b8", "hex"), token: Buffer.alloc(60, 3) };
    const bench = new Bench()
      .datagram(initial([crypto(message, 0, 1000)], { destinationId: id, number: 0 }))
      .datagram(initial([crypto(message, 0, 1000)], { ...retry, number: 1 }))
      .datagram(initial([crypto(message, 1000, message.length)], { ...retry, number: 2 }));
    expect(bench.told).toMatchObject([{ name: "cam.example" }]);
  });

  test("that is the same for the same server is told once a minute; another one at once", () => {
    const bench = new Bench();
    for (let i = 0; i < 20; i++) bench.segment(records(hello({ name: "cam.example" })), 1, { from: 41_000 + i });
    expect(bench.told).toHaveLength(1);
    bench.segment(records(hello({ name: "other.example" })), 1, { from: 42_000 });
    expect(bench.told).toHaveLength(2);
    bench.time += 61_000;
    bench.segment(records(hello({ name: "other.example" })), 1, { from: 42_001 });
    expect(bench.told).toHaveLength(3);
  });

  test("on other ports, of other protocols and of later packets is not looked for", () => {
    const bench = new Bench()
      .segment(records(hello({ name: "cam.example" })), 1, { port: 8080 })
      .segment(Buffer.from("GET / HTTP/1.1\r\n"), 1)
      .datagram(Buffer.alloc(1200, 0xff))
      .datagram(Buffer.alloc(3));
    expect(bench.told).toHaveLength(0);
  });

  test("costs bounded work: QUIC that is not opened for want of time is counted", () => {
    const bench = new Bench();
    const packets = Array.from({ length: 300 }, (_, i) =>
      initial([crypto(hello({ name: `n${i}.example` }), 0, 300)], {
        destinationId: Buffer.from(`id${i}`.padEnd(8)),
        number: 0,
      }),
    );
    for (const [i, packet] of packets.entries())
      bench.packet(udp(DEVICE, `198.51.${i >> 7}.${i & 127}`, 30_000 + i, 443, packet));
    expect(bench.names.passedOver).toBe(100);
    bench.time += 1000;
    bench.packet(udp(DEVICE, "198.51.100.251", 20_000, 443, INITIAL_V1));
    expect(bench.names.passedOver).toBe(100);
    expect(bench.told.at(-1)?.name).toBe("example.com");
  });

  test("does not come from flows that begin a hello by the thousand and never end it, and they keep little", () => {
    const bench = new Bench();
    for (let i = 0; i < 3000; i++) {
      bench.segment(stream.subarray(0, 500), 1, { from: 1000 + i });
      bench.datagram(initial([crypto(stream, 9, 30)], { destinationId: id, bytes: 200 }), 1000 + i);
      bench.time += 10;
    }
    bench.segment(records(hello({ name: "cam.example" })), 1, { from: 60_000 });
    expect(bench.told.at(-1)).toMatchObject({ name: "cam.example" });
  });
});

describe("a capture that is replayed", () => {
  const PHONE = "02:00:00:00:00:02";
  const GATEWAY = "02:00:00:00:00:FE";
  const at = (index: number, frame: Uint8Array) => ({ timeMs: START + index, bytes: frame });
  const frame = (from: string, to: string, packet: Uint8Array) => ethernet(from, to, packet);

  test("tells the names that its devices ask for, and none that ask a device", async () => {
    const segment = (source: string, server: string, sequence: number, payload?: Uint8Array, syn = false) =>
      tcp(source, server, {
        sourcePort: 40_000,
        destinationPort: 443,
        flags: syn ? Flag.Syn : Flag.Ack,
        sequence,
        ...(payload && { payload }),
      });
    const capture = pcapFile([
      at(0, frame(PHONE, GATEWAY, segment(DEVICE, SERVER, 1, undefined, true))),
      at(1, frame(PHONE, GATEWAY, segment(DEVICE, SERVER, 2, stream.subarray(0, 900)))),
      at(2, frame(PHONE, GATEWAY, segment(DEVICE, SERVER, 902, stream.subarray(900)))),
      at(3, frame(PHONE, GATEWAY, udp(DEVICE, SERVER, 50_000, 443, INITIAL_V1))),
      at(4, frame(GATEWAY, PHONE, segment("198.51.100.99", DEVICE, 1, undefined, true))),
      at(5, frame(GATEWAY, PHONE, segment("198.51.100.99", DEVICE, 2, records(hello({ name: "nas.example" }))))),
    ]);
    const { of } = await observeCapture(capture);
    expect(of("server-name").map(({ kind: _, ...rest }) => rest)).toEqual([
      {
        time: START + 2,
        client: DEVICE,
        mac: 0x020000000002,
        address: SERVER,
        port: 443,
        protocol: 6,
        name: "cam.example",
        ech: true,
      },
      {
        time: START + 3,
        client: DEVICE,
        mac: 0x020000000002,
        address: SERVER,
        port: 443,
        protocol: 17,
        name: "example.com",
        ech: false,
      },
    ]);
  });

  const folder = process.env["SPIN_CAPTURES"];
  const real = folder === undefined ? undefined : join(folder, "benign__ja4_tls-sni.pcapng");
  (real !== undefined && existsSync(real) ? test : test.skip)(
    "of a real client tells what it asked for (needs SPIN_CAPTURES with benign__ja4_tls-sni.pcapng)",
    async () => {
      const { of, source } = await observeCapture(real as string);
      const names = of("server-name");
      expect(names.length).toBeGreaterThan(0);
      for (const { name } of names) expect(name).toMatch(/^[a-z0-9.-]+\.[a-z]+$/);
      expect(source.health.decodeErrors).toBe(0);
    },
  );
});
