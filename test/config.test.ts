import { readFileSync } from "node:fs";
import { join } from "node:path";
import { printConfigManual } from "../src/config-manual.ts";
import { parseConfig } from "../src/config.ts";

const GOOD = `
config agent 'agent'
	option state_dir '/var/lib/spin-usp'

config mqtt 'operator'
	option host 'broker.example'
	option username "home 1"

config controller 'acs'
	option endpoint_id 'self::acs.example'
	option mqtt 'operator'
	option topic 'usp/controller/acs'

config capture 'capture'
	list interface 'br-lan'
	list interface 'br-guest'   # a comment
`;

describe("the configuration", () => {
  it("fills in every default and keeps what the file says", () => {
    const config = parseConfig(GOOD);
    expect(config.mqtt).toHaveLength(1);
    expect(config.mqtt[0]).toMatchObject({
      name: "operator",
      host: "broker.example",
      tls: true,
      version: "5.0",
      username: "home 1",
    });
    expect(config.controllers[0]).toMatchObject({ name: "acs", role: "Operator", mqtt: "operator", secured: false });
    expect(config.capture.interface).toEqual(["br-lan", "br-guest"]);
    expect(config.agent).toMatchObject({ authority: "Resident", privacy_level: "Devices" });
    expect(Object.isFrozen(config.mqtt[0])).toBe(true);
  });

  it("is fine when empty", () => {
    expect(parseConfig("").mqtt).toEqual([]);
  });

  it.each([
    ["config agnet\n", "line 1: there is no section agnet"],
    ["config agent\n option colour 'red'\n", "line 2: agent has no option colour"],
    ["config agent\n option log_level 'loud'\n", 'line 2: agent option log_level is "loud"; it must be one of'],
    [
      "config capture\n option counter_interval '0'\n",
      'line 2: capture option counter_interval is "0"; it must be a number from 1 to 60',
    ],
    ["config mqtt 'a'\n", "line 1: mqtt 'a' needs option host"],
    ["config mqtt 'a'\n option host 'x'\n option host 'y'\n", "line 3: host is set twice"],
    ["config mqtt 'a'\n list host 'x'\n", "line 2: host is an option, not a list"],
    ["config mqtt 'a'\n option host 'broker.example'\n option tls '0'\n", "set option allow_plaintext '1'"],
    ["config mqtt 'a'\n option host 'x'\nconfig mqtt 'a'\n option host 'y'\n", "line 3: a second mqtt is named 'a'"],
    ["config mqtt 'a'\n option host 'x'\n option cert_file '/c'\n", "needs both of cert_file and key_file"],
    [
      "config controller 'c'\n option endpoint_id 'self::c'\n option mqtt 'nobody'\n",
      'option mqtt is "nobody", but there is no such mqtt section',
    ],
    ["config controller 'c'\n option endpoint_id 'no id'\n", 'option endpoint_id is "no id"'],
    ["config agent\n option privacy_level 'Destinations'\n", "above privacy_ceiling"],
    ["config agent\nconfig agent\n", "there may be only one agent section"],
    ["option x 'y'\n", "stands before any config line"],
    ["config agent\n option state_dir '/x\n", "a quote is not closed"],
    ["colour red\n", "is not config, option or list"],
    ["config enforce\n list management '999.1.1.1 443'\n", "must be an address and a port from 1 to 65535"],
    ["config enforce\n list management '192.0.2.1 99999'\n", "must be an address and a port from 1 to 65535"],
    ["config enforce\n list management '192.0.2.1 0'\n", "must be an address and a port from 1 to 65535"],
    ["config mqtt 'a'\n option host 'x'\n option topic 'usp/#/+'\n", "must be a topic without wildcards"],
    ["config agent\n option endpoint_id 'x'\n", "must be an endpoint id: an endpoint id is scheme:authority:instance"],
    ["config controller 'c'\n option endpoint_id 'made::up'\n", '"made" is not one of'],
    ["config mqtt 'a'\n option host '127.999.0.1'\n option tls '0'\n", "must be a name or an address"],
    ["config mqtt 'a'\n option host '2001:db8:::1'\n", "must be a name or an address"],
    ["config mqtt 'a'\n option host '127.1'\n option tls '0'\n", "must be a name or an address"],
    ["config mqtt 'a'\n option host 'x'\n option ca_file 'ca.pem'\n", "must be an absolute path"],
    ["config capture\n option helper 'helper'\n", "must be none or an absolute path"],
    ["config agent\n option model 'a\u001b[2J'\n", "must not hold control characters"],
    [
      "config mqtt 'a'\n option host 'x'\nconfig controller 'c'\n option endpoint_id 'self::c'\n option mqtt 'a'\n option role 'Resident'\n",
      "counts only at the home's own door",
    ],
    [
      "config stomp 'a'\n option host 'x'\nconfig controller 'c'\n option endpoint_id 'self::c'\n option stomp 'a'\n option role 'Resident'\n",
      "counts only at the home's own door, not by STOMP",
    ],
    [
      "config controller 'c'\n option endpoint_id 'self::c'\n option stomp 'a'\n",
      'option stomp is "a", but there is no such stomp section',
    ],
    ["config stomp 'a'\n option host 'broker.example'\n option tls '0'\n", "set option allow_plaintext '1'"],
    ["config stomp 'a'\n option host 'x'\n option key_file '/k'\n", "needs both of cert_file and key_file"],
    [`config stomp 'a'\n option host 'x'\n option destination '${"x".repeat(8_001)}'\n`, "at most 8000 bytes"],
    ["config stomp 'a'\n option host 'x'\n option destination 'a\tb'\n", "without control characters"],
    [
      "config stomp 'a'\n option host 'x'\n option port '1'\nconfig stomp 'b'\n option host 'x'\n",
      "stomp 'b' has host, username and virtual_host as stomp 'a' has",
    ],
  ])("says what is wrong with %j", (text, message) => {
    expect(() => parseConfig(text)).toThrow(message);
  });

  it.each(["127.0.0.1", "127.255.0.9", "::1", "localhost"])("lets loopback (%s) go without TLS", (host) => {
    expect(parseConfig(`config mqtt 'a'\n option host '${host}'\n option tls '0'\n`).mqtt[0]?.tls).toBe(false);
  });

  it("is described in docs/configuration.md as `npm run generate` prints it now", () => {
    expect(readFileSync(join(__dirname, "../docs/configuration.md"), "utf8")).toBe(printConfigManual());
  });
});
