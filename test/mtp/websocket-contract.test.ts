/** The Link contract over WebSocket: our client with our server, each in each role, plain and with TLS 1.2 and 1.3. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsOptions, TlsServerOptions } from "../../src/mtp/tls.ts";
import { connectWebSocket } from "../../src/mtp/websocket-client.ts";
import { linkContract } from "../contracts/link.ts";
import { authority } from "../support/certificates.ts";
import { startProxy, startServer, type RunningServer } from "../support/websocket.ts";

const never = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), "spin-websocket-"));
afterAll(() => rmSync(folder, { recursive: true }));

const own = authority(folder, "own");
const files = own.issue("server");
const [ca, cert, key] = [own.file, files.cert, files.key].map((path) => readFileSync(path)) as [Buffer, Buffer, Buffer];

const secure = (version: "TLSv1.2" | "TLSv1.3") => ({
  client: { ca, serverName: "localhost", minVersion: version, maxVersion: version } satisfies TlsOptions,
  server: { cert, key, clientCertificates: "none" } satisfies TlsServerOptions,
});

const cases: [string, { client: TlsOptions; server: TlsServerOptions } | undefined][] = [
  ["WebSocket", undefined],
  ["WebSocket over TLS 1.2", secure("TLSv1.2")],
  ["WebSocket over TLS 1.3", secure("TLSv1.3")],
];

for (const [name, tls] of cases)
  for (const first of ["client", "server"] as const) {
    let server: RunningServer;
    let proxy: Awaited<ReturnType<typeof startProxy>>;
    describe(`from the ${first}`, () => {
      beforeAll(async () => {
        server = await startServer(tls ? { tls: tls.server } : {});
        proxy = await startProxy(server.port);
      });
      afterAll(async () => {
        await server.stop();
        await proxy.stop();
      });
      linkContract(name, () => ({
        connect: async () => {
          const [client, taken] = await Promise.all([
            connectWebSocket(
              {
                url: `${tls ? "wss" : "ws"}://127.0.0.1:${proxy.port}/usp`,
                endpointId: "self::client",
                peer: "self::server",
                ...(tls ? { tls: tls.client } : {}),
              },
              never,
            ),
            server.next(),
          ]);
          const ends = [{ link: client.link }, { link: taken.link }] as const;
          return first === "client" ? { a: ends[0], b: ends[1] } : { a: ends[1], b: ends[0] };
        },
        cut: () => Promise.resolve(proxy.cut()),
        restore: () => Promise.resolve(),
      }));
    });
  }
