/** Whom a WebSocket port trusts: the authorities of its own section, and the system's where that names none. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config.ts";
import type { ConnectorOptions } from "../../src/gateway/connector.ts";
import { webSocketListener } from "../../src/gateway/websocket-connector.ts";
import { silentLog } from "../../src/lib/log.ts";
import { connectWebSocket } from "../../src/mtp/websocket-client.ts";
import { WebSocketSessions } from "../../src/mtp/websocket-sessions.ts";
import type { Connected, MtpListener } from "../../src/usp/mtp.ts";
import { Gateway } from "../objects/support.ts";
import { authority } from "../support/certificates.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { freePort } from "../support/websocket-bed.ts";
import { addRow, AGENT_ID, setParams } from "../usp/support.ts";

describeUnless(missing("openssl"), "a WebSocket port over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-trust-"));
  const own = authority(folder, "own");
  const { cert, key } = own.issue("agent", { host: "localhost" });
  let gateway: Gateway;
  const end = new AbortController();
  beforeAll(async () => {
    gateway = await Gateway.start();
  });
  afterAll(async () => {
    end.abort();
    await gateway.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ["public", "the system's authorities, where its section names none", true],
    ["own", "those of its file alone, whatever another section says", false],
  ])("'%s' trusts %s", async (name, _, trustsSystem) => {
    const section = (which: string, more = "") =>
      `config websocket '${which}'\n option cert_file '${cert}'\n option key_file '${key}'\n list listen '127.0.0.1'\n option client_certificates 'none'\n${more}`;
    const config = parseConfig(section("public") + section("own", ` option ca_file '${own.file}'\n`));
    const { tree } = gateway;
    const port = await freePort();
    const row = addRow(tree, "Device.LocalAgent.MTP.", { Alias: `cpe-${name}`, Protocol: "WebSocket" });
    setParams(tree, `${row.path}WebSocket.`, { Port: `${port}`, Path: "usp", EnableEncryption: "true" });
    const webSocketSessions = new WebSocketSessions();
    const options = { tree, config, endpointId: AGENT_ID, maxRecordBytes: 65_536, webSocketSessions, log: silentLog };
    const listener = webSocketListener(row, options as unknown as ConnectorOptions) as MtpListener;
    const accepted = new Promise<Connected>((accept, reject) => {
      const listening = () => {
        const url = `wss://localhost:${port}/usp`;
        const client = { url, endpointId: "self::acs", tls: { ca: readFileSync(own.file) } };
        connectWebSocket(client, end.signal).catch(reject);
      };
      listener.listen(end.signal, { listening, accept }).catch(reject);
    });
    expect((await accepted).tls).toEqual({ chain: [], trustsSystem });
  });
});
