import { readFileSync } from "node:fs";
import { parseConfig } from "../../src/config.ts";

const websocket = (options: string) => `config websocket 'lan'\n${options}`;
const controller = (options: string) => `config controller 'c'\n option endpoint_id 'self::c'\n${options}`;
const files = " option cert_file '/c'\n option key_file '/k'\n";

describe("WebSocket in the configuration", () => {
  it("is off, and asks for TLS and for certificates of controllers where it is not", () => {
    expect(parseConfig("").websockets).toEqual([]);
    expect(parseConfig(websocket(files)).websockets[0]).toMatchObject({
      name: "lan",
      listen: [],
      port: 8443,
      path: "/usp",
      tls: true,
      allow_plaintext: false,
      client_certificates: "require",
    });
  });

  it.each<[string, string]>([
    [websocket(""), "websocket 'lan' needs cert_file and key_file, or tls '0'"],
    [websocket(" option tls '0'\n"), "set option allow_plaintext '1' to permit it"],
    [websocket(" option tls '0'\n list listen '192.0.2.1'\n"), "listens beyond this machine"],
    [websocket(" option tls '0'\n list listen '127.0.0.1'\n list listen 'br-lan'\n"), "listens beyond this machine"],
    [websocket(`${files} list listen '192.0.2'\n`), "must be an address or the name of an interface"],
    [websocket(`${files} option path 'usp'\n`), "must match"],
    [websocket(`${files} option path '/usp?x=1'\n`), "must match"],
    [websocket(`${files} option client_certificates 'maybe'\n`), "must be one of require, request, none"],
    [controller(" option websocket 'lan'\n"), 'option websocket is "lan", but there is no such websocket section'],
    [controller(" option websocket_url 'https://a/'\n"), "must be wss://HOST:PORT/PATH, or ws:// without TLS"],
    [controller(" option websocket_url 'wss://a:99999/'\n"), "must be wss://HOST:PORT/PATH"],
    [controller(" option websocket_url 'wss://u:p@a/'\n"), "must be wss://HOST:PORT/PATH"],
    [controller(" option websocket_url 'ws://192.0.2.1/usp'\n"), "beyond this machine and without TLS"],
    [controller(" option websocket_url 'wss://a/usp'\n option role 'Resident'\n"), "not by WebSocket"],
  ])("says what is wrong with %j", (text, message) => {
    expect(() => parseConfig(text)).toThrow(message);
  });

  it("lets loopback go without TLS", () => {
    parseConfig(websocket(" option tls '0'\n list listen '127.0.0.1'\n list listen '::1'\n"));
    parseConfig(controller(" option websocket_url 'ws://[::1]:8080/usp'\n"));
    parseConfig(controller(" option websocket_url 'ws://192.0.2.1/usp'\n option allow_plaintext '1'\n"));
  });

  it("is as docs/websocket.md shows it", () => {
    const example = /```\n(config [\s\S]*?)```/.exec(readFileSync("docs/websocket.md", "utf8"))?.[1] ?? "";
    const { websockets, controllers } = parseConfig(example);
    expect(websockets.map(({ listen, client_certificates }) => [listen, client_certificates])).toEqual([
      [["br-lan"], "require"],
    ]);
    expect(controllers.map(({ websocket, websocket_url }) => websocket || websocket_url)).toEqual([
      "lan",
      "wss://acs.example:443/usp",
    ]);
  });
});
