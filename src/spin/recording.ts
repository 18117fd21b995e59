/** What goes into the flow log: whose it is, and the name that the device has for its peer. */
import { parseAddress } from "../lib/address.ts";
import type { DeviceTable } from "./devices.ts";
import { isLocal, peerOffset } from "./direction.ts";
import type { FlowRecorder } from "./flow-recorder.ts";
import { FlowState, type FlowRows } from "./flow-rows.ts";
import type { Names } from "./names.ts";
import type { Observation } from "./observation.ts";
import type { Owners } from "./owners.ts";

export interface RecordingOptions {
  readonly log: FlowRecorder;
  readonly devices: DeviceTable;
  readonly owners: Owners;
  readonly names: Names;
}

export class Recording {
  readonly #options: RecordingOptions;
  readonly #macOf = (slot: number) => this.#options.devices.bySlot(slot)?.mac;

  constructor(options: RecordingOptions) {
    this.#options = options;
  }

  /** An ended row of the table, before it is released. */
  add(rows: FlowRows, row: number, domain: string): void {
    const mac = this.#macOf(rows.device[row] as number);
    if (mac !== undefined) this.#options.log.flow(mac, rows, row, domain);
  }

  observed(observation: Observation): void {
    const { log } = this.#options;
    if (observation.kind === "query" || observation.kind === "answer") {
      const mac = this.#clientOf(observation);
      if (mac === undefined) return;
      if (observation.kind === "query") log.question(mac, observation);
      else log.answer(mac, observation);
    } else if (observation.kind === "blocked")
      log.blocked(observation, this.#nameOf(observation.mac, observation.address));
  }

  tick(rows: FlowRows): void {
    this.#options.log.tick(rows, this.#macOf, (row) => this.#nameOfRow(rows, row));
  }

  /** What lives on is said once more, so that it leads to its device whatever comes between. */
  async close(rows: FlowRows): Promise<void> {
    for (let row = 0; row < rows.capacity; row++)
      if (
        rows.state[row] === FlowState.Ended &&
        (rows.device[row] as number) >= 0 &&
        !isLocal(rows.direction[row] as number)
      )
        this.add(rows, row, this.#nameOfRow(rows, row));
    await this.#options.log.close(rows, this.#macOf, (row) => this.#nameOfRow(rows, row));
  }

  #nameOfRow(rows: FlowRows, row: number): string {
    const peer = row * 16 + peerOffset(rows.direction[row] as number);
    return rows.domain[row] || this.#options.names.best(rows.device[row] as number, rows.addresses, peer);
  }

  #nameOf(mac: number, address: string): string {
    const row = this.#options.devices.byMac(mac);
    const words = parseAddress(address);
    return row && words ? this.#options.names.best(row.slot, words, 0) : "";
  }

  #clientOf({ mac, client }: { readonly mac?: number; readonly client: string }): number | undefined {
    const { devices, owners } = this.#options;
    if (mac !== undefined && devices.byMac(mac)) return mac;
    const words = parseAddress(client);
    const slot = words ? owners.find(words, 0) : -1;
    return slot < 0 ? undefined : this.#macOf(slot);
  }
}
