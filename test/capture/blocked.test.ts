import { BlockedSource } from "../../src/capture/blocked.ts";
import { parseAddress } from "../../src/lib/address.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import {
  addressField,
  concatenateKey,
  macField,
  portField,
  protocolField,
} from "../../src/netlink/nftables-messages.ts";
import type { SetElement } from "../../src/netlink/nftables-messages.ts";
import type { Observation } from "../../src/spin/observation.ts";

const MAC = 0x02aa00000001;
const UP4 = { set: "stopped_up4", outbound: true, family: 4 } as const;
const DOWN6 = { set: "stopped_down6", outbound: false, family: 6 } as const;

const field = (text: string) => {
  const words = parseAddress(text) as Uint32Array;
  return addressField(words, text.includes(":") ? 6 : 4);
};
const element = (own: Uint8Array, peer: string, protocol: number, port: number, packets: number): SetElement => ({
  key: concatenateKey(own, field(peer), protocolField(protocol), portField(port)),
  packets,
  bytes: packets * 100,
});
const up = (peer: string, packets: number, port = 9, mac = MAC) => element(macField(mac), peer, 17, port, packets);

function bench() {
  const told: Extract<Observation, { kind: "blocked" }>[] = [];
  const source = new BlockedSource({ clock: new ManualClock(7000), log: silentLog });
  const take = (set: typeof UP4 | typeof DOWN6, ...elements: SetElement[]) => {
    source.take(set, elements, (one) => told.push(one));
    return told.splice(0);
  };
  return { source, take };
}

describe("what rules stopped", () => {
  test("is told as what came since the last reading: packets, bytes, peer, protocol and port", () => {
    const { take } = bench();
    // What an earlier life has told of.
    expect(take(UP4, up("198.51.100.7", 50))).toEqual([]);
    expect(take(UP4, up("198.51.100.7", 20_050), up("198.51.100.8", 1, 443))).toEqual([
      {
        kind: "blocked",
        time: 7000,
        mac: MAC,
        outbound: true,
        address: "198.51.100.7",
        protocol: 17,
        port: 9,
        packets: 20_000,
        bytes: 2_000_000,
      },
      {
        kind: "blocked",
        time: 7000,
        mac: MAC,
        outbound: true,
        address: "198.51.100.8",
        protocol: 17,
        port: 443,
        packets: 1,
        bytes: 100,
      },
    ]);
    expect(take(UP4, up("198.51.100.7", 20_050), up("198.51.100.8", 1, 443))).toEqual([]);
  });

  test("to a device shows its address, because no frame shows its hardware address", () => {
    const { take } = bench();
    take(DOWN6);
    expect(take(DOWN6, element(field("2001:db8:1::5"), "2001:db8:100::7", 58, 0, 3))).toEqual([
      {
        kind: "blocked",
        time: 7000,
        mac: 0,
        client: "2001:db8:1::5",
        outbound: false,
        address: "2001:db8:100::7",
        protocol: 58,
        port: 0,
        packets: 3,
        bytes: 300,
      },
    ]);
  });

  test("counts whole where the kernel began again, and loses nothing where an element went in between", () => {
    const { take } = bench();
    take(UP4);
    expect(take(UP4, up("198.51.100.7", 10))).toMatchObject([{ packets: 10 }]);
    expect(take(UP4, up("198.51.100.7", 4))).toMatchObject([{ packets: 4 }]);
    expect(take(UP4)).toEqual([]);
    expect(take(UP4, up("198.51.100.7", 5))).toMatchObject([{ packets: 5 }]);
  });

  test("to everybody, by multicast or broadcast, is nobody's peer", () => {
    const { take } = bench();
    take(UP4);
    expect(take(UP4, up("224.0.0.251", 9), up("239.255.255.250", 9), up("255.255.255.255", 9))).toEqual([]);
    expect(take(UP4, up("223.255.255.7", 1), up("240.0.0.1", 1))).toHaveLength(2);
  });

  test("by a device that tries all addresses is told in part and counted, and hides no other device", () => {
    const { source, take } = bench();
    take(UP4);
    const scan = Array.from({ length: 1000 }, (_, i) => up(`198.51.${i >> 8}.${i & 255}`, 1));
    const told = take(UP4, ...scan, up("198.51.100.7", 1, 9, MAC + 1));
    expect([told.length, told.at(-1)?.mac, source.health.passedOver]).toEqual([129, MAC + 1, 872]);
  });

  test("under a key that is none of the set's is left out", () => {
    const { take } = bench();
    take(UP4);
    expect(take(UP4, { key: Uint8Array.of(1, 2, 3), packets: 5, bytes: 5 })).toEqual([]);
  });
});
