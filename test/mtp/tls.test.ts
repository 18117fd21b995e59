/**
 * TLS of the MTPs against real peers: node's own TLS servers and clients, and mosquitto; 1.2 and 1.3. Each way in which it
 * fails is told in words (TR-369 R-MTP.1 to .3, R-SEC.0a, R-SEC.19).
 */
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createServer,
  connect,
  type ConnectionOptions,
  type TLSSocket,
  type TlsOptions as NodeTlsOptions,
} from "node:tls";
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import { MtpError } from "../../src/mtp/error.ts";
import { openSocket } from "../../src/mtp/socket.ts";
import { tlsServer, type TlsOptions, type TlsServerOptions } from "../../src/mtp/tls.ts";
import { readCertificate } from "../../src/lib/certificate.ts";
import { authority, selfSigned, type Issued } from "../support/certificates.ts";
import { hasMosquitto, startMosquitto } from "../support/mosquitto.ts";

const folder = mkdtempSync(join(tmpdir(), "spin-usp-tls-"));
const root = authority(folder, "root");
const middle = root.intermediate("middle");
const fallen = root.intermediate("fallen");
const stranger = authority(folder, "stranger");
const ACS = "self::acs.example";
const AGENT = "os::00005E-HOME0001";
const read = (file: string) => readFileSync(file);
const never = new AbortController().signal;

const server = {
  good: middle.issue("good"),
  wildcard: middle.issue("wildcard", { host: "*.example.net" }),
  expired: middle.issue("expired", { expired: true }),
  tomorrow: middle.issue("tomorrow", { notYetValid: true }),
  elsewhere: middle.issue("elsewhere", { host: "other.example" }),
  controller: middle.issue("controller", { endpointId: ACS }),
  revoked: middle.issue("revoked"),
  below: fallen.issue("below"),
  strange: stranger.issue("strange"),
  alone: selfSigned(folder, "alone", { host: "localhost" }),
  clientOnly: middle.issue("client-only", { purpose: "clientAuth" }),
};
middle.revoke(server.revoked.cert);
root.revoke(fallen.file);
const crl = [read(middle.revocationList()), read(root.revocationList())];
const ca = read(root.file);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const material = ({ chain, key }: Issued) => ({ cert: read(chain), key: read(key) });

/** What a client that trusts the root says of a server with that certificate. */
async function dial(issued: Issued, options: TlsOptions = {}, serverOptions: NodeTlsOptions = {}): Promise<string> {
  const listener = createServer({ ...material(issued), ...serverOptions }, (socket) => socket.on("error", () => {}));
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  try {
    const socket = await openSocket({ host: "localhost", port, tls: { ca, ...options } }, never);
    const protocol = (socket as TLSSocket).getProtocol() ?? "";
    socket.destroy();
    return protocol;
  } catch (error) {
    expect(error).toBeInstanceOf(MtpError);
    expect((error as MtpError).kind).toBe("tls");
    return (error as Error).message.replace(`localhost:${port}: `, "");
  } finally {
    listener.close();
  }
}

