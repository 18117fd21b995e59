/** DNS answers wait for Node, and for a dead or slow Node only a moment. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { encodeFrame, RequestKind, words } from "../../src/netlink/frames.ts";
import { u32le } from "../../src/netlink/messages.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { Bench, buildHelper, exited, helperMissing, until } from "./helper-fixture.ts";

const LOG = `table inet logging {
  chain answers { type filter hook postrouting priority 300
    oifname "lo" meta l4proto { tcp, udp } th sport 53 log group 5 snaplen 4096
  }
}
`;

/**
 * A server of port 53 that sends back what it gets, and its client, which for each line `udp N` asks N times at once and
 * for `tcp` once, and then writes how many answers came within 2 s and how long the first took, in ms.
 */
const ASKER = `
const dgram = require("dgram"), net = require("net");
const server = dgram.createSocket("udp4");
server.on("message", (message, { port, address }) => server.send(message, port, address));
const stream = net.createServer((socket) => socket.pipe(socket));
const done = (came, first) => console.log(JSON.stringify({ came, first }));
function udp(count) {
  const client = dgram.createSocket("udp4");
  const started = performance.now();
  let came = 0, first = -1;
  const end = () => { clearTimeout(timer); client.close(); done(came, first); };
  const timer = setTimeout(end, 2000);
  client.on("message", () => {
    if (came++ === 0) first = performance.now() - started;
    if (came === count) end();
  });
  // The server, in this same process, reads in between.
  const some = (from) => {
    for (let i = from; i < from + 10 && i < count; i++) client.send("q" + i, 53, "127.0.0.1");
    if (from + 10 < count) setTimeout(some, 4, from + 10);
  };
  some(0);
}
function tcp() {
  const started = performance.now();
  const socket = net.connect(53, "127.0.0.1", () => socket.write("question"));
  const timer = setTimeout(() => { socket.destroy(); done(0, -1); }, 2000);
  socket.once("data", () => { clearTimeout(timer); socket.destroy(); done(1, performance.now() - started); });
}
server.bind(53, "127.0.0.1", () => stream.listen(53, "127.0.0.1", () => console.log("{}")));
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [how, count] = line.split(" ");
  if (how === "udp") udp(Number(count)); else tcp();
}).on("close", () => process.exit());
`;

interface Answered {
  readonly came: number;
  readonly first: number;
}

class Asker {
  readonly #child: ChildProcess;
  readonly #waiting: ((answered: Answered) => void)[] = [];

  private constructor(namespace: string) {
    this.#child = spawn("ip", ["netns", "exec", namespace, process.execPath, "-e", ASKER], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => this.#waiting.shift()?.(JSON.parse(line) as Answered));
  }

