/** Payload security over a session (R-E2E.40 to .43) and the integrity of the other fields (R-E2E.31 to .39). */
import { generateKeyPairSync } from "node:crypto";
import { Duplex } from "node:stream";
import { connect, createSecureContext } from "node:tls";
import { encodeRecord, type UspRecord } from "../../proto/codec.ts";
import { isProtectedByMtp, protectedFields, signatureFault, Signer } from "../../src/session/integrity.ts";
import { SecureChannel } from "../../src/session/secure.ts";
import { AGENT, CONTROLLER, exchange, makeAuthority, pair, PLAIN, recordOf, sessionOf } from "./support.ts";

const authority = makeAuthority();
const stranger = makeAuthority();
const ours = authority.identity(AGENT);
const theirs = authority.identity(CONTROLLER);
afterAll(() => {
  authority.remove();
  stranger.remove();
});

const SECURE = { ...PLAIN, isSecure: true };
const secured = (settings = SECURE) =>
  pair({ agent: { trust: authority.trust(ours) }, controller: { trust: authority.trust(theirs) } }, settings);

describe("a secured session", () => {
  it.each(["agent", "controller"] as const)(
    "is opened by the %s as TLS client, and carries Messages both ways",
    async (who) => {
      const ends = secured();
      const [one, other] = who === "agent" ? [ends.agent, ends.controller] : [ends.controller, ends.agent];
      void one.send("first");
      void one.send("second");
      await exchange(one, other);
      void other.send("answer");
      await exchange(one, other);
      expect([other.got, one.got]).toEqual([["first", "second"], ["answer"]]);
      expect([one.peer.status, other.peer.status]).toEqual(["Up", "Up"]);
    },
  );

  it("carries nothing that can be read, in one payload field for each TLS record", async () => {
    const { agent, controller } = secured();
    void controller.send("s".repeat(40_000));
    const seen: UspRecord[] = [];
    for (let i = 0; i < 20; i++) {
      for (const bytes of controller.flush()) {
        seen.push(recordOf(bytes));
        agent.take(bytes);
      }
      for (const bytes of agent.flush()) controller.take(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(agent.got.map(({ length }) => length)).toEqual([40_000]);
    expect(seen.every(({ payloadSecurity }) => payloadSecurity === 1)).toBe(true);
    expect(seen.some((record) => Buffer.from(encodeRecord(record)).includes("ssss"))).toBe(false);
    const last = sessionOf(seen.at(-1) as UspRecord);
    expect(last.payload).toHaveLength(3);
    for (const unit of last.payload)
      expect([unit[0], Buffer.from(unit).readUInt16BE(3) + 5]).toEqual([23, unit.length]);
  });

  it("is cut into Records of the size that is allowed", async () => {
    const { agent, controller } = secured({ ...SECURE, maxRecordBytes: 2_000 });
    void controller.send("s".repeat(100_000));
    const sizes: number[] = [];
    for (let i = 0; i < 40; i++) {
      for (const bytes of controller.flush()) {
        sizes.push(bytes.length);
        agent.take(bytes);
      }
      for (const bytes of agent.flush()) controller.take(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(agent.got.map(({ length }) => length)).toEqual([100_000]);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2_000);
  });

  it("has a MAC in each Record after the handshake, and none is taken without or with another", async () => {
    const { agent, controller } = secured();
    void controller.send("a");
    await exchange(agent, controller);
    for (const spoil of [
      (record: UspRecord) => ({ ...record, macSignature: new Uint8Array(0) }),
      (record: UspRecord) => ({ ...record, macSignature: Buffer.alloc(32, 1) }),
      (record: UspRecord) => ({ ...record, version: "1.3" }),
    ]) {
      const before = agent.peer.sessionId;
      void controller.send("b");
      for (let i = 0; i < 1_000 && controller.out.length === 0; i++)
        await new Promise((resolve) => setImmediate(resolve));
      const [bytes] = controller.flush();
      const record = recordOf(bytes as Uint8Array);
      expect(record.macSignature).toHaveLength(32);
      agent.take(encodeRecord(spoil(record)).slice());
      expect(agent.got).not.toContain("b");
      // R-E2E.23: silently ignored, and a new session.
      expect(agent.peer.sessionId).not.toBe(before);
      await exchange(agent, controller);
      expect(agent.peer.status).toBe("Up");
    }
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("works over %s alone, with the one cipher of R-E2E.40", async (version) => {
    const { agent, controller } = pair(
      {
        agent: { trust: authority.trust(ours) },
        controller: { trust: authority.trust(theirs), tls: { maxVersion: version, minVersion: version } },
      },
      SECURE,
    );
    void controller.send("a");
    await exchange(agent, controller);
    void agent.send("b");
    await exchange(agent, controller);
    expect([agent.got, controller.got]).toEqual([["a"], ["b"]]);
    expect(controller.peer.cipher).toBe(
      version === "TLSv1.2" ? "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256" : "TLSv1.3 TLS_AES_128_GCM_SHA256",
    );
  });
});

describe("a certificate that is not the peer's", () => {
  it.each<[string, () => Parameters<typeof pair>[0], "agent" | "controller", string]>([
    [
      "of another authority",
      () => ({ controller: { trust: authority.trust(stranger.identity(CONTROLLER)) } }),
      "agent",
      "not trusted",
    ],
    [
      "with another name",
      () => ({ controller: { trust: authority.trust(authority.identity("self::other")) } }),
      "agent",
      "does not name self::controller",
    ],
    [
      "of an agent by another name",
      () => ({ agent: { trust: authority.trust(authority.identity("self::other")) } }),
      "controller",
      "does not name os::0005CA-agent",
    ],
  ])("%s is refused, with the reason", async (_, change, who, reason) => {
    const parts = {
      agent: { trust: authority.trust(ours) },
      controller: { trust: authority.trust(theirs) },
      ...change(),
    };
    const ends = pair(parts, SECURE);
    void ends.controller.send("Get").catch(() => undefined);
    await exchange(ends.agent, ends.controller);
    expect(ends[who].notes.join()).toContain(reason);
    expect(ends.agent.got).toEqual([]);
    expect(ends.agent.peer.status).not.toBe("Up");
  });

  it("is tried again in the retry windows, and works once it is right (TP-469 3.5)", async () => {
    const bad = authority.trust(authority.identity("self::other"));
    const trust = { ...bad };
    const { agent, controller, clock } = pair(
      { agent: { trust: authority.trust(ours) }, controller: { trust } },
      SECURE,
    );
    const sent = agent.send("Boot!");
    await exchange(agent, controller);
    expect([agent.peer.status, agent.peer.retryCount]).toEqual(["Negotiating", 1]);
    clock.advance(4_999);
    agent.peer.tick();
    expect(agent.out).toEqual([]);
    Object.assign(trust, { identity: theirs });
    clock.advance(5_001);
    agent.peer.tick();
    await exchange(agent, controller);
    await sent;
    expect([agent.peer.status, agent.peer.retryCount, controller.got]).toEqual(["Up", 0, ["Boot!"]]);
  });
});

test("what TLS has not taken yet can be waited for", async () => {
  const { agent, controller } = secured();
  void controller.send("a");
  await exchange(agent, controller);
  for (let i = 0; i < 30; i++) void agent.send("x".repeat(100_000));
  expect(agent.peer.keptBytes).toBeGreaterThan(2_900_000);
  expect(agent.peer.backlog).toBeDefined();
  await agent.peer.backlog;
  expect(agent.peer.backlog).toBeUndefined();
  await exchange(agent, controller);
  expect(controller.got).toHaveLength(30);
});

test("the keys are not negotiated anew (R-E2E.42, TP-469 3.6)", async () => {
  const toServer: Buffer[] = [];
  const toClient: Uint8Array[] = [];
  const wire = new Duplex({ read: () => undefined, write: (chunk: Buffer, _, done) => (toServer.push(chunk), done()) });
  const secureContext = createSecureContext({ ...theirs, maxVersion: "TLSv1.2", ecdhCurve: "P-256" });
  // As a peer that does renegotiate: Node's client does, unless it is told not to.
  const client = connect({ socket: wire, secureContext, rejectUnauthorized: false });
  const faults: string[] = [];
  client.on("error", ({ message }) => faults.push(message));
  const server = new SecureChannel({
    identity: ours,
    isClient: false,
    check: () => undefined,
    onFlight: (units) => toClient.push(...units),
    onSecure: () => undefined,
    onFailed: (reason) => faults.push(reason),
  });
  const carry = async (isHeard: boolean) => {
    for (let i = 0; i < 6; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      for (const chunk of toServer.splice(0)) server.receive(chunk);
      for (const unit of toClient.splice(0)) if (isHeard) wire.push(unit);
    }
  };
  await carry(true);
  const { keys } = server;
  expect(keys).toBeDefined();
  client.renegotiate({}, () => undefined);
  // OpenSSL as a client ends with the alert: it is kept from it.
  await carry(false);
  expect(faults).toEqual([]);
  expect(server.keys).toBe(keys);
  expect((await server.send(Buffer.from("still there"))).length).toBe(1);
  server.close();
  client.destroy();
});

describe("a handshake that goes nowhere", () => {
  it("is given up", () => {
    const { agent, clock } = secured();
    agent.send("Boot!").catch(() => undefined);
    clock.advance(30_000);
    agent.peer.tick();
    expect(agent.notes.at(-1)).toContain("takes too long");
    expect(agent.peer.retryCount).toBe(1);
  });

  it("makes no crash of any bytes", async () => {
    for (const text of ["", "GET / HTTP/1.1\r\n\r\n", "\u0016\u0003\u0001\u0000\u0005hello", "x".repeat(70_000)]) {
      const { agent, controller } = secured();
      controller.settings = PLAIN;
      void controller.send(text);
      const record = recordOf(controller.flush()[0] as Uint8Array);
      agent.take(encodeRecord({ ...record, payloadSecurity: 1 }).slice());
      await exchange(agent, controller);
      expect(agent.got).toEqual([]);
    }
  });
});

describe("a signature", () => {
  const signer = new Signer(theirs);
  const record = (): UspRecord => ({
    version: "1.4",
    toId: AGENT,
    fromId: CONTROLLER,
    payloadSecurity: 0,
    macSignature: new Uint8Array(0),
    senderCert: new Uint8Array(0),
    recordType: { $case: "noSessionContext", value: { payload: Buffer.from("Get") } },
  });

  it("holds for the fields that it was made of, in the order of their numbers (R-E2E.32)", () => {
    const signed = signer.sign(record());
    expect(signatureFault(signed, authority.trust())).toBeUndefined();
    expect(signatureFault({ ...signed, version: "1.3" }, authority.trust())).toContain("not one of these fields");
    const fields = protectedFields({
      ...record(),
      senderCert: Buffer.from("C"),
      payloadSecurity: 1,
      recordType: {
        $case: "sessionContext",
        value: {
          sessionId: 2n,
          sequenceId: 3n,
          expectedId: 4n,
          retransmitId: 5n,
          payloadSarState: 1,
          payloadrecSarState: 2,
          payload: [Buffer.from("no")],
        },
      },
    });
    const numbers = "000000000000000200000000000000030000000000000004000000000000000500000001" + "00000002";
    expect(fields.toString("hex")).toBe(
      Buffer.from(`1.4${AGENT}${CONTROLLER}`).toString("hex") + "00000001" + "43" + numbers,
    );
  });

  it.each<[string, (signed: UspRecord) => UspRecord, string]>([
    ["of a stranger", () => new Signer(stranger.identity(CONTROLLER)).sign(record()), "not trusted"],
    ["in the name of another", () => new Signer(authority.identity("self::other")).sign(record()), "does not name"],
    ["without a certificate", (signed) => ({ ...signed, senderCert: new Uint8Array(0) }), "names no certificate"],
    ["with a certificate that is none", (signed) => ({ ...signed, senderCert: Buffer.from("x") }), "can't be read"],
    ["of nothing", (signed) => ({ ...signed, macSignature: Buffer.alloc(70) }), "not one of these fields"],
    [
      "with a certificate of megabytes",
      (signed) => ({ ...signed, senderCert: Buffer.alloc(1 << 20, "x") }),
      "too long",
    ],
  ])("%s does not hold", (_, spoil, reason) => {
    expect(signatureFault(spoil(signer.sign(record())), authority.trust())).toContain(reason);
  });

  it("is over a session in plain text too, both ways", async () => {
    const { agent, controller } = pair({
      agent: { trust: authority.trust(ours, true), signer: new Signer(ours) },
      controller: { trust: authority.trust(theirs, true), signer: new Signer(theirs) },
    });
    void controller.send("a");
    await exchange(agent, controller);
    void agent.send("b");
    const [answer] = agent.out.map(recordOf);
    expect(answer?.macSignature.length).toBeGreaterThan(64);
    await exchange(agent, controller);
    expect([agent.got, controller.got]).toEqual([["a"], ["b"]]);
  });

  it("is made by P-256 alone", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const key = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    expect(() => new Signer({ cert: theirs.cert, key })).toThrow("P-256");
  });
});

test("the MTP protects what names its sender, or what a trusted broker vouches for, and only encrypted (R-E2E.28)", () => {
  const table = [
    [true, true, false, true],
    [true, false, true, true],
    [true, false, false, false],
    [false, true, true, false],
  ] as const;
  for (const [isEncrypted, namesSender, isTrustedBroker, expected] of table)
    expect(isProtectedByMtp({ isEncrypted, namesSender, isTrustedBroker })).toBe(expected);
});
