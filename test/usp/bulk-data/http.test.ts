/** Delivery by HTTP to real servers on loopback. https://usp.technology/specification/ (HTTP Bulk Data Collection) */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { forbiddenBut } from "../../../src/usp/bulk-data/forbidden.ts";
import type { HttpPolicy } from "../../../src/usp/bulk-data/http.ts";
import { authority } from "../../support/certificates.ts";
import { describeUnless, missing } from "../../support/needs.ts";
import { operation, setOne, until } from "../support.ts";
import { ANYWHERE, addProfile, addRowBy, bulkWorld, Collector, warnings, type BulkWorld } from "./support.ts";

let collector: Collector;
let world: BulkWorld;
let lines: string[];
let policy: HttpPolicy;

beforeEach(async () => {
  collector = await Collector.start();
  const heard = warnings();
  lines = heard.lines;
  policy = { allowPlaintext: true, allowLocal: ANYWHERE };
  world = await bulkWorld({ log: heard.log, http: () => policy });
});
afterEach(async () => {
  await world.stop();
  await collector.stop();
});

const isPrivate = (address: string) => /^(10|127|169\.254|172|192\.168)\.|^(::1|f[cdef])/.test(address);

const profile = (values: Readonly<Record<string, string>> = {}) =>
  addProfile(world.admin, { Protocol: "HTTP", "HTTP.URL": collector.url(), ...values }, ["Size=Device.House.Size"]);

async function force(path: string) {
  await world.admin.response(operation(`${path}ForceCollection()`), "operateResp");
}

async function delivered(path: string) {
  const before = collector.requests.length;
  await force(path);
  await until(() => collector.requests.length > before, "a report");
  return collector.requests[before]!;
}

async function refused(path: string) {
  await force(path);
  await until(() => lines.length > 0, "a warning");
  return lines[0];
}

const sizes = (i: number) =>
  (JSON.parse(collector.requests[i]!.text) as { Report: { Size: number }[] }).Report.map(({ Size }) => Size);

describe("a request", () => {
  it("says whose report it is in the query, and what it is in its headers (R-BULK.1, R-BULK.7, R-BULK.8)", async () => {
    const { method, path, query, headers } = await delivered(await profile());
    expect([method, path]).toEqual(["POST", "/bulk"]);
    expect([...query]).toEqual([
      ["oui", "0005CA"],
      ["pc", "p c"],
      ["sn", "S&1"],
    ]);
    expect(headers["content-type"]).toBe("application/json; charset=UTF-8");
    expect(headers["bbf-report-format"]).toBe("ObjectHierarchy");
    expect(Math.abs(Date.parse(headers.date as string) - Date.now())).toBeLessThan(60_000);
    expect(headers["content-encoding"]).toBeUndefined();
  });

  it("is a PUT, zipped, without Date, as CSV, with more in the query, where the profile says so", async () => {
    const path = await profile({
      EncodingType: "CSV",
      "CSVEncoding.RowTimestamp": "None",
      "HTTP.URL": `${collector.url()}?tenant=7`,
      "HTTP.Method": "PUT",
      "HTTP.Compression": "GZIP",
      "HTTP.UseDateHeader": "false",
    });
    await addRowBy(world.admin, `${path}HTTP.RequestURIParameter.`, {
      Name: "eid",
      Reference: "Device.LocalAgent.EndpointID",
    });
    await addRowBy(world.admin, `${path}HTTP.RequestURIParameter.`, { Name: "pin", Reference: "Device.House.Key" });
    const { method, query, headers, text } = await delivered(path);
    expect(method).toBe("PUT");
    expect(query.toString()).toBe("tenant=7&oui=0005CA&pc=p+c&sn=S%261&eid=os%3A%3A0005CA-agent&pin=");
    expect(headers).toMatchObject({
      "content-type": "text/csv; charset=UTF-8; header=present",
      "bbf-report-format": "ParameterPerColumn",
      "content-encoding": "gzip",
    });
    expect(headers.date).toBeUndefined();
    expect(text).toBe("Size\r\n42\r\n");
  });

  it.each(["ftp://192.0.2.1/", "https://user:pass@192.0.2.1/", "https://192.0.2.1/#x", "nonsense", "https://"])(
    "never goes to %s: no such URL is taken",
    async (url) => {
      await expect(profile({ "HTTP.URL": url })).rejects.toThrow();
    },
  );
});