  static async start(namespace: string): Promise<Asker> {
    const asker = new Asker(namespace);
    await new Promise<Answered>((resolve) => asker.#waiting.push(resolve));
    return asker;
  }

  ask(line: string): Promise<Answered> {
    this.#child.stdin?.write(`${line}\n`);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await exited(this.#child);
  }
}

/** Names of interfaces as the helper takes them. */
const names = (...list: string[]): Buffer => Buffer.concat(list.map((name) => Buffer.from(name.padEnd(16, "\0"))));

function holdMissing(): string | undefined {
  const reason = helperMissing();
  if (reason !== undefined) return reason;
  return existsSync("/proc/net/netfilter/nfnetlink_queue") ? undefined : "the kernel has no nfnetlink_queue";
}

describeUnless(holdMissing(), "DNS answers that wait", () => {
  let bench: Bench;
  let asker: Asker;
  const stops: (() => void)[] = [];
  beforeAll(async () => {
    bench = await Bench.up({ sanitize: true });
    await bench.nft(LOG);
    asker = await Asker.start(bench.namespace);
  });
  afterAll(async () => {
    await asker.stop();
    await bench.down();
  });

  /** Holds answers; `heard` says in which order packets were logged and told to wait. */
  async function hold(options: { release: boolean }, interfaces: Uint8Array = names("lo")) {
    const heard: string[] = [];
    const state = { ready: 0, refused: "", late: 0, newest: 0 };
    const stopLog = bench.helper.subscribe({
      kind: RequestKind.PacketLog,
      payload: words(5, 4096, 1, 20),
      onMessages: () => heard.push("logged"),
      onLoss: () => undefined,
      onError: () => undefined,
    });
    const stopHold = bench.helper.subscribe({
      kind: RequestKind.Hold,
      payload: interfaces,
      onMessages: (bytes, start) => {
        heard.push("waits");
        state.newest = u32le(bytes, start);
        if (options.release) bench.helper.release(state.newest);
      },
      onLoss: (count) => (state.late += count),
      onError: (error) => (state.refused = error.message),
      onReady: () => state.ready++,
    });
    await until("the kernel holds answers, or does not", () => state.ready > 0 || state.refused !== "");
    const stop = () => {
      stopHold();
      stopLog();
    };
    stops.push(stop);
    return { heard, state, stop };
  }

  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  const tables = () => bench.list("tables");

  test("go on when they are released, each of them, and Node hears of them after what was logged", async () => {
    const { heard, state, stop } = await hold({ release: true });
    expect(state.refused).toBe("");
    expect(await asker.ask("udp 1")).toMatchObject({ came: 1 });
    expect(heard.slice(0, 2)).toEqual(["logged", "waits"]);
    expect(await asker.ask("udp 100")).toMatchObject({ came: 100 });
    expect(await asker.ask("tcp")).toMatchObject({ came: 1 });
    expect(await tables()).toContain("spin_usp_hold");
    stop();
    await until("the rule is gone", async () => !(await tables()).includes("spin_usp_hold"));
    expect(await asker.ask("udp 1")).toMatchObject({ came: 1 });
    expect(state.late).toBe(0);
  });

  test("wait until they are released", async () => {
    const { state, stop } = await hold({ release: false });
    const answered = asker.ask("udp 1");
    await until("Node hears of it", () => state.newest > 0);
    bench.helper.release(state.newest);
    await answered;
    expect(state.late).toBe(0);
    stop();
  });

  test("go on by themselves when Node says nothing, and are counted", async () => {
    const { state, stop } = await hold({ release: false });
    const { came, first } = await asker.ask("udp 1");
    expect(came).toBe(1);
    expect(first).toBeGreaterThan(60);
    await until("Node hears that it went on", () => state.late === 1);
    stop();
  });

  test("go on when Node releases what never was", async () => {
    const { state, stop } = await hold({ release: false });
    for (const number of [7, 0, 0xffffffff, 0x80000000]) bench.helper.release(number);
    expect(await asker.ask("udp 1")).toMatchObject({ came: 1 });
    await until("Node hears that it went on", () => state.late === 1);
    stop();
  });

  test("go on when they are more than may wait", async () => {
    const { state, stop } = await hold({ release: false });
    // A client's buffer takes some 270.
    const all = await Promise.all(Array.from({ length: 8 }, () => asker.ask("udp 100")));
    expect(all.map(({ came }) => came)).toEqual(all.map(() => 100));
    await until("Node hears of them", () => state.late === 800);
    stop();
  });

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "go on when the helper ends by %s, and wait again when it is back",
    async (signal) => {
      const { state, stop } = await hold({ release: false });
      const ready = state.ready;
      process.kill(bench.helper.pid as number, signal);
      await until("the rule is back", () => state.ready === ready + 1);
      expect((await asker.ask("udp 1")).first).toBeGreaterThan(60);
      const pid = bench.helper.pid as number;
      stop();
      await until("the rule is gone", async () => !(await tables()).includes("spin_usp_hold"));
      expect(bench.helper.pid).toBe(pid);
    },
  );

  test("pass when there is no helper", async () => {
    const lonely = spawn("ip", ["netns", "exec", bench.namespace, buildHelper()], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    lonely.stdin.write(encodeFrame(RequestKind.Hold, 1, names("lo")));
    await until("the rule stands", async () => (await tables()).includes("spin_usp_hold"));
    lonely.kill("SIGKILL");
    await exited(lonely);
    const { came } = await asker.ask("udp 1");
    expect(came).toBe(1);
    expect(await tables()).not.toContain("spin_usp_hold");
  });

  test.each<[string, Uint8Array]>([
    ["no interface", names()],
    ["a name without its end", Buffer.alloc(16, "a")],
    ["an empty name", Buffer.alloc(16)],
    ["a part of a name", Buffer.alloc(15, "a")],
    ["seventeen interfaces", names(...Array.from({ length: 17 }, (_, i) => `lan${i}`))],
  ])("are not held on %s", async (_what, interfaces) => {
    const { state, stop } = await hold({ release: true }, interfaces);
    expect(state.refused).toMatch(/interface/);
    expect(await tables()).not.toContain("spin_usp_hold");
    stop();
  });

  test("are held for one listener only", async () => {
    const first = await hold({ release: true }, names("lo", "br-lan"));
    const second = await hold({ release: true });
    expect(second.state.refused).toMatch(/already/);
    second.stop();
    expect(await asker.ask("udp 1")).toMatchObject({ came: 1 });
    first.stop();
  });

  test("are not held when somebody else has the queue, and the helper says so", async () => {
    const { stop } = await hold({ release: true });
    const other = spawn("ip", ["netns", "exec", bench.namespace, buildHelper()], { stdio: ["pipe", "pipe", "ignore"] });
    let said = "";
    other.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
    other.stdin.write(encodeFrame(RequestKind.Hold, 1, names("lo")));
    await until("it is refused", () => said.includes("queue"));
    other.stdin.end();
    await exited(other);
    expect(await asker.ask("udp 1")).toMatchObject({ came: 1 });
    stop();
  });

  test("are untouched on other interfaces, and from other ports", async () => {
    const { heard, stop } = await hold({ release: false }, names("lan0"));
    const { came } = await asker.ask("udp 20");
    expect(came).toBe(20);
    expect(heard).not.toContain("waits");
    stop();
  });

  test("the table can be taken away by nobody else", async () => {
    const { stop } = await hold({ release: true });
    const { code } = await exec(bench.namespace, "nft", ["delete", "table", "inet", "spin_usp_hold"], {
      mayFail: true,
    });
    expect(code).not.toBe(0);
    stop();
  });
});
