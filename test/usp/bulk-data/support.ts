/** An agent that reports, a collector that takes reports, and profiles added through USP. */
import { createServer as createHttp, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import type { Clock } from "../../../src/lib/clock.ts";
import { silentLog, type Log } from "../../../src/lib/log.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { bulkDataObjects } from "../../../src/objects/bulk-data.ts";
import { BulkData, type BulkDataParts } from "../../../src/usp/bulk-data/bulk-data.ts";
import { BulkDataStates } from "../../../src/usp/bulk-data/state.ts";
import { addOne, AGENT_ID, buildWorld, setOne, type Peer, type World } from "../support.ts";

export const ANYWHERE = ["0.0.0.0/0", "::/0"];
export const PROFILES = "Device.BulkData.Profile.";

export interface BulkWorld extends World {
  readonly bulkData: BulkData;
}

/** With `permissive` addresses and plaintext, since collectors of tests are on loopback. */
export async function bulkWorld(
  options: Partial<BulkDataParts> & { world?: Parameters<typeof buildWorld>[0]; minInterval?: number } = {},
): Promise<BulkWorld> {
  const states = new BulkDataStates();
  const late: { bulkData?: BulkData } = {};
  const { world: worldOptions, minInterval = 1, ...parts } = options;
  const force = (path: string) => late.bulkData?.force(path);
  const world = await buildWorld({
    ...worldOptions,
    extra: [...bulkDataObjects({ persistence: undefined, states, minInterval, force }), ...(worldOptions?.extra ?? [])],
  });
  const bulkData = new BulkData({
    tree: world.tree,
    clock: systemClock,
    log: silentLog,
    random: () => 0,
    identity: () => ({ endpointId: AGENT_ID, oui: "0005CA", productClass: "p c", serialNumber: "S&1" }),
    viewOf: (owner, at) => world.agent.viewOf(owner, at),
    reaches: (owner) => world.agent.reaches(owner),
    publish: undefined,
    http: () => ({ allowPlaintext: true, allowLocal: ANYWHERE }),
    reportBytes: 1_000_000,
    states,
    forceIntervalMs: 0,
    ...parts,
  });
  late.bulkData = bulkData;
  const stop = new AbortController();
  const running = bulkData.run(stop.signal);
  return {
    ...world,
    bulkData,
    stop: async () => {
      stop.abort();
      await running;
      await world.stop();
    },
  };
}

/** Adds a profile with its parameters; the instance path of its row. `Reference` or `Name=Reference` or `-Reference`. */
export async function addProfile(
  peer: Peer,
  values: Readonly<Record<string, string>>,
  references: readonly string[],
): Promise<string> {
  const path = await addRowBy(peer, PROFILES, { ReportingInterval: "3600", ...values });
  for (const reference of references) {
    const exclude = reference.startsWith("-");
    const [name, target] = reference.includes("=") && !reference.includes("[") ? reference.split("=") : ["", reference];
    await addRowBy(peer, `${path}Parameter.`, {
      Name: name as string,
      Reference: (target as string).replace(/^-/, ""),
      Exclude: `${exclude}`,
    });
  }
  await peer.response(setOne(path, { Enable: "true" }), "setResp");
  return path;
}

export async function addRowBy(peer: Peer, table: string, values: Readonly<Record<string, string>>): Promise<string> {
  const { createdObjResults } = await peer.response(addOne(table, values), "addResp");
  const status = createdObjResults[0]?.operStatus?.operStatus;
  if (status?.$case !== "operSuccess") throw new Error(JSON.stringify(status));
  return status.value.instantiatedPath;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Unzipped. */
  readonly text: string;
  readonly bytes: number;
}

export class Collector {
  readonly requests: Request[] = [];
  /** What is answered; 204 at first. */
  answer: (response: ServerResponse, request: Request) => void = (response) => response.writeHead(204).end();
  readonly #server: Server;
  readonly #isTls: boolean;

  private constructor(server: Server, isTls: boolean) {
    this.#server = server;
    this.#isTls = isTls;
    server.on("request", (incoming, response: ServerResponse) => {
      const chunks: Buffer[] = [];
      incoming.on("error", () => undefined);
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const body = Buffer.concat(chunks);
        const url = new URL(incoming.url as string, "http://collector");
        const request = {
          method: incoming.method as string,
          path: url.pathname,
          query: url.searchParams,
          headers: incoming.headers,
          text: (incoming.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString(),
          bytes: body.length,
        };
        this.requests.push(request);
        this.answer(response, request);
      });
    });
  }

  static async start(tls?: ServerOptions): Promise<Collector> {
    const server = tls ? createHttps(tls) : createHttp();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return new Collector(server, tls !== undefined);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(host = "127.0.0.1"): string {
    return `http${this.#isTls ? "s" : ""}://${host}:${this.port}/bulk`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

/** A wall clock that can be put forward and back, over real timers. */
export class JumpingClock implements Clock {
  offset = 0;
  now(): number {
    return Date.now() + this.offset;
  }
  monotonic(): number {
    return performance.now();
  }
}

/** What was said as a warning. */
export function warnings(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const log: Log = { ...silentLog, warn: (text) => lines.push(text), child: () => log };
  return { log, lines };
}
