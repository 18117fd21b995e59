/**
 * Who is let in, and as what: the ways that a controller's rows name, its certificate, trust on first use, challenges
 * (TR-369 §"Authentication and Authorization": R-SEC.0a, .6 to .10a, .22, .25). Certificates are real, made by openssl.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCertificate, readCertificates, readRevoked } from "../../src/lib/certificate.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { Admission } from "../../src/usp/admission.ts";
import { Controllers } from "../../src/usp/controllers.ts";
import type { Connected } from "../../src/usp/mtp.ts";
import { Permissions } from "../../src/usp/permissions.ts";
import { NO_POLICY, type Protocol } from "../../src/usp/policy.ts";
import { addCertificate } from "../../src/usp/trust/certificate-book.ts";
import { authority, selfSigned, type Issued } from "../support/certificates.ts";
import {
  addController,
  addRole,
  addRow,
  buildWorld,
  get,
  Network,
  operation,
  Peer,
  setParams,
  settle,
  until,
  type World,
} from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "spin-usp-trust-"));
const operator = authority(folder, "operator");
const below = operator.intermediate("below");
const stranger = authority(folder, "stranger");
const ACS = "self::acs";
const NEW = "self::new";
const certificates = {
  acs: below.issue("acs", { endpointId: ACS }),
  other: below.issue("other", { endpointId: "self::other" }),
  web: operator.issue("web", { host: "acs.example" }),
  revoked: operator.issue("revoked", { endpointId: ACS }),
  strange: stranger.issue("strange", { endpointId: ACS }),
  own: selfSigned(folder, "own", { endpointId: ACS }),
  new: selfSigned(folder, "new", { endpointId: NEW }),
  newOfOperator: operator.issue("new-of-operator", { endpointId: NEW }),
  broker: operator.issue("broker"),
};
operator.revoke(certificates.revoked.cert);
const revoked = readRevoked(readFileSync(operator.revocationList()));
const root = readCertificates(readFileSync(operator.file))[0]!;
const chainOf = ({ chain }: Issued) => ({ chain: readCertificates(readFileSync(chain)).map(({ der }) => der) });

afterAll(() => rmSync(folder, { recursive: true, force: true }));

let world: World;
let warnings: string[];
const stops: AbortController[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort();
  await world.stop();
});

async function start(options: Parameters<typeof buildWorld>[0] = {}): Promise<void> {
  warnings = [];
  const log = {
    error: () => undefined,
    warn: (text: string) => void warnings.push(text),
    info: () => undefined,
    debug: () => undefined,
    child: () => log,
  };
  world = await buildWorld({ log, ...options });
  Object.assign(world.trust, { revoked: () => revoked });
}

/** Row of a controller that comes by WebSocket, to the row `mtp` or any. */
function webController(endpointId: string, role = "", mtp: Readonly<Record<string, string>> = {}): string {
  const row = addController(world.tree, endpointId, role);
  addRow(world.tree, `${row}.MTP.`, { Enable: "true", Protocol: "WebSocket", ...mtp });
  return row;
}

/** One at the other end of a connection of its own. */
async function connect(
  endpointId: string,
  connected: Partial<Connected> = {},
  { mtp = "Device.LocalAgent.MTP.9", protocol = "WebSocket" }: { mtp?: string; protocol?: Protocol } = {},
): Promise<Peer> {
  const network = new Network();
  const peer = new Peer(network, endpointId);
  network.listeners.clear();
  network.listeners.add((record) => peer.take(record));
  const stop = new AbortController();
  stops.push(stop);
  const link = await network.connect();
  void world.agent.serve(mtp, { ...link, ...connected }, protocol, stop.signal);
  return peer;
}

/** Whether the agent answers. */
async function isHeard(peer: Peer, path = "Device.House.Size"): Promise<boolean> {
  const before = world.agent.counters.ignoredRecords;
  let answered = false;
  void peer.ask(get([path])).then(() => (answered = true));
  await until(() => answered || world.agent.counters.ignoredRecords > before);
  return answered;
}

