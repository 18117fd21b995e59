/** An Enforcer that writes down what it is told, for what only the order of calls can show; its port's contract is held elsewhere. */
import type { Health } from "../../src/spin/observation.ts";
import type { AddressDelta, ApplyReport, Enforcer, Hits, HomeNetwork, Policy } from "../../src/spin/ruleset.ts";
import { printMac, printPrefix } from "../../src/lib/address.ts";
import type { Prefix } from "../../src/lib/address.ts";

export class WritingEnforcer implements Enforcer {
  readonly calls: string[] = [];
  readonly health: Health = {
    backend: "writing",
    status: "Running",
    observations: 0,
    lost: 0,
    resyncs: 0,
    decodeErrors: 0,
    lastError: "",
  };
  /** Of the last start. */
  network: HomeNetwork | undefined;
  answer: Hits = { rules: new Map(), devices: new Map() };
  refused = new Map<number, string>();
  /** The next so many calls of `apply` fail. */
  failures = 0;
  #lose: (() => void) | undefined;
  #hold: Promise<void> | undefined;

  readonly lost: AsyncIterable<void> = {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise<IteratorResult<void>>((resolve) => (this.#lose = () => resolve({ done: false, value: undefined }))),
    }),
  };

  /** Somebody flushed the kernel's rules. */
  lose(): void {
    this.#lose?.();
  }
  /** Applications wait until the function returned is called. */
  hold(): () => void {
    let release: () => void = () => undefined;
    this.#hold = new Promise((resolve) => (release = resolve));
    return release;
  }
  start(network: HomeNetwork): Promise<void> {
    this.network = network;
    this.calls.push(`start ${network.lanPrefixes.map(printPrefix).join(" ")}`);
    return Promise.resolve();
  }
  async apply(policy: Policy): Promise<ApplyReport> {
    this.calls.push(`apply ${policy.rules.map(({ id }) => id).join(" ")}`.trim());
    await this.#hold;
    if (this.failures-- > 0) throw new Error("the kernel is busy");
    return { refused: this.refused };
  }
  addresses({ added, removed }: AddressDelta): Promise<void> {
    for (const [sign, list] of [
      ["+", added],
      ["-", removed],
    ] as const)
      for (const one of list)
        this.calls.push(
          `${sign} ${printMac(one.mac).slice(-2)} ${one.kind === "name" ? `${one.domain} ` : ""}${one.address}`,
        );
    return Promise.resolve();
  }
  hits(): Promise<Hits> {
    return Promise.resolve(this.answer);
  }
  cut(devices: readonly number[], destinations: readonly Prefix[]): Promise<void> {
    this.calls.push(
      `cut ${devices.map((mac) => printMac(mac).slice(-2)).join(" ") || "*"} ${destinations.map(printPrefix).join(" ") || "*"}`,
    );
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.calls.push("close");
    return Promise.resolve();
  }
  /** What was told since the last time. */
  take(): string[] {
    return this.calls.splice(0);
  }
}
