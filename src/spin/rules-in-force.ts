/** What the rules do to the home: who is blocked, what was hit, and which rules' states changed. */
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { DeviceTable } from "./devices.ts";
import type { ListBook } from "./lists/book.ts";
import type { Merges } from "./merges.ts";
import type { Rule, RuleBook, RuleState } from "./rules.ts";
import type { ApplyReport, Hits, Policy } from "./ruleset.ts";
import type { RuleField } from "./types.ts";
import { Verdicts } from "./verdict.ts";

interface Total {
  readonly packets: number;
  readonly bytes: number;
}

export interface RulesInForceOptions {
  readonly rules: RuleBook;
  readonly lists?: ListBook;
  readonly devices: DeviceTable;
  readonly merges: Merges;
  readonly counters: Counters;
  readonly changed: (rule: number, fields: readonly RuleField[]) => void;
}

export class RulesInForce {
  readonly #options: RulesInForceOptions;
  #verdicts = new Verdicts({ rules: [] });
  readonly #states = new Map<number, RuleState>();
  #isCheckDue = false;
  #domainNote: string | undefined;
  #named: { version: number; macs: ReadonlySet<number> } = { version: -1, macs: new Set() };
  #ignored: { version: number; macs: ReadonlySet<number> | "*" } = { version: -1, macs: new Set() };
  /** What the enforcer said last of each device. */
  readonly #seen = new Map<number, Total>();

  constructor(options: RulesInForceOptions) {
    this.#options = options;
  }

  get verdicts(): Verdicts {
    return this.#verdicts;
  }

  /** The enforcer has this policy. */
  applied(policy: Policy, { refused }: ApplyReport): void {
    const { devices } = this.#options;
    this.#verdicts = new Verdicts(policy, refused, this.#options.lists);
    for (const row of devices.values()) devices.setBlocked(row, this.#verdicts.blocksAllOf(row.mac));
    this.checkSoon();
  }

  /**
   * Whether somebody's rule names the device, or one that it is merged with, in force or not; the agent's own come and go
   * with the row.
   */
  names(mac: number): boolean {
    const { rules, merges } = this.#options;
    if (this.#named.version !== rules.version) {
      const macs = new Set(
        rules.list().flatMap(({ macs, origin }) => (macs === "*" || origin === "System" ? [] : merges.expand(macs))),
      );
      this.#named = { version: rules.version, macs };
    }
    return this.#named.macs.has(mac);
  }

  /** Whether an Ignore rule in force covers all that the device does. */
  ignores(mac: number): boolean {
    const { rules, merges } = this.#options;
    if (this.#ignored.version !== rules.version) {
      const covering = rules
        .list()
        .filter((rule) => rule.action === "Ignore" && isOfAll(rule) && rules.inForce(rule.id));
      const macs = covering.some((rule) => rule.macs === "*")
        ? "*"
        : new Set(covering.flatMap((rule) => merges.expand(rule.macs as readonly number[])));
      this.#ignored = { version: rules.version, macs };
    }
    return this.#ignored.macs === "*" || this.#ignored.macs.has(mac);
  }

  /** In the next turn of the event loop, tells which rules' states changed. */
  checkSoon(): void {
    if (this.#isCheckDue) return;
    this.#isCheckDue = true;
    // Not before what changed is on its way to the kernel.
    setImmediate(() => {
      this.#isCheckDue = false;
      this.#check();
    });
  }

  /** Adds to rules and devices what was dropped since the last time. */
  count(hits: Hits): void {
    const { rules, devices, counters } = this.#options;
    rules.count(hits);
    if (hits.domainNote !== this.#domainNote) this.checkSoon();
    this.#domainNote = hits.domainNote;
    for (const [mac, total] of hits.devices) {
      const seen = this.#seen.get(mac) ?? { packets: 0, bytes: 0 };
      this.#seen.set(mac, { packets: total.packets, bytes: total.bytes });
      // A total that fell is a new enforcer's and counts whole.
      const fell = total.packets < seen.packets || total.bytes < seen.bytes;
      const packets = fell ? total.packets : total.packets - seen.packets;
      const bytes = fell ? total.bytes : total.bytes - seen.bytes;
      // A device without a row is the home's all the same.
      const slot = devices.byMac(mac)?.slot;
      if (slot === undefined) {
        counters.addHome(Counter.BlockedPackets, packets);
        counters.addHome(Counter.BlockedBytes, bytes);
      } else {
        counters.add(slot, Counter.BlockedPackets, packets);
        counters.add(slot, Counter.BlockedBytes, bytes);
      }
    }
    for (const mac of this.#seen.keys()) if (!hits.devices.has(mac)) this.#seen.delete(mac);
  }

  #check(): void {
    const { rules, devices, changed } = this.#options;
    for (const row of devices.values()) devices.setIgnored(row, this.ignores(row.mac));
    const present = rules.list();
    for (const { id } of present) {
      const state = rules.state(id);
      const before = this.#states.get(id);
      this.#states.set(id, state);
      if (!before) continue;
      const fields: RuleField[] = before.status === state.status ? [] : ["Status"];
      if (before.reason !== state.reason) fields.push("StatusReason");
      if (fields.length > 0) changed(id, fields);
    }
    if (this.#states.size > present.length)
      for (const id of this.#states.keys()) if (!rules.get(id)) this.#states.delete(id);
  }
}

function isOfAll({ destinations, protocol, ports, initiator }: Rule): boolean {
  return destinations === "*" && protocol === -1 && ports.length === 0 && initiator === "Any";
}
