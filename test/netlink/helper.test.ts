import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress } from "../../src/lib/address.ts";
import { silentLog } from "../../src/lib/log.ts";
import { batch } from "../../src/netlink/batch.ts";
import { deleteTuple } from "../../src/netlink/conntrack-messages.ts";
import { encodeFrame, FrameKind, FrameReader, PROTOCOL_VERSION, RequestKind, words } from "../../src/netlink/frames.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import { Family, MessageWriter } from "../../src/netlink/messages.ts";
import { addElements, dumpElements, flushSet, type SetReference } from "../../src/netlink/nftables-messages.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { Bench, buildHelper, exited, helperMissing, until } from "./helper-fixture.ts";

const OURS: SetReference = { family: "inet", table: "spin_usp", set: "addresses" };
const KEY = Uint8Array.of(192, 0, 2, 1);
const RULESET = `
table inet spin_usp {
  set addresses { type ipv4_addr; }
  chain c { type filter hook output priority 0
    ct state established accept
  }
}
`;

interface Answer {
  readonly errno: number;
  readonly index: number;
  readonly text: string;
}

/** A helper spoken to frame by frame, with no TypeScript of ours between. */
class RawHelper {
  readonly child: ChildProcess;
  stderr = "";
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #next = 1;

  constructor(namespace: string, program: string) {
    this.child = spawn("ip", ["netns", "exec", namespace, program], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ASAN_OPTIONS: "detect_leaks=0" },
    });
    this.child.stderr?.on("data", (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.child.stdin?.on("error", () => undefined);
    const reader = new FrameReader();
    this.child.stdout?.on("data", (chunk: Buffer) =>
      reader.push(chunk, (kind, request, bytes, start, end) => {
        if (kind !== FrameKind.Result) return;
        const text = bytes.toString("utf8", start + 12, end);
        this.#answers.get(request)?.({ errno: bytes.readInt32LE(start), index: bytes.readUInt32LE(start + 4), text });
      }),
    );
  }

  write(bytes: Uint8Array): void {
    this.child.stdin?.write(bytes);
  }

  ask(kind: number, payload: Uint8Array): Promise<Answer> {
    const request = this.#next++;
    this.write(encodeFrame(kind, request, payload));
    return new Promise((resolve) => this.#answers.set(request, resolve));
  }

  async end(): Promise<number | null> {
    this.child.stdin?.end();
    return await exited(this.child);
  }
}

/** Bytes of a batch with the text of the table's name (or any other) replaced by one of the same length. */
function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const copy = Buffer.from(bytes);
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1)) copy.write(to, at, "latin1");
  return copy;
}

const nft = (message: number, flags: number, family: number, write: (writer: MessageWriter) => void): Uint8Array => {
  const writer = new MessageWriter().begin((10 << 8) | message, flags, family);
  write(writer);
  return writer.message();
};