describe("the way that a controller comes", () => {
  test.each<[string, Readonly<Record<string, string>>, boolean]>([
    ["any of the protocol that its row names", {}, true],
    ["none, where its row is disabled", { Enable: "false" }, false],
  ])("is %s", async (_, mtp, isIn) => {
    await start();
    webController(ACS, world.roleAdmin, mtp);
    expect(await isHeard(await connect(ACS))).toBe(isIn);
  });

  test("is the one that its row names, and no other of the protocol; it is told once a minute", async () => {
    await start();
    addRow(world.tree, "Device.LocalAgent.MTP.", { Enable: "false", Protocol: "MQTT" });
    const row = addController(world.tree, ACS, world.roleAdmin);
    setParams(world.tree, `${row}.MTP.1.MQTT.`, { AgentMTPReference: "Device.LocalAgent.MTP.2" });
    expect(await isHeard(new Peer(world.network, ACS))).toBe(false);
    expect(await isHeard(new Peer(world.network, ACS))).toBe(false);
    expect(warnings.filter((text) => text.includes(ACS))).toEqual([
      `Records of ${ACS} are ignored: none of its MTP rows names Device.LocalAgent.MTP.1`,
    ]);
    setParams(world.tree, `${row}.MTP.1.MQTT.`, { AgentMTPReference: "Device.LocalAgent.MTP.1" });
    expect(await isHeard(new Peer(world.network, ACS))).toBe(true);
  });

  test("is none for one without a row, and it gets no word", async () => {
    await start();
    const unknown = new Peer(world.network, "self::nobody");
    expect(await isHeard(unknown)).toBe(false);
    expect(unknown.records).toEqual([]);
  });

  test("is not another's: what waits for a controller does not go to who only calls itself so", async () => {
    await start();
    webController(ACS, world.roleAdmin);
    const peer = await connect(ACS, { peer: ACS, tls: chainOf(certificates.other) });
    void peer.ask(get(["Device.House.Size"]));
    await settle();
    expect(peer.records).toEqual([]);
    expect(warnings.join()).toMatch(/its certificate is of self::other/);
  });
});

describe("reply topics", () => {
  test("are free, unless the row lists prefixes", async () => {
    await start();
    const row = addController(world.tree, ACS, world.roleAdmin);
    const peer = new Peer(world.network, ACS);
    expect(await isHeard(peer)).toBe(true);
    setParams(world.tree, `${row}.MTP.1.MQTT.`, { X_SPIN_ReplyPrefixes: "usp/controller/,usp/other/" });
    expect(await isHeard(peer)).toBe(false);
    expect(warnings.join()).toMatch(/wants its answer at "to\/self::acs", which X_SPIN_ReplyPrefixes does not allow/);
    setParams(world.tree, `${row}.MTP.1.MQTT.`, { X_SPIN_ReplyPrefixes: "usp/controller/,to/self::a" });
    expect(await isHeard(peer)).toBe(true);
  });
});

