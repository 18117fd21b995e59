/**
 * The agent's local doors as it is run, on a machine without any broker: who comes through which door as whom, and that
 * nobody at one of them can break the agent (docs/security.md "Local doors").
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { runCtl } from "../../src/cli/ctl.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { decodeMsg, decodeRecord, encodeMsgRecord, requestMsg, type RequestType } from "../../proto/codec.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { encodeFrame, TlvType, type Tlv } from "../../src/mtp/uds-codec.ts";
import { AGENT_ID, type Agent } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { SocketBed } from "../support/socket-bed.ts";
import { RawPeer } from "../support/uds.ts";

const SPIN = "Device.X_SPIN.";
const SOCKETS = "Device.UnixDomainSockets.UnixDomainSocket.";
const CONTROLLERS = "Device.LocalAgent.Controller.";

let bed: SocketBed;
beforeEach(() => {
  bed = new SocketBed();
});
afterEach(() => bed.clear(), 30_000);

async function ctl(args: string[], path = bed.path("resident")) {
  let out = "";
  let err = "";
  const code = await runCtl(args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    env: { SPIN_USP_SOCKET: path },
    signal: new AbortController().signal,
  });
  return { code, out, err };
}

/** The agent's words, or "done". */
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: unknown) => {
      if (!(error instanceof UspError)) throw error;
      return error.message;
    },
  );