describe("who the agent is", () => {
  it("is told by Digest to a collector without TLS that asks (RFC 7616)", async () => {
    const seen: string[] = [];
    collector.answer = (response, { headers, method, query }) => {
      const given = headers.authorization;
      if (given === undefined) {
        response.setHeader("WWW-Authenticate", [
          'Basic realm="c"',
          'Digest realm="c", nonce="n1", qop="auth", algorithm=MD5',
          'Digest realm="c", nonce="n2", qop="auth,auth-int", algorithm=SHA-256, opaque="o"',
        ]);
        return void response.writeHead(401).end();
      }
      seen.push(given);
      const of = (name: string) => new RegExp(`${name}="?([^",]+)`).exec(given)?.[1] ?? "";
      const sha = (text: string) => createHash("sha256").update(text).digest("hex");
      const uri = `/bulk?${query.toString()}`;
      const wanted = sha(`${sha("cpe:c:s3cret")}:n2:00000001:${of("cnonce")}:auth:${sha(`${method}:${uri}`)}`);
      response.writeHead(of("response") === wanted && of("opaque") === "o" ? 204 : 403).end();
    };
    const path = await profile({ "HTTP.Username": "cpe", "HTTP.Password": "s3cret" });
    await force(path);
    await until(() => seen.length > 0, "an answer to the challenge");
    expect(seen[0]).toMatch(/^Digest /);
    expect(seen[0]).not.toContain("s3cret");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(lines).toEqual([]);
    expect(collector.requests[0]?.headers.authorization).toBeUndefined();
  });

  it("is told by Basic where that is all that is asked for", async () => {
    collector.answer = (response, { headers }) => {
      if (headers.authorization === undefined) response.setHeader("WWW-Authenticate", 'Basic realm="c"').writeHead(401);
      response.end();
    };
    const path = await profile({ "HTTP.Username": "cpe", "HTTP.Password": "s3cret" });
    await force(path);
    await until(() => collector.requests.length === 2, "two requests");
    expect(collector.requests[1]?.headers.authorization).toBe(`Basic ${Buffer.from("cpe:s3cret").toString("base64")}`);
  });

  it("is asked once: a second 401 is a refusal", async () => {
    collector.answer = (response) => response.setHeader("WWW-Authenticate", 'Basic realm="c"').writeHead(401).end();
    const path = await profile({ "HTTP.Username": "cpe", "HTTP.Password": "wrong" });
    expect(await refused(path)).toContain("answered 401");
    expect(collector.requests).toHaveLength(2);
  });
});

describe("an answer", () => {
  it.each([400, 403, 404, 500, 503, 304])("%i is a failure", async (status) => {
    collector.answer = (response) => response.writeHead(status).end();
    expect(await refused(await profile())).toContain(`answered ${status}`);
  });

  it("may redirect within the collector", async () => {
    collector.answer = (response, { path }) =>
      path === "/bulk" ? response.writeHead(307, { Location: "/other?x=1" }).end() : response.writeHead(204).end();
    await force(await profile());
    await until(() => collector.requests.length === 2, "two requests");
    expect(collector.requests[1]).toMatchObject({ method: "POST", path: "/other" });
    expect(collector.requests[1]?.text).toBe(collector.requests[0]?.text);
  });

  it("may not redirect elsewhere, nor without end", async () => {
    const other = await Collector.start();
    try {
      collector.answer = (response) => response.writeHead(307, { Location: other.url() }).end();
      const path = await profile();
      expect(await refused(path)).toContain(`redirected to http://127.0.0.1:${other.port}`);
      expect(other.requests).toEqual([]);
      lines.length = 0;
      collector.answer = (response) => response.writeHead(307, { Location: "/bulk" }).end();
      expect(await refused(path)).toContain("redirected more than 3 times");
    } finally {
      await other.stop();
    }
  });

  it("that never ends costs nothing more", async () => {
    let isClosed = false;
    collector.answer = (response) => {
      response.writeHead(200);
      const more = setInterval(() => response.write(Buffer.alloc(65_536)), 1);
      response.on("close", () => (clearInterval(more), (isClosed = true)));
    };
    await force(await profile());
    await until(() => isClosed, "the end of the connection");
    expect(lines).toEqual([]);
  });
});