describe("the certificate of a peer", () => {
  /** What the agent says of a known controller with it; "" where it is let in. */
  async function verdict(
    issued: Issued | undefined,
    before: (row: string) => void = () => undefined,
    more: { readonly trustsSystem?: boolean } = {},
  ): Promise<string> {
    await start();
    addCertificate(world.tree, world.trust.certificates, root, "");
    const row = webController(ACS, world.roleAdmin);
    before(row);
    const tls = issued === undefined ? { chain: [] } : chainOf(issued);
    if (await isHeard(await connect(ACS, { tls: { ...tls, ...more } }))) return "";
    return warnings.join().replace(`Records of ${ACS} are ignored: `, "");
  }

  test("lets in under its endpoint id, if an authority that is known vouches", async () => {
    expect(await verdict(certificates.acs)).toBe("");
  });

  test("lets one that is known in by the system's authorities too, where they are trusted, and nobody else", async () => {
    const at = async (issued: Issued, trustsSystem: boolean) => {
      const roots = () => readCertificates(readFileSync(stranger.file));
      const trusted = () => Object.assign(world.trust, { roots });
      const said = await verdict(issued, trusted, { trustsSystem });
      const log = silentLog;
      const controllers = new Controllers(world.tree, new Permissions(world.tree, log), NO_POLICY);
      controllers.reload();
      const parts = { tree: world.tree, controllers, clock: systemClock, log, trust: world.trust };
      const session = new Admission({ ...parts, refresh: () => undefined });
      const inSession = session.certificateFault(chainOf(issued).chain, ACS) ?? "";
      await world.stop();
      return [said, inSession];
    };
    const [said, inSession] = await at(certificates.strange, true);
    expect(said).toBe("");
    // Neither there nor on another port were they asked for.
    expect(inSession).toMatch(/CN=stranger, which issued it, is not trusted/);
    expect(await at(certificates.strange, false)).toEqual([inSession, inSession]);
    const [other] = await at(certificates.other, true);
    expect(other).toMatch(/its certificate is of self::other$/);
  });

  test.each<[string, Issued, RegExp]>([
    ["another endpoint id", certificates.other, /its certificate is of self::other$/],
    ["no endpoint id", certificates.web, /its certificate is of fqdn::acs\.example$/],
    ["a stranger's word", certificates.strange, /CN=stranger, which issued it, is not trusted/],
    ["nobody's word but its own", certificates.own, /is self-signed and not trusted/],
    ["a revocation", certificates.revoked, /is revoked \(serial number/],
  ])("does not with %s", async (_, issued, words) => {
    expect(await verdict(issued)).toMatch(words);
  });

  const pin = (issued: Issued) => (row: string) => {
    const [leaf] = readCertificates(readFileSync(issued.cert));
    const { instance } = addCertificate(world.tree, world.trust.certificates, leaf!, "");
    setParams(world.tree, `${row}.`, { Credential: `Device.LocalAgent.Certificate.${instance}` });
  };

  test("is the one that is kept for it, whoever vouches", async () => {
    expect(await verdict(certificates.own, pin(certificates.own))).toBe("");
    await world.stop();
    expect(await verdict(certificates.acs, pin(certificates.own))).toMatch(/another certificate than is kept for it/);
    await world.stop();
    expect(await verdict(undefined, pin(certificates.own))).toMatch(/a certificate is kept for it, and it shows none/);
  });

  test("vouches for connections alone, where AllowedUses says so", async () => {
    const only = (uses: string) => () =>
      addRow(world.tree, "Device.LocalAgent.ControllerTrust.Credential.", {
        Enable: "true",
        Credential: "Device.LocalAgent.Certificate.1",
        AllowedUses: uses,
      });
    expect(await verdict(certificates.acs, only("MTP-only"))).toMatch(/is not trusted/);
    await world.stop();
    expect(await verdict(certificates.acs, only("MTP-and-USP"))).toBe("");
  });

  test("that is disabled bans: the BannedRole, or no word where there is none", async () => {
    const disable = (row: string) => {
      pin(certificates.own)(row);
      setParams(world.tree, "Device.LocalAgent.Certificate.2.", { Enable: "false" });
    };
    expect(await verdict(certificates.own, disable)).toMatch(/is disabled: it is banned/);
    await world.stop();
    await start();
    const banned = addRole(world.tree, "Banned", [{ Targets: "Device.House.Name", Param: "r---" }]);
    const row = webController(ACS, world.roleAdmin);
    pin(certificates.own)(row);
    setParams(world.tree, "Device.LocalAgent.Certificate.1.", { Enable: "false" });
    setParams(world.tree, "Device.LocalAgent.ControllerTrust.", { BannedRole: banned });
    const peer = await connect(ACS, { tls: chainOf(certificates.own) });
    expect(await peer.get("Device.House.Name")).toEqual({ "Device.House.Name": "" });
    await expect(peer.get("Device.House.Size")).rejects.toThrow(/7026|7006/);
  });
});

describe("InheritedRole", () => {
  /** A role that may read one parameter, brought by the operator's authority. */
  function credential(uses: string, ...roles: string[]): void {
    addCertificate(world.tree, world.trust.certificates, root, "");
    addRow(world.tree, "Device.LocalAgent.ControllerTrust.Credential.", {
      Enable: "true",
      Credential: "Device.LocalAgent.Certificate.1",
      AllowedUses: uses,
      Role: roles.join(),
    });
  }

  test("adds to AssignedRole, on the connection that brings it and on no other: no answer crosses", async () => {
    await start();
    const sizes = addRole(world.tree, "Sizes", [{ Targets: "Device.House.Size", Param: "r---" }]);
    const names = addRole(world.tree, "Names", [{ Targets: "Device.House.Name", Param: "r---" }]);
    credential("MTP-and-USP", sizes);
    const row = webController(ACS, names);
    const [trusted, plain] = [await connect(ACS, { tls: chainOf(certificates.acs) }), await connect(ACS)];
    // In turns, with the same paths: neither what was parsed nor what was compiled for one serves the other.
    for (let turn = 0; turn < 3; turn++) {
      expect(await trusted.get("Device.House.")).toEqual({ "Device.House.Size": "42", "Device.House.Name": "" });
      expect(await plain.get("Device.House.")).toEqual({ "Device.House.Name": "" });
    }
    const inherited = await world.admin.get(`${row}.InheritedRole`);
    expect(inherited[`${row}.InheritedRole`]).toBe("");
    await trusted.get("Device.House.Size");
    expect(await world.admin.get(`${row}.InheritedRole`)).toEqual({ [`${row}.InheritedRole`]: sizes });
    const schema = (peer: Peer) =>
      peer.response(
        {
          $case: "getSupportedDm",
          value: {
            objPaths: ["Device.House."],
            firstLevelOnly: true,
            returnCommands: false,
            returnEvents: false,
            returnParams: true,
            returnUniqueKeySets: false,
          },
        },
        "getSupportedDmResp",
      );
    const params = async (peer: Peer) =>
      (await schema(peer)).reqObjResults[0]?.supportedObjs[0]?.supportedParams.map(({ paramName }) => paramName);
    expect([await params(trusted), await params(plain), await params(trusted)]).toEqual([
      ["Size", "Name"],
      ["Name"],
      ["Size", "Name"],
    ]);
  });

  test("of a broker comes to all who come through it, and of any other use to none", async () => {
    await start();
    const sizes = addRole(world.tree, "Sizes", [{ Targets: "Device.House.Size", Param: "r---" }]);
    credential("MTP-and-broker", sizes);
    addController(world.tree, ACS, "");
    const broker = { tls: chainOf(certificates.broker) };
    const peer = await connect(ACS, broker, { mtp: "Device.LocalAgent.MTP.9", protocol: "MQTT" });
    expect(await peer.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
    setParams(world.tree, "Device.LocalAgent.ControllerTrust.Credential.1.", { AllowedUses: "MTP-and-USP" });
    await expect(peer.get("Device.House.Size")).rejects.toThrow(/7026|7006/);
  });
});

describe("a controller that nobody knows", () => {
  const trust = "Device.LocalAgent.ControllerTrust.";
  const allow = (seconds = "0") => setParams(world.tree, trust, { TOFUAllowed: "true", TOFUInactivityTimer: seconds });
  const isKnown = () => [...world.tree.all(world.tree.object("Device.LocalAgent.Controller.{i}.")!)].length === 2;

  test("gets nothing where TOFUAllowed is false, without TLS, and with a certificate of another", async () => {
    await start();
    expect(await isHeard(await connect(NEW, { tls: chainOf(certificates.new) }))).toBe(false);
    allow();
    expect(await isHeard(await connect(NEW))).toBe(false);
    expect(await isHeard(await connect(NEW, { tls: chainOf(certificates.own) }))).toBe(false);
    expect(await isHeard(new Peer(world.network, NEW))).toBe(false);
    expect(isKnown()).toBe(false);
  });

  test("is trusted at first use: its certificate is kept, it is untrusted, and another can't come in its name", async () => {
    await start();
    const untrusted = addRole(world.tree, "Untrusted", [{ Targets: "Device.House.Size", Param: "r---" }]);
    setParams(world.tree, trust, { UntrustedRole: untrusted });
    allow();
    const peer = await connect(NEW, { tls: chainOf(certificates.new) });
    expect(await peer.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
    await expect(peer.get("Device.House.Name")).rejects.toThrow(/7026|7006/);
    expect(await world.admin.get("Device.LocalAgent.Controller.2.")).toMatchObject({
      "Device.LocalAgent.Controller.2.Alias": "tofu-2",
      "Device.LocalAgent.Controller.2.EndpointID": NEW,
      "Device.LocalAgent.Controller.2.AssignedRole": "",
      "Device.LocalAgent.Controller.2.Credential": "Device.LocalAgent.Certificate.1",
      "Device.LocalAgent.Controller.2.MTP.1.Protocol": "WebSocket",
    });
    const forged = selfSigned(folder, "forged", { endpointId: NEW });
    expect(await isHeard(await connect(NEW, { tls: chainOf(forged) }))).toBe(false);
    expect(warnings.join()).toMatch(/another certificate than is kept for it/);
  });

  test("comes through a broker only if the broker is trusted", async () => {
    await start();
    allow();
    addCertificate(world.tree, world.trust.certificates, root, "");
    const broker = { tls: chainOf(certificates.broker) };
    const way = { mtp: "Device.LocalAgent.MTP.1", protocol: "MQTT" as Protocol };
    expect(await isHeard(await connect(NEW, broker, way))).toBe(false);
    addRow(world.tree, `${trust}Credential.`, {
      Enable: "true",
      Credential: "Device.LocalAgent.Certificate.1",
      AllowedUses: "MTP-and-broker",
    });
    expect(await isHeard(await connect(NEW, broker, way))).toBe(true);
    expect(await world.admin.get("Device.LocalAgent.Controller.2.MTP.1.MQTT.")).toMatchObject({
      "Device.LocalAgent.Controller.2.MTP.1.MQTT.Topic": `to/${NEW}`,
      "Device.LocalAgent.Controller.2.MTP.1.MQTT.AgentMTPReference": "Device.LocalAgent.MTP.1",
    });
  });

  test("comes by an authority's credential without TOFU, with the roles that it brings", async () => {
    await start();
    addCertificate(world.tree, world.trust.certificates, root, "");
    const sizes = addRole(world.tree, "Sizes", [{ Targets: "Device.House.Size", Param: "r---" }]);
    addRow(world.tree, `${trust}Credential.`, {
      Enable: "true",
      Credential: "Device.LocalAgent.Certificate.1",
      AllowedUses: "MTP-and-USP",
      Role: sizes,
    });
    const peer = await connect(NEW, { tls: chainOf(certificates.newOfOperator) });
    expect(await peer.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
  });

  test("is one of a few that wait, and is forgotten when it stays silent", async () => {
    await start();
    allow("3600");
    const heard: boolean[] = [];
    for (let i = 0; i < 17; i++) {
      const name = `self::n${i}`;
      heard.push(
        await isHeard(await connect(name, { tls: chainOf(selfSigned(folder, `n${i}`, { endpointId: name })) })),
      );
    }
    expect(heard).toEqual([...Array<boolean>(16).fill(true), false]);
    expect(warnings.join()).toMatch(/16 controllers wait to be trusted already/);
    const controllers = () => [...world.tree.all(world.tree.object("Device.LocalAgent.Controller.{i}.")!)].length;
    expect(controllers()).toBe(17);
    allow("1");
    await until(() => controllers() === 1);
    await until(() => world.trust.certificates.all().length === 0);
    await settle();
  });
});

describe("certificates in the model", () => {
  test("are added, fingerprinted, kept over a restart, and deleted with what refers to them", async () => {
    const store = memoryStore();
    await start({ store });
    const pem = readFileSync(operator.file, "utf8");
    const run = async (path: string, args: Record<string, string> = {}) => {
      const { operationResults } = await world.admin.response(operation(path, args), "operateResp");
      const outcome = operationResults[0]?.operationResp;
      return outcome?.$case === "cmdFailure"
        ? outcome.value.errCode
        : outcome?.$case === "reqOutputArgs"
          ? Object.fromEntries(outcome.value.outputArgs)
          : outcome;
    };
    expect(await run("Device.LocalAgent.AddCertificate()", { Alias: "operator", Certificate: pem })).toEqual({});
    expect(await run("Device.LocalAgent.AddCertificate()", { Certificate: pem })).toBe(7022);
    expect(await run("Device.LocalAgent.AddCertificate()", { Certificate: "nonsense" })).toBe(7027);
    expect(await run("Device.LocalAgent.AddCertificate()")).toBe(7027);
    expect(await world.admin.get("Device.LocalAgent.Certificate.")).toEqual({
      "Device.LocalAgent.Certificate.1.Alias": "operator",
      "Device.LocalAgent.Certificate.1.Enable": "true",
      "Device.LocalAgent.Certificate.1.SerialNumber": root.serial,
      "Device.LocalAgent.Certificate.1.Issuer": "CN=operator",
    });
    expect(await run("Device.LocalAgent.Certificate.1.GetFingerprint()", { FingerprintAlgorithm: "SHA-256" })).toEqual({
      Fingerprint: root.fingerprint.toLowerCase(),
    });
    await world.stop();
    await start({ store });
    expect(world.trust.certificates.all().map(({ certificate }) => certificate.fingerprint)).toEqual([
      root.fingerprint,
    ]);
    const row = addController(world.tree, ACS, "", { Credential: "Device.LocalAgent.Certificate.1" });
    expect(await run("Device.LocalAgent.Certificate.1.Delete()")).toEqual({});
    expect(await world.admin.get(`${row}.Credential`)).toEqual({ [`${row}.Credential`]: "" });
    expect(await world.admin.get("Device.LocalAgent.CertificateNumberOfEntries")).toEqual({
      "Device.LocalAgent.CertificateNumberOfEntries": "0",
    });
  });

  test("a controller adds its own, under its own endpoint id and to its own row", async () => {
    await start();
    const row = webController(ACS, world.roleAdmin);
    const peer = await connect(ACS);
    const add = async (path: string, issued: Issued) => {
      const args = { Certificate: readFileSync(issued.cert, "utf8") };
      const { operationResults } = await peer.response(operation(`${path}.AddMyCertificate()`, args), "operateResp");
      const outcome = operationResults[0]?.operationResp;
      return outcome?.$case === "cmdFailure" ? outcome.value.errCode : 0;
    };
    expect(await add(world.adminPath, certificates.own)).toBe(7006);
    expect(await add(row, certificates.other)).toBe(7027);
    expect(await add(row, certificates.own)).toBe(0);
    // From now on it has to show it.
    expect(await isHeard(peer)).toBe(false);
    expect(await isHeard(await connect(ACS, { tls: chainOf(certificates.own) }))).toBe(true);
  });

  test("that the configuration names stay, enabled, with the numbers they had", async () => {
    await start();
    const { certificates: book } = world.trust;
    const strange = readCertificates(readFileSync(stranger.file))[0]!;
    book.configure("authority", [strange, root]);
    book.configure("own", [readCertificate(readCertificates(readFileSync(certificates.acs.cert))[0]!.der)]);
    book.configure("authority", [root]);
    expect(await world.admin.get("Device.LocalAgent.Certificate.*.Issuer")).toEqual({
      "Device.LocalAgent.Certificate.2.Issuer": "CN=operator",
    });
    expect(await world.admin.get("Device.Security.Certificate.*.Subject")).toEqual({
      "Device.Security.Certificate.2.Subject": "CN=operator",
      "Device.Security.Certificate.3.Subject": "CN=acs",
    });
    expect(await world.admin.get("Device.Security.Certificate.3.SubjectAlt")).toEqual({
      "Device.Security.Certificate.3.SubjectAlt": `urn:bbf:usp:id:${ACS}`,
    });
    expect(() => setParams(world.tree, "Device.LocalAgent.Certificate.2.", { Enable: "false" })).toThrow(
      /the configuration names this certificate/,
    );
    const { operationResults } = await world.admin.response(
      operation("Device.LocalAgent.Certificate.2.Delete()"),
      "operateResp",
    );
    expect(operationResults[0]?.operationResp?.$case).toBe("cmdFailure");
  });
});

describe("a challenge", () => {
  const TRUST = "Device.LocalAgent.ControllerTrust.";
  const base64 = (text: string) => Buffer.from(text).toString("base64");

  async function ask(peer: Peer, path: string, args: Record<string, string>) {
    const { operationResults } = await peer.response(operation(`${TRUST}${path}`, args), "operateResp");
    const outcome = operationResults[0]?.operationResp;
    if (outcome?.$case === "cmdFailure") throw new Error(`${outcome.value.errCode} ${outcome.value.errMsg}`);
    return outcome?.$case === "reqOutputArgs" ? outcome.value.outputArgs : new Map<string, string>();
  }
  const request = async (peer: Peer, reference = `${TRUST}Challenge.1`) =>
    (await ask(peer, "RequestChallenge()", { ChallengeRef: reference })).get("ChallengeID") ?? "";
  const respond = (peer: Peer, ChallengeID: string, text: string) =>
    ask(peer, "ChallengeResponse()", { ChallengeID, Value: base64(text) });

  /** A newcomer with the untrusted role, which may answer challenges. */
  async function newcomer(options: Parameters<typeof buildWorld>[0] = {}): Promise<Peer> {
    await start(options);
    if (!world.tree.at(`${TRUST}Challenge.1.`)) {
      const commands = `${TRUST}RequestChallenge(),${TRUST}ChallengeResponse()`;
      const untrusted = addRole(world.tree, "Untrusted", [
        { Targets: commands, CommandEvent: "r-x-" },
        { Targets: `${TRUST}Challenge.{i}.Alias`, Param: "r---" },
      ]);
      const keeper = addRole(world.tree, "Keeper", [{ Targets: "Device.House.", Param: "r---", Obj: "r---" }]);
      setParams(world.tree, TRUST, { UntrustedRole: untrusted, TOFUAllowed: "true" });
      addRow(world.tree, `${TRUST}Challenge.`, {
        Enable: "true",
        Alias: "label",
        Value: base64("correct horse"),
        Role: keeper,
        Instruction: base64("See the label below the gateway."),
        InstructionType: "text/plain",
        Retries: "1",
        LockoutPeriod: "3600",
      });
    }
    return connect(NEW, { tls: chainOf(certificates.new) });
  }

  test("gives a newcomer the challenge's role, once the answer is right, and keeps it", async () => {
    const peer = await newcomer();
    const given = await ask(peer, "RequestChallenge()", { ChallengeRef: `${TRUST}Challenge.[Alias=="label"]` });
    expect(Buffer.from(given.get("Instruction") ?? "", "base64").toString()).toBe("See the label below the gateway.");
    await expect(peer.get("Device.House.Size")).rejects.toThrow(/7026|7006/);
    await respond(peer, given.get("ChallengeID") ?? "", "correct horse");
    expect(await peer.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
    // Said again it is no answer to anything.
    await expect(respond(peer, given.get("ChallengeID") ?? "", "correct horse")).rejects.toThrow(/7006|7022|7026/);
  });

  test("is nobody else's to answer, and its answer is read by nobody", async () => {
    const peer = await newcomer();
    const id = await request(peer);
    await expect(respond(world.admin, id, "correct horse")).rejects.toThrow(/7022 there is no such challenge of yours/);
    expect(await world.admin.get(`${TRUST}Challenge.1.Value`)).toEqual({ [`${TRUST}Challenge.1.Value`]: "" });
  });

  test("locks out after the retries, and a restart does not help", async () => {
    const store = memoryStore();
    const peer = await newcomer({ store });
    const id = await request(peer);
    await expect(respond(peer, id, "wrong")).rejects.toThrow(/the answer is wrong/);
    await expect(respond(peer, id, "wrong again")).rejects.toThrow(/the answer is wrong/);
    await expect(respond(peer, id, "correct horse")).rejects.toThrow(/7022/);
    await expect(request(peer)).rejects.toThrow(/locked out for 3600 s/);
    for (const stop of stops.splice(0)) stop.abort();
    await world.stop();
    const again = await newcomer({ store });
    await expect(request(again)).rejects.toThrow(/locked out for 3[56]\d\d s/);
  });

  test("that is disabled, or has no answer, can't be passed", async () => {
    const peer = await newcomer();
    setParams(world.tree, `${TRUST}Challenge.1.`, { Value: "" });
    const id = await request(peer);
    await expect(respond(peer, id, "")).rejects.toThrow(/the answer is wrong/);
    setParams(world.tree, `${TRUST}Challenge.1.`, { Enable: "false" });
    await expect(request(peer)).rejects.toThrow(/7027/);
    await expect(request(peer, "Device.House")).rejects.toThrow(/7027/);
  });
});