describe("without a broker", () => {
  it("the resident reads and rules by ctl, and need not say which agent or who", async () => {
    await bed.agent(["Resident"]);
    expect(await ctl(["devices", "--json"])).toEqual({ code: 0, out: expect.stringContaining("["), err: "" });
    // 5: the rule is made, and nothing enforces it here.
    expect(await ctl(["block", "198.51.100.7", "--reason", "no"])).toMatchObject({ code: 5 });
    const resident = await bed.as("Resident");
    const rules = await resident.read([`${SPIN}Rule.`]);
    expect(rules.get(`${SPIN}Rule.1.Origin`)).toBe("User");
    expect(rules.get(`${SPIN}Rule.1.Creator`)).toBe("self::resident");
    await resident.write(SPIN, { PrivacyCeiling: "Summary", PrivacyLevel: "Summary" });
    expect((await ctl(["rules"])).out).toContain("198.51.100.7");
  }, 60_000);

  it("the resident lifts by ctl what it blocked, longer the second time, and an Admin lifts it not", async () => {
    await bed.agent(["Resident", "Admin"]);
    const admin = await bed.as("Admin");
    const theirs = { Enable: "true", Action: "Block", MACAddressList: "*", DestinationList: "198.51.100.7" };
    await admin.create(`${SPIN}Rule.`, theirs);
    expect(await ctl(["block", "198.51.100.7"])).toMatchObject({ code: 5, err: "" });
    expect(await ctl(["block", "198.51.100.7", "--for", "1h", "--reason", "longer"])).toMatchObject({
      code: 5,
      err: "",
    });
    expect((await admin.read([`${SPIN}Rule.2.Reason`])).get(`${SPIN}Rule.2.Reason`)).toBe("longer");
    expect((await ctl(["unblock", "198.51.100.7"])).out).toBe(
      `deleted ${SPIN}Rule.2.\nstill blocked by ${SPIN}Rule.1. (self::admin)\n`,
    );
    expect((await ctl(["unblock", "198.51.100.7"])).out).toContain("no rule of ours blocks");
    expect(await ctl(["block", "198.51.100.8"])).toMatchObject({ code: 5, err: "" });
    expect((await ctl(["unblock", "198.51.100.8"], bed.path("admin"))).out).toContain("no rule of ours blocks");
    expect(await ctl(["unblock", "198.51.100.8"])).toMatchObject({ code: 0, err: "" });
  }, 60_000);

  it("nobody else has the resident's word, whatever endpoint id is said and whatever role is given", async () => {
    await bed.agent(["Resident", "Operator", "Admin"]);
    const resident = await bed.as("Resident");
    await resident.create(`${SPIN}Rule.`, { Action: "Block", MACAddressList: "*", DestinationList: "192.0.2.1" });
    const ceiling = (who: Controller) =>
      outcome(who.write(SPIN, { PrivacyLevel: "Devices", PrivacyCeiling: "Devices" }));
    const operator = await bed.as("Operator", "self::resident");
    expect(await ceiling(operator)).toContain("may not");
    expect(await outcome(operator.remove(`${SPIN}Rule.1.`))).toContain("the resident's");
    const admin = await bed.as("Admin");
    expect(await ceiling(admin)).toContain("may not");
    const [role] = (await admin.read(['Device.LocalAgent.ControllerTrust.Role.[Name=="Resident"].Name'])).keys();
    const [row] = (await admin.read([`${CONTROLLERS}[EndpointID=="self::operator"].EndpointID`])).keys();
    const given = admin.write((row as string).replace("EndpointID", ""), {
      AssignedRole: (role as string).replace(".Name", ""),
    });
    expect(await outcome(given)).toContain("7006");
    expect(await ceiling(operator)).not.toBe("done");
    expect(await ceiling(resident)).toBe("done");
  }, 60_000);

  it("an Admin neither shuts nor changes the resident's door, and opens it to nobody", async () => {
    await bed.agent(["Resident", "Admin"]);
    const admin = await bed.as("Admin");
    const values = await admin.read([CONTROLLERS, "Device.LocalAgent.MTP.", "Device.LocalAgent.ControllerTrust.Role."]);
    const rowOf = (name: string, value: string) =>
      [...values].find(([path, each]) => path.endsWith(`.${name}`) && each === value)?.[0].replace(name, "") as string;
    const controller = rowOf("EndpointID", "self::resident");
    const mtp = "Device.LocalAgent.MTP.1.";
    const role = rowOf("Name", "Resident");
    for (const attempt of [
      admin.write(controller, { Enable: "false" }),
      admin.write(controller, { AssignedRole: "" }),
      admin.write(`${controller}MTP.1.UDS.`, { UnixDomainSocketRef: "" }),
      admin.remove(controller),
      admin.write(mtp, { Enable: "false" }),
      admin.write(`${mtp}UDS.`, { UnixDomainSocketRef: `${SOCKETS}2` }),
      admin.remove(mtp),
      admin.write(`${role}Permission.1.`, { Enable: "false" }),
      admin.remove(role),
    ])
      expect(await outcome(attempt)).toContain("the resident's");
    expect(await outcome((await bed.as("Resident")).write(SPIN, { PrivacyLevel: "Devices" }))).toBe("done");
    // What is its own stays its own.
    expect(await outcome(admin.write("Device.LocalAgent.MTP.2.", { EnableMDNS: "false" }))).toBe("done");
  }, 60_000);

  it("an Admin puts nobody between the resident and its door", async () => {
    await bed.agent(["Resident", "Admin"]);
    const admin = await bed.as("Admin");
    // The endpoint id that `ctl` says.
    const row = await admin.create(CONTROLLERS, { EndpointID: "self::spin-ctl", Enable: "true" });
    const route = { Enable: "true", Protocol: "UDS" };
    const door = { "UDS.UnixDomainSocketRef": `${SOCKETS}1` };
    const elsewhere = await admin.create(`${row}MTP.`, { ...route, "UDS.UnixDomainSocketRef": `${SOCKETS}2` });
    for (const attempt of [
      admin.create(`${row}MTP.`, { ...route, ...door }),
      admin.write(elsewhere, door),
      admin.write(`${elsewhere}UDS.`, { UnixDomainSocketRef: `${SOCKETS}1` }),
      admin.create("Device.LocalAgent.MTP.", { ...route, ...door }),
    ])
      expect(await outcome(attempt)).toContain("the resident's");
    const resident = await bed.as("Resident", "self::spin-ctl");
    expect(await outcome(resident.write(SPIN, { PrivacyLevel: "Devices", PrivacyCeiling: "Devices" }))).toBe("done");
  }, 60_000);

  it("two of the resident's programs are each told, and each answered as what it calls itself", async () => {
    await bed.agent(["Resident"]);
    const [one, two] = [await bed.as("Resident", "self::one"), await bed.as("Resident", "self::two")];
    const heard = [one, two].map((each) => each.notifications());
    const subscription = await one.subscribe({ kind: "ValueChange", references: [`${SPIN}NewDevicePolicy`] });
    await two.write(SPIN, { NewDevicePolicy: "Quarantine" });
    for (const notifications of heard)
      for await (const { subscriptionId } of notifications) {
        expect(subscriptionId).toBe(subscription.id);
        break;
      }
    await subscription.close();
  }, 60_000);

  it("the doors stand in the model, up, and can't be changed there", async () => {
    await bed.agent(["Admin", "Operator"]);
    const admin = await bed.as("Admin");
    const values = await admin.read([SOCKETS, "Device.LocalAgent.MTP."]);
    expect([...values].filter(([path]) => /Socket\.\d+\.(?:Mode|Path)$/.test(path)).map(([, value]) => value)).toEqual([
      "Listen",
      bed.path("admin"),
      "Listen",
      bed.path("operator"),
    ]);
    expect(values.get("Device.LocalAgent.MTP.1.Status")).toBe("Up");
    expect(values.get("Device.LocalAgent.MTP.2.UDS.UnixDomainSocketRef")).toBe(`${SOCKETS}2`);
    expect(await outcome(admin.write(`${SOCKETS}1.`, { Path: "/tmp/elsewhere" }))).not.toBe("done");
    const protocols = await admin.read(["Device.LocalAgent.SupportedProtocols"]);
    expect(protocols.get("Device.LocalAgent.SupportedProtocols")?.split(",")).toContain("UDS");
  }, 60_000);
});

