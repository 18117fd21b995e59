/**
 * The kernel by way of the `nft` and `conntrack` programs: works wherever they are installed, at a process a change. The
 * cost grows with the elements of interval maps, which nft loads each time.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { parseAddress } from "../lib/address.ts";
import { runLines } from "../lib/lines.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { TableFamily } from "../netlink/nftables-messages.ts";
import { TABLE, MAPS, fromJson } from "./elements.ts";
import type { Count, CountedElement, Element } from "./elements.ts";
import { addLines, deleteLines } from "./element-lines.ts";
import { anyFlowTest } from "./flow-filter.ts";
import type { FlowFilter, ForeignChange, Transport } from "./transport.ts";

export interface NftTransportOptions {
  /** spin.nft, or spin-bridge.nft for the family bridge. */
  readonly rulesetFile: string;
  /** Default inet. */
  readonly family?: TableFamily;
  /** What stands before the programs: `["ip", "netns", "exec", "home"]`; default nothing. */
  readonly prefix?: readonly string[];
}

const RESTART_MS = 1000;
const TIMEOUT_MS = 30_000;
const OWN_PIDS = 64;
/** So many pairs are deleted by a process each; more of them by reading the table. */
const FEW = 8;

const NOTHING_TOLD: ReadonlyMap<string, Count> = new Map();

export class NftTransport implements Transport {
  readonly backend = "nft";
  /** nft compares each deleted interval with all that there are. */
  readonly deletionLimit = 100;
  readonly mapsPerRead = Infinity;
  readonly toldRemovals = 0;
  readonly family: TableFamily;
  readonly #options: NftTransportOptions;
  /** Processes of ours, so that `nft monitor` can tell our changes from others'. */
  readonly #ownPids: (number | undefined)[] = [];

  constructor(options: NftTransportOptions) {
    this.#options = options;
    this.family = options.family ?? "inet";
  }

