/**
 * A controller that nobody knows, at the agent as it is run: trusted on first use over WebSocket with TLS, promoted by the
 * passphrase of the gateway's label, known again after a restart by its certificate (TR-369 R-SEC.6 to .8).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AGENT_ID } from "../support/agent.ts";
import { authority, selfSigned, type Issued } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { WebSocketBed } from "../support/websocket-bed.ts";

const NEW = "self::newcomer";
const TRUST = "Device.LocalAgent.ControllerTrust.";
const base64 = (text: string) => Buffer.from(text).toString("base64");

const bed = new WebSocketBed();
afterEach(() => bed.clear());

test("a newcomer answers the challenge and has its role, with its own certificate alone, over a restart", async () => {
  const folder = await bed.folder();
  const root = authority(folder, "root");
  const port = root.issue("agent", { endpointId: AGENT_ID, host: "127.0.0.1" });
  const revoked = root.issue("revoked", { endpointId: "self::revoked" });
  root.revoke(revoked.cert);
  const own = selfSigned(folder, "own", { endpointId: NEW });
  const forged = selfSigned(folder, "forged", { endpointId: NEW });
  const passphrase = join(folder, "label");
  writeFileSync(passphrase, "correct horse\n");
  const { agent, port: number } = await bed.listening({
    agent: { tofu: "1", challenge_file: passphrase, challenge_role: "Monitor", crl_file: [root.revocationList()] },
    websocket: { tls: "1", cert_file: port.chain, key_file: port.key, ca_file: root.file },
  });
  const as = (issued: Issued, controllerId = NEW) =>
    bed.controller(number, {
      controllerId,
      tls: { ca: readFileSync(root.file), cert: readFileSync(issued.chain), key: readFileSync(issued.key) },
    });
  const newcomer = await as(own);
  await expect(newcomer.read(["Device.LocalAgent.EndpointID"])).rejects.toThrow(/7026|7006|not in the data model/);
  const names = await newcomer.read([`${TRUST}Challenge.*.Description`]);
  expect([...names.values()]).toEqual(["Passphrase of this gateway"]);
  // It may not even ask what kind of command that is.
  const run = (command: string, input: Record<string, string>) =>
    newcomer.run(`${TRUST}${command}`, input, { wait: false });
  const asked = await run("RequestChallenge()", { ChallengeRef: `${TRUST}Challenge.1` });
  const ChallengeID = asked.get("ChallengeID") ?? "";
  await expect(run("ChallengeResponse()", { ChallengeID, Value: base64("wrong") })).rejects.toThrow(
    /the answer is wrong/,
  );
  await run("ChallengeResponse()", { ChallengeID, Value: base64("correct horse") });
  const read = async (controller: typeof newcomer) => [
    ...(await controller.read(["Device.LocalAgent.EndpointID"])).values(),
  ];
  expect(await read(newcomer)).toEqual([AGENT_ID]);
  await newcomer.close();
  await agent.stop();
  agent.restart();
  const again = await as(own);
  expect(await read(again)).toEqual([AGENT_ID]);
  await again.close();
  // The one in its name is shown out, and does not keep the right one away.
  const inItsName = await as(forged);
  await expect(read(inItsName)).rejects.toThrow();
  expect(await read(await as(own))).toEqual([AGENT_ID]);
  await expect(as(revoked, "self::revoked").then(read)).rejects.toThrow();
  expect(agent.log).toMatch(/self::newcomer are ignored: it shows another certificate than is kept for it/);
  await eventually(
    () => agent.log,
    (log) => /CN=revoked is revoked/.test(log),
    { what: "the word on the revoked certificate" },
  );
}, 60_000);