describe("a door", () => {
  it("is its owner's and its group's alone, and goes with the agent", async () => {
    const agent = await bed.agent([bed.section("Operator", { group: "nogroup" })]);
    const { mode, gid } = statSync(bed.path("operator"));
    expect((mode & 0o777).toString(8)).toBe("660");
    expect(gid).toBe(Number(/^nogroup:[^:]*:(\d+)/m.exec(readFileSync("/etc/group", "utf8"))?.[1]));
    expect(await agent.stop()).toBe(0);
    expect(existsSync(bed.path("operator"))).toBe(false);
  }, 60_000);

  it("is there again after a crash, in the place of what was left", async () => {
    const agent = await bed.agent(["Operator"]);
    await agent.kill();
    expect(existsSync(bed.path("operator"))).toBe(true);
    agent.restart();
    await bed.opens(bed.path("operator"), agent);
  }, 60_000);

  it("that the model was told to close stays closed over a restart, and opens when it is told to", async () => {
    const agent = await bed.agent(["Admin", "Operator"]);
    const admin = await bed.as("Admin");
    await admin.write("Device.LocalAgent.MTP.2.", { Enable: "false" });
    await eventually(
      () => existsSync(bed.path("operator")),
      (is) => !is,
      { what: "the socket" },
    );
    await agent.kill();
    agent.restart();
    await bed.opens(bed.path("admin"), agent);
    expect(existsSync(bed.path("operator"))).toBe(false);
    await (await bed.as("Admin")).write("Device.LocalAgent.MTP.2.", { Enable: "true" });
    await bed.opens(bed.path("operator"), agent);
  }, 60_000);

  it("is made for a state that is older than the configuration, once; and goes with its section", async () => {
    let agent = await bed.agent(["Admin"]);
    await agent.stop();
    agent = await bed.agent(["Admin", "Operator"]);
    const admin = await bed.as("Admin");
    await admin.remove(`${CONTROLLERS}[EndpointID=="self::operator"].`);
    await agent.stop();
    agent = await bed.agent(["Admin", bed.section("Operator", { enable: "0" })]);
    const values = await (await bed.as("Admin")).read([SOCKETS, CONTROLLERS, "Device.LocalAgent.MTP."]);
    expect([...values].filter(([path, value]) => /EndpointID|Path$/.test(path) && /operator/.test(value))).toEqual([
      [`${CONTROLLERS}1.EndpointID`, "self:op:operator"],
    ]);
    await agent.stop();
  }, 90_000);

  it("turns away whom no controller's row is for, and says why", async () => {
    await bed.agent(["Admin", "Operator"]);
    const admin = await bed.as("Admin");
    await admin.write(`${CONTROLLERS}[EndpointID=="self::operator"].`, { Enable: "false" });
    const peer = await RawPeer.connect(bed.path("operator"));
    await peer.shake("self::somebody");
    expect(await peer.text(TlvType.error)).toBe("no controller of this agent is known by this socket");
    await peer.closed();
  }, 60_000);
});

/** The answer in a Record, and its kind: "response", or an Error's code. */
function answerIn({ type, value }: Tlv): { msgId: string; kind: string }[] {
  const record = type === TlvType.record ? decodeRecord(value) : undefined;
  if (record?.ok !== true || record.record.recordType.$case !== "noSessionContext") return [];
  const msg = decodeMsg(record.record.recordType.value.payload);
  if (!msg.ok || msg.content.kind === "request") return [];
  const { msgId, content } = msg;
  return [{ msgId, kind: content.kind === "error" ? `${content.error.errCode}` : content.kind }];
}

