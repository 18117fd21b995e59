/** Sessions as the configuration asks for them, and what is said where it can't be. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config.ts";
import { sessionOptions } from "../../src/gateway/session-options.ts";
import { silentLog, type Log } from "../../src/lib/log.ts";
import { makeAuthority } from "../session/support.ts";

const MQTT = "config mqtt 'operator'\n\toption host '127.0.0.1'\n";
const configuration = (agent: string, controller: string) =>
  `config agent\n\toption oui '00005E'\n\toption serial_number 'H1'\n${agent}\n${MQTT}
config controller 'acs'\n\toption endpoint_id 'self::acs'\n\toption mqtt 'operator'\n${controller}`;

test("the manual's configuration is one", () => {
  const text = /```\n(config agent[\s\S]*?)```/.exec(readFileSync("docs/sessions.md", "utf8"))?.[1] ?? "";
  const { agent, controllers } = parseConfig(`${text}\n${MQTT}`);
  expect(agent).toMatchObject({
    session_cert_file: "/etc/spin-usp/agent.pem",
    session_key_file: "/etc/spin-usp/agent.key",
  });
  expect(controllers).toMatchObject([{ session: "Require", session_security: "TLS" }]);
});

test("without a word of it, a controller may have sessions and nothing is signed", () => {
  const { agent, controllers } = parseConfig(configuration("", ""));
  expect(controllers).toMatchObject([{ session: "Allow", session_security: "TLS" }]);
  expect(sessionOptions(agent, silentLog)).toMatchObject({ integrityRequired: false, trust: { signs: false } });
});

test.each([
  ["\toption session_cert_file '/a'", "", "needs both of session_cert_file and session_key_file"],
  ["\toption sign_records '1'", "", "sign_records needs option session_cert_file"],
  ["", "\toption session 'Require'", "controller 'acs' option session is \"Require\": agent needs session_cert_file"],
])("%s %s is refused: %s", (agent, controller, why) => {
  expect(() => parseConfig(configuration(agent, controller))).toThrow(why);
});

describe("the agent's certificate", () => {
  const authority = makeAuthority();
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-session-"));
  afterAll(() => {
    authority.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  const read = (cert: string, key: string) => {
    const said: string[] = [];
    const log: Log = { ...silentLog, error: (text, cause) => void said.push(`${text}: ${String(cause)}`) };
    for (const [name, text] of [
      ["cert", cert],
      ["key", key],
    ] as const)
      writeFileSync(join(folder, name), text);
    const files = `\toption session_cert_file '${folder}/cert'\n\toption session_key_file '${folder}/key'`;
    const { agent } = parseConfig(configuration(files, ""));
    return { options: sessionOptions(agent, log), said: said.join() };
  };

  test("is read, and the model knows that there is one", () => {
    const { cert, key } = authority.identity("os::00005E-H1");
    const { options, said } = read(cert, key);
    expect([options.states.hasIdentity, said]).toEqual([true, ""]);
  });

  test.each<[string, string | undefined, string | undefined, string]>([
    ["no certificate", "junk", undefined, "no certificate in the PEM text"],
    ["no key", undefined, "junk", "session_key_file"],
    ["another's", undefined, authority.identity("self::other").key, "the key is not that of the certificate"],
  ])("that is %s is told of, and done without", (_, cert, key, why) => {
    const good = authority.identity("os::00005E-H1");
    const { options, said } = read(cert ?? good.cert, key ?? good.key);
    expect(options.states.hasIdentity).toBe(false);
    expect(said).toContain(why);
  });
});
