/**
 * Source of what devices tell the LAN: whom they ask for and claim to be by ARP, and what they say of themselves by DHCP,
 * mDNS and LLDP. Frames of each LAN interface come through the helper, chosen there (src/netlink/helper/frames.c); LLDP of
 * each port of a bridge besides, since a bridge keeps it to its ports.
 */
import { readdir } from "node:fs/promises";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { Health, Observation, Source } from "../spin/observation.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { Lan } from "./lan.ts";
import { SourceHealth } from "./source-health.ts";
import { whyUnusable } from "./why-unusable.ts";

export interface FramesOptions {
  readonly helper?: NetfilterHelper | undefined;
  readonly lan: Lan;
  readonly clock: Clock;
  readonly log: Log;
  /** Default `/sys/class/net`. */
  readonly classFolder?: string;
}

/** Ports come and go without a word to us. */
const RESCAN_MS = 30_000;
const RETRY_MS = 2000;
/** More than a gateway has; the helper takes 64 subscriptions of all kinds. */
const PORT_LIMIT = 24;
const INTERFACE_LIMIT = 8;
/** As long as this after frames were passed over the source says so. */
const HURRIED_MS = 60_000;

interface Tap {
  stop(): void;
  /** Why there are no frames; empty if there are. */
  error: string;
  failedAt: number;
}

export class FramesSource implements Source {
  readonly name = "frames";
  readonly health = new SourceHealth();
  readonly #options: FramesOptions;
  readonly #wakeup = new Wakeup();
  /** By filter and interface. */
  readonly #taps = new Map<string, Tap>();
  #reader: FrameReader | undefined;
  #hurriedAt = -Infinity;

  constructor(options: FramesOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    if (signal.aborted) return;
    const { helper, lan, clock, log } = this.#options;
    const { health } = this;
    health.status = "Starting";
    health.backend = helper ? "helper" : "";
    const unusable = await whyUnusable(helper, signal);
    if (helper && unusable === undefined) {
      const { FrameReader } = await import("./frame-reader.ts");
      const tell = (observation: Observation) => {
        health.observations++;
        emit(observation);
      };
      this.#reader = new FrameReader({ lan, clock, emit: tell });
    }
    const forget = lan.onChange(() => this.#wakeup.wake());
    let told = "";
    for (let round = 0; !signal.aborted; round++) {
      if (helper && unusable === undefined) await this.#follow(helper);
      if (unusable !== undefined) health.failed(unusable);
      // At first nobody has told yet where the LAN is.
      else if (round > 0 || this.#taps.size > 0) this.#judge();
      const reason = troubleOf(health);
      if (reason !== told && reason !== "") log.warn(`frames of the LAN: ${reason}`);
      told = reason;
      const hasFailed = [...this.#taps.values()].some(({ error }) => error !== "");
      await this.#wakeup.wait(hasFailed ? RETRY_MS : RESCAN_MS, signal);
    }
    for (const tap of this.#taps.values()) tap.stop();
    this.#taps.clear();
    forget();
    health.status = "Disabled";
  }

  /** Brings the subscriptions in line with the interfaces that there are. */
  async #follow(helper: NetfilterHelper): Promise<void> {
    const { lan, classFolder = "/sys/class/net" } = this.#options;
    const interfaces = [...lan.interfaces].slice(0, INTERFACE_LIMIT);
    const ports = await bridgePorts(classFolder, interfaces);
    const wanted = new Map<string, () => Tap>();
    for (const name of interfaces) wanted.set(`home ${name}`, () => this.#tap(helper, name, "home"));
    for (const name of ports) wanted.set(`lldp ${name}`, () => this.#tap(helper, name, "lldp"));
    const now = performance.now();
    for (const [key, tap] of this.#taps) {
      if (wanted.has(key) && (tap.error === "" || now - tap.failedAt < RETRY_MS - 100)) continue;
      tap.stop();
      this.#taps.delete(key);
    }
    for (const [key, open] of wanted) if (!this.#taps.has(key)) this.#taps.set(key, open());
  }

  #tap(helper: NetfilterHelper, name: string, kind: "home" | "lldp"): Tap {
    const tap: Tap = { stop: () => undefined, error: "", failedAt: 0 };
    const failed = (reason: string) => {
      tap.error = `${name}: ${reason}`;
      tap.failedAt = performance.now();
      this.#wakeup.wake();
    };
    try {
      tap.stop = helper.frames(
        { interface: name, filter: { kind } },
        {
          onFrame: (bytes, start, end, originalLength) => {
            this.#reader?.read(name, bytes, start, end, originalLength);
            this.health.decodeErrors = this.#reader?.decodeErrors ?? 0;
          },
          onLoss: (lost, passedOver) => {
            this.health.lost += lost + passedOver;
            if (passedOver > 0) this.#hurriedAt = performance.now();
            this.#judge();
          },
          onError: ({ message }) => failed(message),
          onReady: () => {
            if (this.#taps.get(`${kind} ${name}`) !== tap) return;
            tap.error = "";
            this.#judge();
          },
          onDown: (reason) => {
            this.health.running("helper", reason);
          },
        },
      );
    } catch (error) {
      failed((error as Error).message);
    }
    return tap;
  }

  /** Sets the state of the source. */
  #judge(): void {
    const errors = [...this.#taps.values()].flatMap(({ error }) => error || []);
    const hasHome = [...this.#taps].some(([key, { error }]) => key.startsWith("home ") && error === "");
    if (this.#taps.size === 0) errors.push("no LAN interface was found");
    if (performance.now() - this.#hurriedAt < HURRIED_MS)
      errors.push("frames came faster than they are read: some were passed over");
    const text = errors.join("; ");
    this.health.running("helper", text);
    if (!hasHome && this.#taps.size > 0) this.health.failed(text);
  }
}

function troubleOf({ status, lastError }: Health): string {
  return status === "Degraded" || status === "Error" ? lastError : "";
}

/** Ports of the bridges among the interfaces, and of those beneath them (`br-lan.10` lies on `br-lan`). */
async function bridgePorts(folder: string, interfaces: readonly string[]): Promise<string[]> {
  const entries = (path: string) => readdir(path).catch(() => [] as string[]);
  const ports = new Set<string>();
  for (const name of interfaces) {
    const lower = (await entries(`${folder}/${name}`)).flatMap((entry) => /^lower_(.+)$/.exec(entry)?.[1] ?? []);
    for (const bridge of [name, ...lower])
      for (const port of await entries(`${folder}/${bridge}/brif`)) ports.add(port);
  }
  for (const name of interfaces) ports.delete(name);
  return [...ports].sort().slice(0, PORT_LIMIT);
}