describe("at a hostile door", () => {
  const AT = "self::hostile";
  const record = (request: RequestType, msgId: string) =>
    encodeMsgRecord({ version: "1.4", toId: AGENT_ID, fromId: AT }, requestMsg(msgId, request));
  const get = (path: string): RequestType => ({ $case: "get", value: { paramPaths: [path], maxDepth: 0 } });
  const rss = ({ pid }: Agent) =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

  async function enter(): Promise<RawPeer> {
    const peer = await RawPeer.connect(bed.path("operator"));
    await peer.shake(AT);
    return peer;
  }

  /** Whether the agent is as well as ever. */
  async function serves(): Promise<void> {
    const operator = await bed.as("Operator");
    expect((await operator.read([`${SPIN}Version`])).size).toBe(1);
    await operator.close();
  }

  it("a Record of flipped bits is answered, refused or ignored, and breaks nothing", async () => {
    await bed.agent(["Operator"]);
    let seed = 20_261;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) % below;
    let peer = await enter();
    for (let round = 0; round < 400; round++) {
      const bytes = encodeFrame(TlvType.record, record(get(`${SPIN}Rule.[Action=="Block"].`), `m${round}`));
      for (let flips = 1 + random(4); flips > 0; flips--) {
        const at = random(bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
      }
      peer.write(bytes);
      if (round % 8 === 7) await pause(2);
      if (peer.isClosed || round % 40 === 39) {
        peer.end();
        peer = await enter();
      }
    }
    peer.end();
    await serves();
  }, 120_000);

  it.each([
    ["10 MB in one frame", encodeFrame(TlvType.record, Buffer.alloc(10 << 20))],
    ["no frame at all", Buffer.from("POST / HTTP/1.1\r\nHost: gateway\r\n\r\n")],
    ["a TLV beyond its frame", Buffer.from("5f5553500000000503ffffffff", "hex")],
    ["a Record that is none", encodeFrame(TlvType.record, Buffer.from("not protobuf at all"))],
  ])(
    "%s is told to be an error, and the connection closed",
    async (_what, bytes) => {
      await bed.agent(["Operator"]);
      const peer = await enter();
      peer.write(bytes);
      expect((await peer.text(TlvType.error)).length).toBeGreaterThan(10);
      await peer.closed();
      await serves();
    },
    60_000,
  );

  it("those who connect and say nothing keep nobody else out for long, and cost little", async () => {
    const agent = await bed.agent(["Operator"]);
    const silent = await Promise.all(Array.from({ length: 15 }, () => RawPeer.connect(bed.path("operator"))));
    for (const peer of silent) peer.write(Buffer.from("5f5553", "hex"));
    await serves();
    for (const peer of silent) peer.end();
    await agent.unlessItDies(pause(50));
    await serves();
  }, 60_000);

  it("5,000 requests at once are each answered, or told 7005", async () => {
    await bed.agent(["Operator"]);
    const peer = await enter();
    const paths = [`${SPIN}Version`, `${SPIN}Summary.`, "Device.LocalAgent.", "Device.LocalAgent.Controller."];
    const count = 5_000;
    for (let i = 0; i < count; i++) peer.say(TlvType.record, record(get(paths[i % paths.length] as string), `f${i}`));
    // After the handshake and the Connect Record.
    await eventually(
      () => peer.tlvs.length,
      (length) => length >= count + 2,
      { timeoutMs: 60_000, what: "answers" },
    );
    const answers = peer.tlvs.flatMap((tlv) => answerIn(tlv));
    expect(new Set(answers.map(({ msgId }) => msgId)).size).toBe(count);
    for (const kind of new Set(answers.map(({ kind }) => kind))) expect(["response", "7005"]).toContain(kind);
    peer.end();
    await serves();
  }, 120_000);

  it("5,000 requests of a reader that takes nothing cost a bounded memory, stall nobody, and are answered in the end", async () => {
    const agent = await bed.agent(["Operator"], { args: ["--bench-model", "200"] });
    await serves();
    const before = rss(agent);
    const peer = await enter();
    peer.socket.pause();
    const count = 5_000;
    for (let i = 0; i < count; i++) peer.say(TlvType.record, record(get("Device.X_BENCH.Row."), `s${i}`));
    await pause(1_500);
    await serves();
    expect(rss(agent) - before).toBeLessThan(150);
    // Each answer has some 130 kB; the peer's own memory bounds how many this test takes.
    peer.socket.resume();
    await eventually(
      () => peer.tlvs.length,
      (answers) => answers > 100,
      { timeoutMs: 60_000, what: "answers" },
    );
    peer.end();
    await serves();
  }, 120_000);
});

if (process.getuid?.() !== 0) test.skip("who is not in the group can't connect [skipped: needs root]", () => undefined);
else
  test("who is not in the group can't connect", async () => {
    await bed.agent(["Operator"]);
    execFileSync("chmod", ["755", bed.folder]);
    const script = `require("node:net").connect(${JSON.stringify(bed.path("operator"))}).on("error", (e) => console.log(e.code)).on("connect", () => process.exit(1))`;
    const out = execFileSync("setpriv", [
      "--reuid",
      "65534",
      "--regid",
      "65534",
      "--clear-groups",
      process.execPath,
      "-e",
      script,
    ]);
    expect(out.toString().trim()).toBe("EACCES");
  }, 60_000);
