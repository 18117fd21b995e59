/** Fetching lists from real servers, good, broken and hostile. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fetchList, type FetchPolicy } from "../../src/gateway/list-fetch.ts";
import { ListLoader, type ListLoaderOptions } from "../../src/gateway/list-loader.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { ListBook } from "../../src/spin/lists/book.ts";
import { ListDesk, type ListSource } from "../../src/spin/lists/desk.ts";
import { eventually } from "../support/eventually.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let handler: Handler = (_request, response) => response.end();
let seen: IncomingMessage["headers"][] = [];
const server = createServer((request, response) => {
  seen.push(request.headers);
  handler(request, response);
});
let base = "";
let folder = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spin-lists-"));
  seen = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const GOOD = "198.51.100.7\nads.example\n";
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

describe("one fetch", () => {
  const fetch = (policy: FetchPolicy = {}, over: Partial<Parameters<typeof fetchList>[0]> = {}) =>
    fetchList(
      { url: `${base}/list`, etag: "", lastModified: "", mayBeLocal: true, file: join(folder, "new"), ...over },
      policy,
      new AbortController().signal,
    );

  test("writes what came, and says its hash and its validators", async () => {
    handler = (_request, response) => response.setHeader("ETag", '"7"').end(GOOD);
    expect(await fetch()).toMatchObject({ kind: "new", sha256: sha256(GOOD), etag: '"7"' });
    expect(readFileSync(join(folder, "new"), "utf8")).toBe(GOOD);
  });

  test("asks whether it changed", async () => {
    handler = (request, response) => {
      response.statusCode = request.headers["if-none-match"] === '"7"' ? 304 : 200;
      response.end();
    };
    expect(await fetch({}, { etag: '"7"', lastModified: "Thu, 01 Jan 2026 00:00:00 GMT" })).toEqual({ kind: "same" });
    expect(seen[0]).toMatchObject({ "if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT" });
  });

  test.each(["gzip", ""])("unpacks gzip that is said to be %j", async (encoding) => {
    handler = (_request, response) => {
      if (encoding !== "") response.setHeader("Content-Encoding", encoding);
      response.end(gzipSync(GOOD));
    };
    expect(await fetch()).toMatchObject({ sha256: sha256(GOOD) });
  });

  test.each<[string, RegExp, Handler, FetchPolicy?]>([
    ["404", /answered 404/, (_request, response) => response.writeHead(404).end("secret words")],
    [
      "one that ends early",
      /before its end|aborted|hang up/,
      (_request, response) => {
        response.writeHead(200, { "Content-Length": "1000" }).write("198.51.100.7\n");
        setTimeout(() => response.destroy(), 20);
      },
    ],
    [
      "one that says it is too big",
      /larger than 1000/,
      (_request, response) => response.writeHead(200, { "Content-Length": "100000" }).end("x"),
      { maxBytes: 1000 },
    ],
    [
      "one that is too big",
      /larger than 1000/,
      (_request, response) => {
        const more = () => void (response.destroyed || (response.write("x".repeat(500)), setTimeout(more, 5)));
        more();
      },
      { maxBytes: 1000 },
    ],
    [
      "a bomb",
      /larger than 100000/,
      (_request, response) => response.setHeader("Content-Encoding", "gzip").end(gzipSync(Buffer.alloc(50 << 20))),
      { maxBytes: 100_000 },
    ],
    [
      "what can't be unpacked",
      /can't be unpacked|said to be gzip/,
      (_request, response) => response.setHeader("Content-Encoding", "gzip").end(Buffer.from([0x1f, 0x8b, 1, 2, 3, 4])),
    ],
    [
      "slow loris",
      /stopped sending|in time/,
      (_request, response) => void response.write("1"),
      { idleMs: 100, timeoutMs: 2000 },
    ],
    [
      "one that drips for ever",
      /in time/,
      (_request, response) => {
        const drip = () => void (response.destroyed || (response.write("#"), setTimeout(drip, 30)));
        drip();
      },
      { idleMs: 1000, timeoutMs: 300 },
    ],
    [
      "redirects for ever",
      /more than 5 times/,
      (_request, response) => response.writeHead(302, { Location: "/list" }).end(),
    ],
    [
      "a redirect to a file",
      /redirected to file:/,
      (_request, response) => response.writeHead(302, { Location: "file:///etc/passwd" }).end(),
    ],
  ])("refuses %s", async (_what, why, answer, policy = {}) => {
    handler = answer;
    const failed = fetch(policy);
    await expect(failed).rejects.toThrow(why);
    await expect(failed).rejects.not.toThrow(/secret words/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("of a controller goes to no address of this machine, the home or its links, by name or redirect either", async () => {
    handler = (_request, response) => response.end(GOOD);
    for (const url of [
      `${base}/x`,
      "http://localhost:1/",
      "http://10.1.2.3/",
      "http://[fe80::1]/",
      "http://169.254.169.254/",
    ])
      await expect(fetch({}, { url, mayBeLocal: false })).rejects.toThrow(/only the resident's lists/);
    expect(seen).toEqual([]);
    handler = (_request, response) => response.writeHead(302, { Location: "http://192.168.1.1/" }).end();
    await expect(fetch({ allowLocal: ["127.0.0.0/8"] }, { mayBeLocal: false })).rejects.toThrow(
      /192\.168\.1\.1 is a private/,
    );
  });
});

describe("the loader", () => {
  const source = (over: Partial<ListSource> = {}): ListSource => ({
    number: 3,
    enable: true,
    url: `${base}/list`,
    content: "",
    format: "Plain",
    checksum: "",
    refreshMs: 600_000,
    mayBeLocal: true,
    mayBeFile: false,
    ...over,
  });

  async function running<T>(
    work: (parts: { desk: ListDesk; book: ListBook }) => Promise<T>,
    first = source(),
    limits: Pick<ListLoaderOptions, "memoryBytes" | "diskBytes"> = {},
  ): Promise<T> {
    const desk = new ListDesk();
    const book = new ListBook();
    const put = (one: ListSource) => {
      book.put(one);
      desk.put(one);
    };
    put(first);
    const loader = new ListLoader({
      desk,
      book,
      directory: join(folder, "lists"),
      policy: () => ({ timeoutMs: 2000 }),
      excluded: () => [],
      clock: systemClock,
      log: silentLog,
      retryMs: 50,
      ...limits,
    });
    try {
      await loader.open();
      return await work({ desk, book });
    } finally {
      await loader.close();
    }
  }

  const becomes = (desk: ListDesk, wanted: object) =>
    eventually(
      () => Promise.resolve(desk.state(3)),
      (state) => {
        expect(state).toBeDefined();
        return Object.entries(wanted).every(([key, value]) =>
          value instanceof RegExp
            ? value.test(String(state[key as keyof typeof state]))
            : state[key as keyof typeof state] === value,
        );
      },
      { what: JSON.stringify(Object.keys(wanted)), timeoutMs: 5000 },
    );

  test("keeps the last good one through broken updates, and over a restart before the network is there", async () => {
    handler = (_request, response) => response.setHeader("ETag", '"1"').end(GOOD);
    await running(async ({ desk, book }) => {
      await becomes(desk, { status: "Enabled", entries: 2, checksum: sha256(GOOD) });
      expect(book.content(3)?.names.match("x.ads.example")).toBe("ads.example");
      for (const answer of [
        (_request: IncomingMessage, response: ServerResponse) => response.writeHead(500).end(),
        (_request: IncomingMessage, response: ServerResponse) => response.end("<html>not a list</html>"),
      ]) {
        handler = answer;
        desk.refresh(3);
        await becomes(desk, { status: "Enabled", entries: 2, reason: /the last update failed/ });
        expect(desk.state(3).reason).not.toContain("html>");
      }
      handler = (request, response) => {
        response.statusCode = request.headers["if-none-match"] === '"1"' ? 304 : 200;
        response.end();
      };
      desk.refresh(3);
      await becomes(desk, { reason: "" });
    });
    handler = (_request, response) => response.writeHead(503).end();
    await running(({ desk, book }) => {
      expect(desk.state(3)).toMatchObject({ status: "Enabled", entries: 2 });
      expect(book.content(3)?.entries).toBe(2);
      return Promise.resolve();
    });
    writeFileSync(join(folder, "lists", "3.list"), "198.51.100.8\n");
    await running(async ({ desk, book }) => {
      await becomes(desk, { status: "Error", reason: /503/ });
      expect(book.content(3)).toBeUndefined();
      expect(readdirSync(join(folder, "lists"))).toContain("3.list.corrupt");
    });
  });

  test("keeps the last good one through a power cut between the two files of an update", async () => {
    handler = (_request, response) => response.end(GOOD);
    await running(({ desk }) => becomes(desk, { status: "Enabled", entries: 2 }));
    const path = join(folder, "lists", "3.list");
    handler = (_request, response) => response.end("198.51.100.9\n");
    await running(async ({ desk }) => {
      desk.refresh(3);
      await becomes(desk, { status: "Enabled", entries: 1 });
      await eventually(
        () => Promise.resolve(readFileSync(path, "utf8")),
        (text) => text === "198.51.100.9\n",
        { what: "the new file" },
      );
    });
    writeFileSync(path, GOOD);
    handler = (_request, response) => response.writeHead(503).end();
    await running(async ({ desk, book }) => {
      expect(desk.state(3)).toMatchObject({ status: "Enabled", entries: 2 });
      // And asks for the newest at once.
      handler = (_request, response) => response.end("198.51.100.9\n");
      await becomes(desk, { status: "Enabled", entries: 1 });
      expect(book.content(3)?.entries).toBe(1);
    });
  });

  test("takes nothing of another hash, and what is set or comes from a file only as it may", async () => {
    handler = (_request, response) => response.end(GOOD);
    await running(
      async ({ desk }) => {
        await becomes(desk, { status: "Error", reason: /another SHA-256/ });
        desk.put(source({ checksum: sha256(GOOD) }));
        await becomes(desk, { status: "Enabled", checksum: sha256(GOOD) });
        desk.put(source({ url: "", content: "" }));
        await becomes(desk, { status: "Error_Misconfigured" });
        desk.put(source({ url: "", content: "198.51.100.1\n198.51.100.2" }));
        await becomes(desk, { status: "Enabled", entries: 2 });
        const path = join(folder, "own");
        writeFileSync(path, GOOD);
        desk.put(source({ url: `file://${path}` }));
        await becomes(desk, { status: "Error", reason: /firmware's configuration alone/ });
        desk.put(source({ url: `file://${path}`, mayBeFile: true }));
        await becomes(desk, { status: "Enabled", entries: 2 });
        desk.remove(3);
        await eventually(
          () => Promise.resolve(readdirSync(join(folder, "lists"))),
          (files) => files.length === 0,
          { what: "no file" },
        );
      },
      source({ checksum: sha256("else") }),
    );
  });

  test("tries again after a failure by itself", async () => {
    let calls = 0;
    handler = (_request, response) => (++calls < 3 ? response.writeHead(503).end() : response.end(GOOD));
    await running(async ({ desk }) => becomes(desk, { status: "Enabled" }));
    expect(calls).toBe(3);
  });

  const names = (count: number, of: string) => Array.from({ length: count }, (_, k) => `${of}${k}.example\n`).join("");

  test("gives all lists together no more memory than there is, by whoever they are", async () => {
    handler = (request, response) => response.end(names(1000, (request.url ?? "").slice(1)));
    await running(
      async ({ desk, book }) => {
        await becomes(desk, { status: "Enabled", entries: 1000 });
        book.put({ number: 4, enable: true });
        desk.put(source({ number: 4, url: `${base}/more` }));
        await eventually(
          () => Promise.resolve(desk.state(4)),
          ({ status, entries, reason }) => status === "Enabled" && entries === 500 && reason.includes("500 entries"),
          { what: "half of it" },
        );
        book.put({ number: 5, enable: true });
        desk.put(source({ number: 5, url: "", content: "third.example" }));
        await eventually(
          () => Promise.resolve(desk.state(5)),
          ({ status, reason }) => status === "Error" && reason.includes("memory"),
          { what: "no room" },
        );
        // What another gives back can be had.
        desk.put(source({ enable: false }));
        desk.refresh(4);
        await eventually(
          () => Promise.resolve(desk.state(4)),
          ({ entries, reason }) => entries === 1000 && reason === "",
          { what: "all of it" },
        );
      },
      source(),
      { memoryBytes: 1500 * 8 },
    );
  });

  test("keeps no more on the disk than all lists together may", async () => {
    const text = names(1000, "name");
    handler = (_request, response) => response.end(text);
    await running(
      async ({ desk, book }) => {
        await becomes(desk, { status: "Enabled" });
        book.put({ number: 4, enable: true });
        desk.put(source({ number: 4 }));
        await eventually(
          () => Promise.resolve(desk.state(4)),
          ({ status, reason }) => status === "Error" && reason.includes("larger than"),
          { what: "no room" },
        );
        expect(readdirSync(join(folder, "lists")).sort()).toEqual(["3.json", "3.list"]);
      },
      source(),
      { diskBytes: Math.floor(text.length * 1.5) },
    );
  });

  test("does not take for loaded what a server says has not changed", async () => {
    handler = (_request, response) => response.writeHead(304).end();
    await running(async ({ desk }) => becomes(desk, { status: "Error", reason: /nothing changed/ }));
  });
});
