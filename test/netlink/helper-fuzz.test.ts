/** Random and mutated requests at a helper built with the sanitizers: it must refuse, and live, and touch only our table. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseAddress } from "../../src/lib/address.ts";
import { batch } from "../../src/netlink/batch.ts";
import { deleteTuple } from "../../src/netlink/conntrack-messages.ts";
import { encodeFrame, FrameReader, RequestKind, words } from "../../src/netlink/frames.ts";
import { addElements, deleteElements, dumpElements, type SetReference } from "../../src/netlink/nftables-messages.ts";
import { framesPayload } from "../../src/netlink/packet-frames.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { Bench, buildHelper, exited, helperMissing } from "./helper-fixture.ts";

const SET: SetReference = { family: "inet", table: "spin_usp", set: "tuples" };
const TABLES = `table inet other {
	set tuples {
		type ether_addr . ipv4_addr
		flags interval,timeout
	}
}
table ip spin_usp {
	set tuples {
		type ether_addr . ipv4_addr
		flags interval,timeout
	}
}`;
const SECONDS = 4;

/** mulberry32: the same bytes for the same seed. */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 4294967296) * below);
  };
}

describeUnless(helperMissing(), "the helper, fuzzed", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 20260101);
  test(`lives through ${SECONDS} s of hostile requests and touches no other table (seed ${seed})`, async () => {
    const bench = await Bench.up();
    await exec(bench.namespace, "ip", ["link", "add", "near", "type", "veth", "peer", "name", "far"]);
    await bench.nft(TABLES.replaceAll("\t", " "));
    await bench.nft("table inet spin_usp { set tuples { type ether_addr . ipv4_addr; flags interval, timeout; }\n}");
    const before = await bench.list("ruleset");
    const below = random(seed);
    const key = (last: number) => Uint8Array.of(2, 0, 0, 0, 0, last, 0, 0, 192, 0, 2, last);
    const tuple = deleteTuple({
      family: 4,
      protocol: 6,
      source: parseAddress("192.0.2.1") as Uint32Array,
      destination: parseAddress("192.0.2.2") as Uint32Array,
      sourcePort: 1,
      destinationPort: 2,
      id: 3,
    });
    const seeds: [number, Uint8Array][] = [
      [
        RequestKind.Transact,
        batch(
          addElements(SET, [
            { key: key(1), keyEnd: key(9), timeout: 5000, verdict: { jump: "c" } },
            { key: key(20), keyEnd: key(21) },
          ]),
        ),
      ],
      [
        RequestKind.Transact,
        batch([
          ...addElements(SET, [{ key: key(1), keyEnd: key(9), timeout: 60_000 }]),
          ...deleteElements(SET, [{ key: key(1), keyEnd: key(9) }]),
        ]),
      ],
      [RequestKind.DeleteConntrack, Buffer.concat([tuple, tuple])],
      [RequestKind.DumpSet, dumpElements(SET)],
      [RequestKind.DumpConntrack, words(4, 0)],
      [RequestKind.DumpRoute, words(18, 0)],
      [RequestKind.Route, words(1)],
      [RequestKind.PacketLog, words(5, 100, 1, 0)],
      [RequestKind.Forget, words(1)],
      [RequestKind.Hold, Buffer.from("lo".padEnd(16, "\0") + "lan0".padEnd(16, "\0"))],
      [RequestKind.Release, words(1)],
      [RequestKind.Frames, framesPayload({ interface: "near", filter: { kind: "home" } })],
      [RequestKind.Frames, framesPayload({ interface: "near", filter: { kind: "device", mac: 2 }, snapLength: 99 })],
    ];
    const hostile = (): Buffer => {
      const [kind, payload] = seeds[below(seeds.length)] as [number, Uint8Array];
      let bytes = Uint8Array.from(payload);
      if (below(8) === 0) bytes = Uint8Array.from({ length: below(300) }, () => below(256));
      for (let edits = below(6); edits > 0 && bytes.length > 0; edits--) {
        const at = below(bytes.length);
        const how = below(4);
        if (how === 0) bytes[at] = below(256);
        else if (how === 1) bytes[at] = (bytes[at] as number) ^ (1 << below(8));
        else if (how === 2) bytes = bytes.slice(0, at);
        else bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(below(at + 1))]);
      }
      const frame = encodeFrame(below(20) === 0 ? below(17) : kind, below(1000), bytes);
      return frame;
    };
    const lying = (): Buffer => {
      const frame = hostile();
      // What follows is then read as another frame, of any length.
      if (below(50) === 0) frame.writeUInt32LE(below(400), 0);
      return frame;
    };
    const { sent, answers } = await pelt(bench.namespace, hostile, SECONDS * 1000);
    expect(answers).toBeGreaterThan(sent / 4);
    for (let i = 0; i < 5; i++) await pelt(bench.namespace, lying, 100);
    await bench.nft("flush set inet spin_usp tuples");
    expect(await bench.list("ruleset")).toBe(before);
    await bench.down();
  }, 60_000);
});

/** Sends what `make` makes for that long to a helper of its own, which must live and then end well. */
async function pelt(namespace: string, make: () => Buffer, ms: number): Promise<{ sent: number; answers: number }> {
  const child = spawn("ip", ["netns", "exec", namespace, buildHelper(true)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ASAN_OPTIONS: "detect_leaks=0" },
  });
  let stderr = "";
  let answers = 0;
  let sent = 0;
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.on("error", () => undefined);
  const reader = new FrameReader();
  child.stdout.on("data", (chunk: Buffer) => reader.push(chunk, () => answers++));
  for (const end = Date.now() + ms; Date.now() < end && child.exitCode === null;) {
    const frames = Array.from({ length: 200 }, make);
    sent += frames.length;
    // A helper that died drains nothing: its end ends the wait.
    const written = child.stdin.write(Buffer.concat(frames));
    if (!written) await Promise.race([once(child.stdin, "drain"), exited(child)]);
    await new Promise((done) => setImmediate(done));
  }
  expect({ code: child.exitCode, signal: child.signalCode, stderr }).toEqual({ code: null, signal: null, stderr: "" });
  child.stdin.end();
  expect(await exited(child)).toBe(0);
  expect(stderr).toBe("");
  return { sent, answers };
}