describeUnless(helperMissing(), "the helper", () => {
  let bench: Bench;
  let raw: RawHelper;
  beforeAll(async () => {
    bench = await Bench.up({ ruleset: RULESET });
    await bench.helper.loadRuleset();
    await bench.nft(
      "table inet other { set addresses { type ipv4_addr; }\n}\ntable ip spin_usp { set addresses { type ipv4_addr; }\n}",
    );
    raw = new RawHelper(bench.namespace, buildHelper(true));
  });
  afterAll(async () => {
    expect(await raw.end()).toBe(0);
    expect(raw.stderr).toBe("");
    await bench.down();
  });

  const good = () => batch(addElements(OURS, [{ key: KEY }]));
  const one = (message: Uint8Array) => batch([message]);
  const elements = (writer: MessageWriter, write: () => void) => writer.nest(3, () => writer.nest(1, write));
  const key = (writer: MessageWriter) => writer.nest(1, () => writer.bytes(1, KEY));

  test("accepts a good batch", async () => {
    expect(await raw.ask(RequestKind.Transact, good())).toMatchObject({ errno: 0 });
    expect(await raw.ask(RequestKind.Transact, batch(flushSet(OURS)))).toMatchObject({ errno: 0 });
  });

  const named = (writer: MessageWriter, table = "spin_usp") => writer.text(1, table).text(2, "addresses");
  test.each<[string, () => Uint8Array, RegExp]>([
    ["a foreign table", () => replaced(good(), "spin_usp", "otherone"), /not our table/],
    [
      "a table whose name only begins like ours",
      () => one(nft(12, 0x401, 1, (w) => elements(named(w, "spin_usp2"), () => key(w)))),
      /not our table/,
    ],
    [
      "a table's name without its end",
      () =>
        one(nft(12, 0x401, 1, (w) => elements(w.bytes(1, Buffer.from("spin_usp")).text(2, "addresses"), () => key(w)))),
      /not our table/,
    ],
    ["no table", () => one(nft(12, 0x401, 1, (w) => elements(w.text(2, "addresses"), () => key(w)))), /not our table/],
    [
      "our table and then another",
      () => one(nft(12, 0x401, 1, (w) => elements(named(w).text(1, "other"), () => key(w)))),
      /attribute twice/,
    ],
    [
      "our table and then another, under a flagged type",
      () => one(nft(12, 0x401, 1, (w) => elements(named(w).bytes(1 | 0x8000, Buffer.from("other\0")), () => key(w)))),
      /attribute twice/,
    ],
    [
      "another family's table of our name",
      () => one(nft(12, 0x401, 2, (w) => elements(named(w), () => key(w)))),
      /family/,
    ],
    ["no family", () => one(nft(12, 0x401, 0, (w) => elements(named(w), () => key(w)))), /family/],
    ["a new table", () => one(nft(0, 0x401, 1, (w) => w.text(1, "spin_usp"))), /type not allowed/],
    ["deleting our table", () => one(nft(2, 0x1, 1, (w) => w.text(1, "spin_usp"))), /type not allowed/],
    ["deleting all tables", () => one(nft(2, 0x1, 0, () => undefined)), /type not allowed/],
    ["a new rule", () => one(nft(6, 0x401, 1, (w) => w.text(1, "spin_usp").text(2, "c"))), /type not allowed/],
    ["a new chain", () => one(nft(3, 0x401, 1, (w) => w.text(1, "spin_usp").text(3, "d"))), /type not allowed/],
    [
      "an expression in an element",
      () => one(nft(12, 0x401, 1, (w) => elements(named(w), () => key(w).nest(7, () => w.text(1, "counter"))))),
      /attribute not allowed/,
    ],
    [
      "a set by its number in the batch",
      () => one(nft(12, 0x401, 1, (w) => w.text(1, "spin_usp").u32(4, 1))),
      /attribute not allowed/,
    ],
    [
      "a verdict that queues packets",
      () => one(nft(12, 0x401, 1, (w) => elements(named(w), () => key(w).nest(2, () => w.nest(2, () => w.u32(1, 3)))))),
      /verdict/,
    ],
    ["an echo of additions", () => one(nft(12, 0x409, 1, (w) => elements(named(w), () => key(w)))), /flags/],
    ["replace flags", () => one(nft(12, 0x101, 1, (w) => elements(named(w), () => key(w)))), /flags/],
    ["a dump inside a batch", () => one(dumpElements(OURS)), /type not allowed/],
    ["another subsystem", () => one(new MessageWriter().begin((1 << 8) | 2, 1, Family.IPv4).message()), /subsystem/],
    ["nothing", () => new Uint8Array(0), /not a batch/],
    ["a message alone", () => addElements(OURS, [{ key: KEY }])[0] as Uint8Array, /not a batch/],
    ["a batch without its end", () => good().subarray(0, good().length - 20), /malformed/],
    ["a batch cut in the middle", () => good().subarray(0, good().length - 28), /malformed/],
    ["something after the end", () => Buffer.concat([good(), good()]), /batch end/],
    ["a batch of another subsystem", () => replaced(good(), "\0\0\0\x0a", "\0\0\0\x01"), /not a batch/],
    [
      "an overlong message",
      () => {
        const bytes = good();
        bytes.writeUInt32LE(0xfffffff0, 20);
        return bytes;
      },
      /malformed/,
    ],
    [
      "an overlong attribute",
      () => {
        const bytes = good();
        bytes.writeUInt16LE(0xffff, 40);
        return bytes;
      },
      /malformed attribute/,
    ],
    [
      "an attribute of no length",
      () => {
        const bytes = good();
        bytes.writeUInt16LE(0, 40);
        return bytes;
      },
      /malformed attribute/,
    ],
  ])("refuses %s", async (_what, payload, why) => {
    const answer = await raw.ask(RequestKind.Transact, payload());
    expect(answer.errno).toBe(1);
    expect(answer.text).toMatch(why);
  });

  test("leaves foreign tables as they are", async () => {
    expect(await bench.list("table", "inet", "other")).not.toContain("elements");
    expect(await bench.list("table", "ip", "spin_usp")).not.toContain("elements");
  });

  const tuple = (id?: number) =>
    deleteTuple({
      family: 4,
      protocol: 17,
      source: parseAddress("192.0.2.1") as Uint32Array,
      destination: parseAddress("192.0.2.2") as Uint32Array,
      sourcePort: 1,
      destinationPort: 2,
      ...(id === undefined ? {} : { id }),
    });
  test("takes a delete of an entry that is gone as done", async () => {
    expect(await raw.ask(RequestKind.DeleteConntrack, Buffer.concat([tuple(), tuple(7)]))).toMatchObject({
      errno: 0,
      index: 0,
    });
  });
  test.each<[string, () => Uint8Array, RegExp]>([
    ["a flush", () => new MessageWriter().begin(0x102, 1, Family.IPv4).message(), /no tuple/],
    ["a flush by mark", () => new MessageWriter().begin(0x102, 1, Family.IPv4).u32(8, 1).message(), /not allowed/],
    ["a new entry", () => new MessageWriter().begin(0x100, 0x401, Family.IPv4).message(), /type not allowed/],
    [
      "an empty tuple",
      () =>
        new MessageWriter()
          .begin(0x102, 1, Family.IPv4)
          .nest(1, () => undefined)
          .message(),
      /tuple not whole/,
    ],
    [
      "a good one and then a flush",
      () => Buffer.concat([tuple(), new MessageWriter().begin(0x102, 1, Family.IPv4).message()]),
      /no tuple/,
    ],
    ["no family", () => new MessageWriter().begin(0x102, 1, 0).message(), /header/],
    ["nothing", () => new Uint8Array(0), /nothing to delete/],
  ])("refuses, of conntrack, %s", async (_what, payload, why) => {
    const answer = await raw.ask(RequestKind.DeleteConntrack, payload());
    expect(answer.errno).toBe(1);
    expect(answer.text).toMatch(why);
  });

  test.each<[string, number, () => Uint8Array]>([
    ["a request that it does not know", 99, () => new Uint8Array(0)],
    ["request 0", 0, () => new Uint8Array(0)],
    ["a subscription of the wrong length", RequestKind.Conntrack, () => words(1)],
    ["an NFLOG group out of range", RequestKind.PacketLog, () => words(70_000, 100, 1, 0)],
    ["a dump of another kind", RequestKind.DumpRoute, () => words(16, 0)],
    ["a dump of rules", RequestKind.DumpRoute, () => words(34, 0)],
    ["a dump of a foreign set", RequestKind.DumpSet, () => replaced(dumpElements(OURS), "spin_usp", "otherone")],
    ["a dump that is a change", RequestKind.DumpSet, () => addElements(OURS, [{ key: KEY }])[0] as Uint8Array],
    ["a ruleset, when it was started without one", RequestKind.LoadRuleset, () => words(0)],
  ])("refuses %s", async (_what, kind, payload) => {
    expect(await raw.ask(kind, payload())).toMatchObject({ errno: 1 });
  });

  test("refuses an overlong frame and understands the next", async () => {
    const long = Buffer.alloc(12 + 5_000_000);
    long.writeUInt32LE(5_000_000, 0);
    long.writeUInt32LE(77, 4);
    long.writeUInt32LE(RequestKind.Transact, 8);
    raw.write(long);
    expect(await raw.ask(RequestKind.Transact, good())).toMatchObject({ errno: 0 });
  });

  test("understands frames that come byte by byte", async () => {
    const request = 5000;
    const frame = encodeFrame(RequestKind.Transact, request, good());
    const answered = new Promise<void>((resolve) => {
      raw.child.stdout?.on("data", (chunk: Buffer) => {
        if (chunk.includes(Buffer.from(Uint32Array.of(request).buffer))) resolve();
      });
    });
    for (const byte of frame) {
      raw.write(Uint8Array.of(byte));
      await new Promise((done) => setImmediate(done));
    }
    await answered;
  });

  test("ends when its stdin closes", async () => {
    const other = new RawHelper(bench.namespace, buildHelper());
    expect(await other.end()).toBe(0);
  });

  test("ends with its parent, however that ends", async () => {
    const script = `
      const { spawn } = require("node:child_process");
      const child = spawn(process.argv[1], [], { stdio: ["pipe", "pipe", "ignore"] });
      console.log(child.pid);
      setInterval(() => {}, 1000);`;
    const parent = spawn("ip", ["netns", "exec", bench.namespace, process.execPath, "-e", script, buildHelper()], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const pid = await new Promise<number>((resolve) =>
      parent.stdout.once("data", (text: Buffer) => resolve(Number(text))),
    );
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    parent.kill("SIGKILL");
    await until("the helper ends", () => !existsSync(`/proc/${pid}`));
  });

  test("gives up every privilege but CAP_NET_ADMIN and CAP_NET_RAW, for good; nft gets the first alone", async () => {
    const { stdout } = await exec(undefined, "cat", [`/proc/${bench.helper.pid}/status`]);
    const bits = (value: number) => value.toString(16).padStart(16, "0");
    for (const set of ["CapEff", "CapPrm"]) expect(stdout).toContain(`${set}:\t${bits((1 << 12) | (1 << 13))}`);
    for (const set of ["CapInh", "CapBnd", "CapAmb"]) expect(stdout).toContain(`${set}:\t${bits(1 << 12)}`);
    expect(stdout).toMatch(/NoNewPrivs:\t1/);
  });

  test("without the privilege says so, in words, and is not started again and again", async () => {
    const helper = new NetfilterHelper({
      command: [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--bounding-set",
        "-all",
        buildHelper(),
      ],
      log: silentLog,
    });
    const stop = new AbortController();
    const running = helper.run(stop.signal);
    expect(await helper.usable()).toMatch(/lacks CAP_NET_ADMIN.*setcap/);
    await expect(helper.transact(flushSet(OURS))).rejects.toThrow(/not running/);
    stop.abort();
    await running;
  });

  test("that is not there is told, and requests fail with why", async () => {
    const helper = new NetfilterHelper({ command: ["/nonexistent/helper"], log: silentLog });
    const stop = new AbortController();
    const running = helper.run(stop.signal);
    expect(await helper.usable()).toMatch(/ENOENT/);
    await expect(helper.loadRuleset()).rejects.toThrow(/not running.*ENOENT/);
    stop.abort();
    await running;
  });

  test("loads one ruleset after the other, however many are asked for at once", async () => {
    await Promise.all([1, 2, 3].map(() => bench.helper.loadRuleset()));
  });

  test("that dies fails what was asked of it and is started again", async () => {
    const pid = bench.helper.pid as number;
    process.kill(pid, "SIGSTOP");
    const asked = bench.helper.transact(flushSet(OURS));
    const failed = expect(asked).rejects.toThrow(/helper ended/);
    process.kill(pid, "SIGKILL");
    await failed;
    await until("it runs again", () => bench.helper.running);
    await bench.helper.transact(flushSet(OURS));
  });

  test("that hangs is told of, ended and started again within seconds", async () => {
    const pid = bench.helper.pid as number;
    const down: string[] = [];
    let losses = 0;
    const forget = bench.helper.subscribe({
      kind: RequestKind.Ruleset,
      payload: words(),
      onMessages: () => undefined,
      onLoss: () => losses++,
      onError: (error) => down.push(error.message),
      onDown: (reason) => down.push(reason),
    });
    process.kill(pid, "SIGSTOP");
    await until("another runs", () => bench.helper.running && bench.helper.pid !== pid);
    expect(down[0]).toBe("the helper does not answer");
    expect(down[1]).toMatch(/the helper ended: no answer for 3 s/);
    expect(losses).toBe(1);
    forget();
    await bench.helper.transact(flushSet(OURS));
  }, 20_000);

  test("that is quiet because nothing is asked of it goes on living", async () => {
    const pid = bench.helper.pid;
    await new Promise((done) => setTimeout(done, 5000));
    expect([bench.helper.running, bench.helper.pid]).toEqual([true, pid]);
  }, 20_000);

  test("of another version is told to be rebuilt", async () => {
    const hello = encodeFrame(FrameKind.Hello, 0, words(0x01020304, PROTOCOL_VERSION - 1, 1 << 12));
    const program = `process.stdout.write(Buffer.from("${Buffer.from(hello).toString("hex")}", "hex")); process.stdin.resume()`;
    const helper = new NetfilterHelper({ command: [process.execPath, "-e", program], log: silentLog });
    const stop = new AbortController();
    const running = helper.run(stop.signal);
    expect(await helper.usable()).toMatch(/speaks version 2, not 3: rebuild it with npm run helper/);
    stop.abort();
    await running;
  });
});

describeUnless(
  helperMissing() ?? missing("setcap"),
  "the helper with file capabilities, started by somebody without",
  () => {
    let folder: string;
    let program: string;
    let bench: Bench;
    beforeAll(async () => {
      bench = await Bench.up();
      folder = mkdtempSync(join(tmpdir(), "spin-setcap-"));
      chmodSync(folder, 0o755);
      program = join(folder, "helper");
      copyFileSync(buildHelper(), program);
      chmodSync(program, 0o755);
      await exec(undefined, "setcap", ["cap_net_admin+ep", program]);
    });
    afterAll(async () => {
      rmSync(folder, { recursive: true, force: true });
      await bench.down();
    });
    const start = async (ruleset?: string) => {
      const helper = new NetfilterHelper({
        command: [
          "ip",
          "netns",
          "exec",
          bench.namespace,
          "setpriv",
          "--reuid",
          "65534",
          "--regid",
          "65534",
          "--clear-groups",
          program,
        ],
        ...(ruleset === undefined ? {} : { rulesetFile: ruleset }),
        log: silentLog,
        backOff: { first: 50, last: 100 },
      });
      const stop = new AbortController();
      const running = helper.run(stop.signal);
      const reason = await helper.usable();
      return {
        helper,
        reason,
        end: async () => {
          stop.abort();
          await running;
        },
      };
    };

    test("loads root's ruleset and changes our table", async () => {
      const file = join(folder, "ruleset.nft");
      writeFileSync(file, RULESET, { mode: 0o644 });
      const { helper, reason, end } = await start(file);
      expect(reason).toBeUndefined();
      await helper.loadRuleset();
      await helper.transact(addElements(OURS, [{ key: KEY }]));
      expect(await helper.dumpSet(OURS)).toHaveLength(1);
      expect((await helper.prepareConntrack()).get("nf_conntrack_acct")).toBe("1");
      await end();
    });

    test("has CAP_NET_RAW only where the file gives it, and does its other work without", async () => {
      const without = await start();
      expect(without.reason).toBeUndefined();
      expect(without.helper.mayReadFrames).toBe(false);
      await without.end();
      await exec(undefined, "setcap", ["cap_net_admin,cap_net_raw+ep", program]);
      const both = await start();
      expect(both.helper.mayReadFrames).toBe(true);
      const { stdout } = await exec(undefined, "cat", [`/proc/${both.helper.pid}/status`]);
      for (const set of ["CapInh", "CapAmb"]) expect(stdout).toContain(`${set}:\t0000000000001000`);
      await both.end();
      await exec(undefined, "setcap", ["cap_net_admin+ep", program]);
    });

    test("does not load a ruleset that somebody else than root could have written", async () => {
      for (const change of [
        (path: string) => chownSync(path, 65534, 65534),
        (path: string) => chmodSync(path, 0o666),
      ]) {
        const file = join(folder, "foreign.nft");
        writeFileSync(file, "flush ruleset\n", { mode: 0o644 });
        change(file);
        const { reason, end } = await start(file);
        expect(reason).toMatch(/must belong to root/);
        await end();
        rmSync(file);
      }
    });
  },
);