describe("a collector that", () => {
  let server: Server;
  const sockets = new Set<Socket>();
  const listen = async (connected: (socket: Socket) => void) => {
    server = createServer((socket) => {
      sockets.add(socket.on("error", () => undefined));
      connected(socket);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  };
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  });

  it("never answers is given up", async () => {
    policy = { ...policy, timeoutMs: 100 };
    const url = await listen(() => undefined);
    expect(await refused(await profile({ "HTTP.URL": url }))).toContain("did not answer in time");
  });

  it("answers nonsense is given up", async () => {
    const url = await listen((socket) => socket.end("SSH-2.0-x\r\n"));
    expect(await refused(await profile({ "HTTP.URL": url }))).toContain("Parse Error");
  });

  it("hangs does not keep the agent from stopping", async () => {
    const url = await listen(() => undefined);
    await force(await profile({ "HTTP.URL": url }));
    await until(() => sockets.size > 0, "the connection");
    // Ended by afterEach, within jest's patience.
  });
});

describe("where a report may go", () => {
  it.each([
    ["127.0.0.1", "this machine"],
    ["0.0.0.0", "this machine"],
    ["10.1.2.3", "a private range"],
    ["172.20.0.1", "a private range"],
    ["192.168.1.1", "a private range"],
    ["169.254.169.254", "link-local"],
    ["224.0.0.1", "a group"],
    ["::1", "this machine"],
    ["::ffff:192.168.1.1", "a private range"],
    ["fe80::1", "link-local"],
    ["fd00::1", "a private range"],
    ["64:ff9b::c0a8:101", "a private range"],
    ["::192.168.1.1", "a private range"],
    ["2002:c0a8:101::1", "a private range"],
    ["2002:7f00:1::", "this machine"],
    ["64:ff9b:1::c0a8:101", "a private range"],
    ["fec0::1", "a private range"],
    ["100.64.0.1", "a private range"],
    ["100.128.0.1", undefined],
    ["2002:cb00:7101::1", undefined],
    ["203.0.113.1", undefined],
    ["2001:db8::1", undefined],
    ["64:ff9b::cb00:7101", undefined],
    ["nonsense", "no address"],
  ])("%s: %s", (address, why) => {
    expect(forbiddenBut([])(address)).toBe(why);
  });

  const near = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, cidr, address }) => !internal && cidr !== null && !cidr.endsWith("/0") && !isPrivate(address));
  (near ? it : it.skip)("is not the home, whatever its addresses [needs a public address on an interface]", () => {
    expect(forbiddenBut([])(near?.address ?? "")).toBe("on a link of this gateway");
  });

  it("is widened by prefixes of the configuration", () => {
    const forbidden = forbiddenBut(["10.20.0.0/16", "fd12::/32"]);
    expect(forbidden("10.20.3.4")).toBeUndefined();
    expect(forbidden("fd12::1")).toBeUndefined();
    expect(forbidden("10.21.3.4")).toBe("a private range");
  });

  it.each(["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])(
    "is judged at the address: nothing knocks at %s",
    async (host) => {
      policy = { ...policy, allowLocal: [] };
      expect(await refused(await profile({ "HTTP.URL": collector.url(host) }))).toContain("option allow_local");
      expect(collector.requests).toEqual([]);
    },
  );

  it("takes a name whose address is permitted", async () => {
    policy = { ...policy, allowLocal: ["127.0.0.0/8", "::1"] };
    await delivered(await profile({ "HTTP.URL": collector.url("localhost") }));
    expect(lines).toEqual([]);
  });

  it("is over TLS, unless the configuration permits without", async () => {
    policy = { ...policy, allowPlaintext: false };
    expect(await refused(await profile())).toContain("option allow_plaintext");
    expect(collector.requests).toEqual([]);
  });
});

