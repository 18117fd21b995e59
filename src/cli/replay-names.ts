/** The names that devices of a capture asked for, with what they were told: one row a device, name and type. Bounded. */
import type { Observation } from "../spin/observation.ts";

export interface AskedName {
  /** Milliseconds since 1970: when it was last asked. */
  readonly time: number;
  /** Of the device, where a frame showed it. */
  readonly mac: number | undefined;
  readonly client: string;
  readonly name: string;
  readonly type: string;
  /** Addresses of the last answer, canonical. */
  readonly answers: readonly string[];
  /** Seconds; the shortest of the last answer's, 0 without one. */
  readonly ttl: number;
  readonly count: number;
}

const LIMIT = 100_000;

interface Row {
  time: number;
  mac: number | undefined;
  client: string;
  name: string;
  type: string;
  answers: readonly string[];
  ttl: number;
  queries: number;
  responses: number;
}

export class AskedNames {
  readonly #rows = new Map<string, Row>();
  /** Where neither query nor answer shows the device's hardware address. */
  readonly #macs = new Map<string, number>();

  observe(observation: Observation): void {
    switch (observation.kind) {
      case "neighbour":
        if (observation.address !== undefined && this.#macs.size < LIMIT)
          this.#macs.set(observation.address, observation.mac);
        break;
      case "query": {
        const row = this.#row(observation, observation.name);
        if (row) row.queries++;
        break;
      }
      case "answer": {
        const row = this.#row(observation, observation.names[0] ?? "");
        if (!row) break;
        row.responses++;
        row.answers = observation.addresses.map(({ address }) => address);
        row.ttl = observation.addresses.reduce((least, { ttl }) => Math.min(least, ttl), Infinity);
        if (row.ttl === Infinity) row.ttl = 0;
        break;
      }
      case "flows":
      case "dumped":
      case "lease":
      case "who-has":
      case "identity":
      case "server-name":
      case "blocked":
      case "network":
      case "loss":
        break;
    }
  }

  /** In the order in which they were first asked for. */
  list(): AskedName[] {
    // A capture of one direction shows only the answers.
    return [...this.#rows.values()].map((row) => ({ ...row, count: Math.max(row.queries, row.responses) }));
  }

  #row(seen: { time: number; client: string; mac?: number; type: string }, name: string): Row | undefined {
    const mac = seen.mac ?? this.#macs.get(seen.client);
    const key = `${mac ?? seen.client} ${seen.type} ${name}`;
    let row = this.#rows.get(key);
    if (!row && this.#rows.size < LIMIT) {
      const { client, type, time } = seen;
      row = { time, mac, client, name, type, answers: [], ttl: 0, queries: 0, responses: 0 };
      this.#rows.set(key, row);
    }
    if (row) row.time = seen.time;
    return row;
  }
}