  async load(elements: readonly Element[], now: number): Promise<void> {
    const ruleset = await readFile(this.#options.rulesetFile, "utf8");
    await this.#nft(["-f", "-"], ruleset + this.#add(elements, now));
  }

  async change(
    removed: readonly Element[],
    added: readonly Element[],
    now: number,
    emptied: ReadonlySet<string> = new Set(),
  ): Promise<ReadonlyMap<string, Count>> {
    const single = emptied.size === 0 ? removed : removed.filter(({ map }) => !emptied.has(map));
    const flushes = [...emptied].map((map) => `flush set ${this.family} ${TABLE} ${map}\n`).join("");
    // An element with a timeout may be gone before we delete it: added first, it is there.
    const timed = single.filter((element) => element.expires !== Infinity);
    const text = flushes + this.#add(timed, now) + deleteLines(this.family, single) + this.#add(added, now);
    if (text !== "") await this.#nft(["-f", "-"], text);
    return NOTHING_TOLD;
  }

  async read(maps: readonly string[], now: number): Promise<Map<string, CountedElement[]> | undefined> {
    const [only] = maps;
    const isMap = only !== undefined && MAPS.get(only)?.value !== "none";
    const what =
      maps.length === 1 ? [isMap ? "map" : "set", this.family, TABLE, only as string] : ["table", this.family, TABLE];
    let text: string;
    try {
      text = await this.#nft(["-jn", "list", ...what], "");
    } catch (error) {
      if (error instanceof Error && error.message.includes("No such file or directory")) return undefined;
      throw error;
    }
    const wanted = new Set(maps);
    const found = new Map<string, CountedElement[]>();
    for (const item of (JSON.parse(text) as { nftables: Record<string, { name: string; elem?: unknown[] }>[] })
      .nftables) {
      const set = item["map"] ?? item["set"];
      if (!set || !wanted.has(set.name)) continue;
      const elements = (set.elem ?? []).map((json) => fromJson(set.name, json, now));
      found.set(
        set.name,
        elements.filter((element) => element !== undefined),
      );
    }
    return found;
  }

  async cut(filters: readonly FlowFilter[]): Promise<void> {
    const [filter] = filters;
    if (filters.length === 1 && filter) await this.#cutOne(filter);
    else await this.#cutListed(filters);
  }

  async #cutOne(filter: FlowFilter): Promise<void> {
    const { devices, destinations, spared } = filter;
    const few = (devices?.length ?? 1) * (destinations?.length ?? 1) <= FEW;
    // conntrack-tools can't leave entries out: what is allowed would go too, and without a device the gateway's own.
    if (!few || filter.allows || (devices === undefined && spared.length > 0)) return await this.#cutListed([filter]);
    for (const device of devices ?? [undefined])
      for (const destination of destinations ?? [undefined]) {
        const text = device ?? destination;
        if (text === undefined || (device && destination && device.includes(":") !== destination.includes(":")))
          continue;
        const family = text.includes(":") ? "ipv6" : "ipv4";
        const option = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value]);
        const begun = [...option("--orig-src", device), ...option("--orig-dst", destination)];
        const came = [...option("--reply-src", device), ...option("--orig-src", destination)];
        for (const args of [begun, came]) await this.#conntrack(["-D", "-f", family, ...args]);
      }
  }

  async watch(signal: AbortSignal, onChange: (change: ForeignChange) => void): Promise<void> {
    const wakeup = new Wakeup();
    while (!signal.aborted) {
      let seen: ForeignChange | undefined;
      await runLines([...this.#prefix, "nft", "monitor"], signal, (line) => {
        const change = changeOf(line, this.family);
        if (change && seen !== "structure") seen = change;
        const by = /^# new generation \d+ by process (\d+)/.exec(line);
        if (!by) return;
        if (seen && !this.#ownPids.includes(Number(by[1]))) onChange(seen);
        seen = undefined;
      });
      await wakeup.wait(RESTART_MS, signal);
    }
  }

  /** Reads the whole table and deletes what the filters mean, entry by entry. */
  async #cutListed(filters: readonly FlowFilter[]): Promise<void> {
    const means = anyFlowTest(filters);
    for (const family of ["ipv4", "ipv6"]) {
      const text = await this.#conntrack(["-L", "-f", family]);
      for (const line of text.split("\n")) {
        const protocol = /^\w+/.exec(line)?.[0];
        // The fields of the original direction come before those of the reply.
        const fields = (name: string) =>
          [...line.matchAll(new RegExp(`\\b${name}=(\\S+)`, "g"))].map((match) => match[1]);
        const [source, replySource] = fields("src");
        const [destination] = fields("dst");
        if (!protocol || !source || !destination || !replySource) continue;
        const words = wordsOf([source, destination, replySource]);
        const number = Number(line.split(/\s+/)[1]);
        const [sourcePort = "0"] = fields("sport");
        const [destinationPort = "0"] = fields("dport");
        if (!words || !means(words, number, [Number(sourcePort), Number(destinationPort)])) continue;
        const option = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value]);
        const ports = [...option("--sport", fields("sport")[0]), ...option("--dport", fields("dport")[0])];
        await this.#conntrack(["-D", "-f", family, "-p", protocol, "-s", source, "-d", destination, ...ports]);
      }
    }
  }

  get #prefix(): readonly string[] {
    return this.#options.prefix ?? [];
  }

  #add(elements: readonly Element[], now: number): string {
    return addLines(this.family, elements, now);
  }

  async script(text: string): Promise<void> {
    await this.#nft(["-f", "-"], text);
  }

  #nft(args: readonly string[], input: string): Promise<string> {
    return this.#run(["nft", ...args], input);
  }

  /** conntrack exits with 1 when it found nothing. */
  async #conntrack(args: readonly string[]): Promise<string> {
    return await this.#run(["conntrack", ...args], "", 1);
  }

  #run(command: readonly string[], input: string, alsoWell = 0): Promise<string> {
    const [program = "", ...args] = [...this.#prefix, ...command];
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
      this.#ownPids.push(child.pid);
      if (this.#ownPids.length > OWN_PIDS) this.#ownPids.shift();
      const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
      const output: Buffer[] = [];
      let complaint = "";
      child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
      child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString("latin1")).slice(0, 2000)));
      child.stdin.on("error", () => undefined);
      child.once("error", (error) => {
        clearTimeout(timer);
        reject(new Error(`${command[0]}: ${error.message}`));
      });
      child.once("close", (code, signal) => {
        clearTimeout(timer);
        if (code === 0 || (alsoWell !== 0 && code === alsoWell)) return resolve(Buffer.concat(output).toString("utf8"));
        const how = signal ? `was ended by ${signal}` : `exited with ${code}`;
        reject(new Error(`${command[0]} ${how}: ${complaint.trim()}`));
      });
      child.stdin.end(input);
    });
  }
}

/** The addresses as 16 words, as many as are given; `undefined` if one is none. */
function wordsOf(texts: readonly string[]): Uint32Array | undefined {
  const words = new Uint32Array(16);
  for (const [i, text] of texts.entries()) {
    const address = parseAddress(text);
    if (!address) return undefined;
    words.set(address, 4 * i);
  }
  return words;
}

/** What a line of `nft monitor` says of our table. */
function changeOf(line: string, family: TableFamily): ForeignChange | undefined {
  const match = /^(?:add|delete|insert|replace|destroy) (\w+) (\w+) (\S+)/.exec(line);
  if (match?.[2] !== family || match[3] !== TABLE) return undefined;
  return match[1] === "element" ? "elements" : "structure";
}
