/** A namespace of its own with a helper in it, built with the sanitizers where the compiler has them. */
import { type ChildProcess, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { silentLog } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import { exec, removeGroup, sweep, uniqueGroup } from "../support/namespace.ts";
import { missing } from "../support/needs.ts";

const folder = resolve("src/netlink/helper");

/** Path of a fresh build; with `sanitize`, one that aborts on any memory or arithmetic error. */
export function buildHelper(sanitize = false): string {
  const output = resolve(sanitize ? "build/test/helper-sanitized" : "build/test/helper");
  const changed = Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs));
  if (existsSync(output) && statSync(output).mtimeMs >= changed) return output;
  const flags = sanitize ? ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"] : ["-O2"];
  spawnSync(process.execPath, ["scripts/helper.mjs", output, ...flags], { stdio: "pipe" });
  if (!existsSync(output)) throw new Error("the helper does not build");
  return output;
}

export function helperMissing(): string | undefined {
  return missing("root", "netns", "nft", "setpriv", "cc");
}

export class Bench {
  readonly namespace: string;
  readonly folder = mkdtempSync(join(tmpdir(), "spin-helper-"));
  readonly helper: NetfilterHelper;
  readonly #group: string;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  private constructor(group: string, ruleset: string | undefined, sanitize: boolean) {
    this.#group = group;
    this.namespace = `${group}-gw`;
    const rulesetFile = join(this.folder, "ruleset.nft");
    if (ruleset !== undefined) writeFileSync(rulesetFile, ruleset);
    this.helper = new NetfilterHelper({
      command: ["ip", "netns", "exec", this.namespace, buildHelper(sanitize)],
      ...(ruleset === undefined ? {} : { rulesetFile }),
      log: silentLog,
      backOff: { first: 20, last: 100 },
    });
    this.#done = this.helper.run(this.#stop.signal);
  }

  static async up(options: { ruleset?: string; sanitize?: boolean } = {}): Promise<Bench> {
    sweep();
    const group = uniqueGroup();
    await exec(undefined, "ip", ["netns", "add", `${group}-gw`]);
    await exec(`${group}-gw`, "ip", ["link", "set", "lo", "up"]);
    const bench = new Bench(group, options.ruleset, options.sanitize ?? false);
    const reason = await bench.helper.usable();
    if (reason !== undefined) throw new Error(reason);
    return bench;
  }

  async nft(text: string): Promise<void> {
    await exec(this.namespace, "nft", ["-f", "-"], { input: text });
  }

  async list(...what: string[]): Promise<string> {
    return (await exec(this.namespace, "nft", ["list", ...what])).stdout;
  }

  async down(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    removeGroup(this.#group);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Waits until `test` holds; throws with `what` after 10 s. */
export async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 10_000; !(await test()); await new Promise((done) => setTimeout(done, 10)))
    if (Date.now() > end) throw new Error(`${what}: not within 10 s`);
}

/** Resolves with the exit code once the process has ended. */
export async function exited(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}