describe("a report that fails", () => {
  it("is sent again, as often as it takes, until it is delivered; the next begins anew (R-BULK.2, R-BULK.4)", async () => {
    let failing = 2;
    collector.answer = (response) => response.writeHead(failing-- > 0 ? 500 : 204).end();
    const path = await profile({
      "HTTP.RetryEnable": "true",
      "HTTP.RetryMinimumWaitInterval": "1",
      "HTTP.RetryIntervalMultiplier": "1000",
    });
    await force(path);
    await until(() => collector.requests.length === 3, "three attempts");
    expect(new Set(collector.requests.map(({ text }) => text)).size).toBe(1);
    expect(sizes(2)).toEqual([42]);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(collector.requests).toHaveLength(3);
  });

  it("is not sent again where RetryEnable is false", async () => {
    collector.answer = (response) => response.writeHead(500).end();
    await refused(await profile());
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(collector.requests).toHaveLength(1);
  });

  it.each([
    ["0", [[1], [2], [3], [4]]],
    ["1", [[1], [1, 2], [2, 3], [3, 4]]],
    ["2", [[1], [1, 2], [1, 2, 3], [2, 3, 4]]],
    ["-1", [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]],
  ])(
    "goes with the next ones, the oldest first, as NumberOfRetainedFailedReports %s says",
    async (retained, expected) => {
      collector.answer = (response) => response.writeHead(500).end();
      const path = await profile({ NumberOfRetainedFailedReports: retained });
      for (let size = 1; size <= 4; size++) {
        world.house.size = size;
        if (size === 4) collector.answer = (response) => response.writeHead(204).end();
        await delivered(path);
      }
      expect([0, 1, 2, 3].map(sizes)).toEqual(expected);
      // Delivered is delivered, once the answer has been read: it may be on its way when the next report is due.
      let last = 3;
      do await delivered(path);
      while (sizes(++last).length > 1 && last < 20);
      expect(sizes(last)).toEqual([4]);
    },
    15_000,
  );

  it("gives way to the next one that is due while it is tried again", async () => {
    collector.answer = (response) => response.writeHead(500).end();
    const path = await profile({
      NumberOfRetainedFailedReports: "-1",
      "HTTP.RetryEnable": "true",
      "HTTP.RetryMinimumWaitInterval": "60",
    });
    world.house.size = 1;
    await delivered(path);
    world.house.size = 2;
    await delivered(path);
    expect(sizes(1)).toEqual([1, 2]);
  });

  it("is dropped when EncodingType changes", async () => {
    collector.answer = (response) => response.writeHead(500).end();
    const path = await profile({ NumberOfRetainedFailedReports: "-1", "CSVEncoding.RowTimestamp": "None" });
    await delivered(path);
    await until(() => lines.length > 0);
    await world.admin.response(setOne(path, { EncodingType: "CSV" }), "setResp");
    expect((await delivered(path)).text).toBe("Size\r\n42\r\n");
  });
});

describeUnless(missing("openssl"), "TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-bulk-"));
  const ours = authority(folder, "ours");
  const server = async (name: string, options: Parameters<typeof ours.issue>[1]) => {
    const { cert, key } = ours.issue(name, options);
    return Collector.start({ cert: readFileSync(cert), key: readFileSync(key) });
  };
  afterAll(() => rmSync(folder, { recursive: true }));
  const swap = async (next: Collector) => {
    await collector.stop();
    collector = next;
    policy = { ...policy, allowPlaintext: false, ca: readFileSync(ours.file) };
  };

  it("carries a report, and the password at once", async () => {
    await swap(await server("good", {}));
    const path = await profile({
      "HTTP.URL": collector.url("localhost"),
      "HTTP.Username": "cpe",
      "HTTP.Password": "s",
    });
    const { headers } = await delivered(path);
    expect(headers.authorization).toBe(`Basic ${Buffer.from("cpe:s").toString("base64")}`);
  });

  it.each([
    ["a certificate that has expired", { expired: true }, "certificate has expired"],
    ["a certificate of another host", { host: "other.example" }, "does not match certificate's altnames"],
  ])("sends nothing to %s", async (what, options, why) => {
    await swap(await server(what.replaceAll(" ", "-"), options));
    expect(await refused(await profile({ "HTTP.URL": collector.url("localhost") }))).toContain(why);
    expect(collector.requests).toEqual([]);
  });

  it("sends nothing to a certificate of an authority that is not trusted", async () => {
    await swap(await server("stranger", {}));
    policy = { ...policy, ca: readFileSync(authority(folder, "theirs").file) };
    expect(await refused(await profile({ "HTTP.URL": collector.url("localhost") }))).toMatch(/unable to|self-signed/);
    expect(collector.requests).toEqual([]);
  });
});