describe.each(["TLSv1.2", "TLSv1.3"] as const)("a client over %s", (version) => {
  const on = { minVersion: version, maxVersion: version } as const;

  test("takes a server whose certificate leads over an intermediate to a configured anchor", async () => {
    expect(await dial(server.good, on)).toBe(version);
  });

  test.each<[string, Issued, TlsOptions, RegExp]>([
    ["an expired certificate", server.expired, {}, /has expired/],
    ["one that is not yet valid", server.tomorrow, {}, /not yet valid/],
    ["one for another name", server.elsewhere, {}, /is for another name: DNS:other\.example/],
    ["one of an authority that is not known", server.strange, {}, /authority that is not known/],
    ["a self-signed one", server.alone, {}, /self-signed and not trusted/],
    ["one that is not for a server", server.clientOnly, {}, /is not for this/],
    ["a revoked one", server.revoked, { crl }, /CN=localhost is revoked \(serial number 10/],
    ["one below a revoked authority", server.below, { crl }, /CN=fallen is revoked/],
    ["any where nobody is trusted", server.good, { ca: [] }, /authority that is not/],
  ])("refuses %s, and says so", async (_, issued, options, words) => {
    const said = await dial(issued, { ...on, ...options });
    expect(said).toMatch(words);
  });

  test("takes what a list of revocations does not name", async () => {
    expect(await dial(server.good, { ...on, crl })).toBe(version);
  });

  test("takes a wildcard for one label, and no more", async () => {
    expect(await dial(server.wildcard, { ...on, serverName: "usp.example.net" })).toBe(version);
    expect(await dial(server.wildcard, { ...on, serverName: "a.usp.example.net" })).toMatch(/another name/);
  });

  test("takes a peer by its endpoint id instead of the host's name", async () => {
    expect(await dial(server.controller, { ...on, endpointId: ACS })).toBe(version);
    expect(await dial(server.controller, on)).toMatch(/another name: CN: controller/);
    expect(await dial(server.controller, { ...on, endpointId: "self::other.example" })).toMatch(
      /another name: .*, nor self::other\.example/,
    );
  });
});

describe("a client that does not know the time", () => {
  const lost = { now: () => 86_400_000 };

  test("does not look at dates, and at all else as ever", async () => {
    expect(await dial(server.expired, lost)).toBe("TLSv1.3");
    expect(await dial(server.tomorrow, lost)).toBe("TLSv1.3");
    expect(await dial(server.strange, lost)).toMatch(/CN=stranger, which issued it, is not trusted/);
    expect(await dial(server.alone, lost)).toMatch(/self-signed and not trusted/);
    expect(await dial(server.elsewhere, lost)).toMatch(/another name/);
    expect(await dial(server.clientOnly, lost)).toMatch(/not for a server/);
    expect(await dial(server.below, { ...lost, crl })).toMatch(/CN=fallen is revoked/);
  });
});

describe("versions and ciphers", () => {
  test("a server that has TLS 1.1 only is told apart from one that has another fault", async () => {
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const;
    expect(await dial(server.good, {}, old)).toMatch(/takes no TLS version from 1\.2 up|too old: 1\.2 is the least/);
  });

  test("a server without a cipher in common is told by name", async () => {
    const said = await dial(server.good, { maxVersion: "TLSv1.2" }, { ciphers: "ECDHE-RSA-AES128-GCM-SHA256" });
    expect(said).toMatch(/no cipher that both ends have/);
  });

  test("a peer that does not speak TLS is told by name", async () => {
    const { createServer: plain } = await import("node:net");
    const listener = plain((socket) => socket.end("220 mail.example ESMTP\r\n")).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    const failed = openSocket({ host: "127.0.0.1", port, tls: { ca } }, never);
    await expect(failed).rejects.toThrow(/does not speak TLS there/);
    listener.close();
  });
});

/** What becomes of a client with that certificate at our own server: what it hands over, or why it refuses. */
async function call(
  client: Issued | undefined,
  options: Partial<TlsServerOptions>,
  clientOptions: ConnectionOptions = {},
): Promise<readonly Uint8Array[] | string> {
  const tls: TlsServerOptions = { ...material(server.good), ca, clientCertificates: "require", ...options };
  let settle: (outcome: readonly Uint8Array[] | string) => void = () => undefined;
  const outcome = new Promise<readonly Uint8Array[] | string>((resolve) => (settle = resolve));
  const listener = tlsServer(
    tls,
    (socket, chain) => {
      socket.on("error", () => undefined);
      settle(chain);
    },
    ({ message }) => settle(message),
  ).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const socket = connect({
    port,
    host: "localhost",
    ca,
    ...(client === undefined ? {} : material(client)),
    ...clientOptions,
  });
  socket.on("error", () => undefined);
  try {
    return await outcome;
  } finally {
    socket.destroy();
    listener.close();
  }
}

describe.each(["TLSv1.2", "TLSv1.3"] as const)("a server over %s", (version) => {
  const on = { minVersion: version, maxVersion: version } as const;
  const client = {
    good: middle.issue(`agent-${version}`, { endpointId: AGENT }),
    expired: middle.issue(`expired-${version}`, { endpointId: AGENT, expired: true }),
    revoked: middle.issue(`revoked-${version}`, { endpointId: AGENT }),
    strange: stranger.issue(`strange-${version}`, { endpointId: AGENT }),
    alone: selfSigned(folder, `alone-${version}`, { endpointId: AGENT }),
  };
  middle.revoke(client.revoked.cert);
  const lists = [read(middle.revocationList()), read(root.revocationList())];

  test("hands the peer's certificates over, the leaf first", async () => {
    const chain = (await call(client.good, on)) as Uint8Array[];
    expect(chain.map((der) => readCertificate(der).subject)).toEqual([`CN=agent-${version}`, "CN=middle", "CN=root"]);
    expect(readCertificate(chain[0] as Uint8Array).endpointIds).toEqual([AGENT]);
  });

  test.each<[string, Issued | undefined, Partial<TlsServerOptions>, RegExp]>([
    ["no certificate", undefined, {}, /no client certificate, and one is required/],
    ["an expired one", client.expired, {}, /has expired on 2020-02-01/],
    ["a revoked one", client.revoked, { crl: lists }, /is revoked/],
    ["a stranger's", client.strange, {}, /CN=stranger, which issued it, is not trusted/],
    ["a self-signed one", client.alone, {}, /is self-signed and not trusted/],
    ["an expired one, even of any authority", client.expired, { anyIssuer: () => true }, /has expired/],
    ["a revoked one, even of any authority", client.revoked, { anyIssuer: () => true, crl: lists }, /is revoked/],
  ])("refuses %s, and says so", async (_, issued, options, words) => {
    expect(await call(issued, { ...on, ...options })).toMatch(words);
  });

  test("lets a stranger in where somebody else judges it, and a peer without a certificate where none is required", async () => {
    expect(await call(client.alone, { ...on, anyIssuer: () => true })).toHaveLength(1);
    expect(await call(undefined, { ...on, clientCertificates: "request" })).toEqual([]);
    expect(await call(client.good, { ...on, clientCertificates: "none" })).toEqual([]);
  });
});

test("a key that is not the certificate's is told in words by both ends, and so is one that can't be read", async () => {
  const pair = (key: Buffer) => ({ cert: read(server.good.chain), key });
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" });
  for (const [key, words] of [
    [read(server.wildcard.key), /^the key is not that of the certificate, which is of .*CN=/],
    [Buffer.from(other), /^the key is not that of the certificate/],
    [Buffer.from(rsa), /^the key is not that of the certificate/],
    [Buffer.from("none"), /the key of our certificate can't be read/],
  ] as const) {
    const dialled = openSocket({ host: "localhost", port: 1, tls: { ca, ...pair(key) } }, never);
    await expect(dialled).rejects.toMatchObject({
      name: "MtpError",
      kind: "tls",
      message: expect.stringMatching(words),
    });
    const listen = () =>
      tlsServer(
        { ...pair(key), clientCertificates: "none" },
        () => undefined,
        () => undefined,
      );
    expect(listen).toThrow(MtpError);
    expect(listen).toThrow(words);
  }
});

test("where an address was looked for, a certificate of names alone is told by its names", async () => {
  expect(await dial(server.elsewhere, { serverName: "127.0.0.1" })).toMatch(/another name: .*list: DNS:other\.example/);
});

test("a server refuses a client that is too old, in words", async () => {
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const;
  expect(await call(undefined, {}, old)).toMatch(/TLS is too old: 1\.2 is the least/);
});

const mosquittoTest = hasMosquitto ? describe.each : describe.skip.each;
mosquittoTest(["TLSv1.2", "TLSv1.3"] as const)(
  `MQTT to mosquitto${hasMosquitto ? "" : " (not installed)"} over %s`,
  (version) => {
    const on = { minVersion: version, maxVersion: version } as const;
    const agent = middle.issue(`mqtt-${version}`, { endpointId: AGENT });

    /** Connects to a mosquitto with that certificate; the broker's chain, or why not. */
    async function attempt(issued: Issued, tls: TlsOptions, lines: readonly string[] = []): Promise<string> {
      const broker = await startMosquitto({
        config: [`certfile ${issued.chain}`, `keyfile ${issued.key}`, `cafile ${root.file}`, ...lines],
      });
      try {
        const { link } = await connectMqtt(
          {
            url: `mqtts://localhost:${broker.port}`,
            version: "5",
            endpointId: AGENT,
            subscriptions: [{ topic: "usp/v1/agent/1", qos: 0 }],
            tls: { ca, ...on, ...tls },
          },
          never,
        );
        await link.close();
        return "connected";
      } catch (error) {
        return (error as Error).message;
      } finally {
        await broker.stop();
      }
    }

    test("connects, with and without a client certificate", async () => {
      expect(await attempt(server.good, {})).toBe("connected");
      expect(await attempt(server.good, material(agent), ["require_certificate true"])).toBe("connected");
    });

    test.each<[string, Issued, TlsOptions, RegExp]>([
      ["expired", server.expired, {}, /has expired/],
      ["for another name", server.elsewhere, {}, /another name: DNS:other\.example/],
      ["of a stranger", server.strange, {}, /authority that is not known/],
      ["revoked", server.revoked, { crl }, /is revoked/],
      ["below a revoked authority", server.below, { crl }, /CN=fallen is revoked/],
    ])("says that the broker's certificate is %s", async (_, issued, tls, words) => {
      expect(await attempt(issued, tls)).toMatch(words);
    });

    test("says that the broker wants a client certificate", async () => {
      expect(await attempt(server.good, {}, ["require_certificate true"])).toMatch(/wants a client certificate/);
    });
  },
);
