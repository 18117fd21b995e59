import fc from "fast-check";
import {
  decodeMsg,
  decodeRecord,
  encodeMsg,
  encodeMsgRecord,
  encodeRecord,
  errorMsg,
  recordOf,
  requestMsg,
  responseMsg,
  type MsgContent,
} from "../../proto/codec.ts";
import { Header_MsgType, type Msg } from "../../proto/generated/usp-msg.ts";
import { anyMessage, namesOf, peerDecode, peerEncode, PeerMsg, PeerRecord, type Plain } from "./independent.ts";

const envelope = { version: "1.4", toId: "os::00D09E-0001", fromId: "self::ctl" };
const roomy = { bytes: 1 << 20, elements: 100_000 };

describe("what another implementation writes", () => {
  test("is read, and comes back the same when we write it, for every Message", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(anyMessage(PeerMsg), (message) => {
        const decoded = decodeMsg(peerEncode(PeerMsg, message), roomy);
        if (!decoded.ok) throw new Error(decoded.reason);
        const ours = encodeMsg(rebuild(decoded.msgId, decoded.content));
        expect(withoutType(peerDecode(PeerMsg, ours))).toEqual(
          withoutType(peerDecode(PeerMsg, peerEncode(PeerMsg, message))),
        );
        seen.add(caseOf(decoded.content));
      }),
      { numRuns: 600 },
    );
    expect(seen.size).toBe(namesOf("req_type", "usp.Request").length + namesOf("resp_type", "usp.Response").length + 1);
  });

  test("is read, and comes back the same when we write it, for every Record", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(anyMessage(PeerRecord), (message) => {
        const theirs = peerEncode(PeerRecord, message);
        const decoded = decodeRecord(theirs, roomy);
        if (!decoded.ok) throw new Error(decoded.reason);
        expect(peerDecode(PeerRecord, encodeRecord(decoded.record))).toEqual(peerDecode(PeerRecord, theirs));
        seen.add(decoded.record.recordType.$case);
      }),
      { numRuns: 300 },
    );
    expect(seen.size).toBe(namesOf("record_type", "usp_record.Record").length);
  });
});

describe("what we write", () => {
  test("is read by another implementation, payload and envelope in one go", () => {
    const msg = requestMsg("17", { $case: "get", value: { paramPaths: ["Device.DeviceInfo."], maxDepth: 2 } });
    const record = peerDecode(PeerRecord, encodeMsgRecord(envelope, msg));
    expect(record).toMatchObject({
      version: "1.4",
      to_id: envelope.toId,
      from_id: envelope.fromId,
      payload_security: 0,
    });
    const payload = Uint8Array.from((record["no_session_context"] as { payload: number[] }).payload);
    expect(peerDecode(PeerMsg, payload)).toMatchObject({
      header: { msg_id: "17", msg_type: Header_MsgType.GET },
      body: { request: { get: { param_paths: ["Device.DeviceInfo."], max_depth: 2 } } },
    });
  });

  test("equals a Record around the encoded Message, whatever the lengths", () => {
    for (const size of [0, 1, 100, 127, 128, 300, 16_000, 16_384, 70_000]) {
      const msg = errorMsg("id", 7003, "x".repeat(size));
      const apart = recordOf(envelope, { $case: "noSessionContext", value: { payload: encodeMsg(msg) } });
      expect(Buffer.from(encodeMsgRecord(envelope, msg)).equals(encodeRecord(apart))).toBe(true);
    }
  });

  test("carries the message type that belongs to the body", () => {
    for (const [name, value] of Object.entries(Header_MsgType)) {
      if (name === "ERROR") continue;
      const path = name.endsWith("_RESP") ? ["response", name.toLowerCase()] : ["request", name.toLowerCase()];
      const member = (path[1] as string).replace("supported_proto", "supported_protocol");
      const decoded = decodeMsg(
        peerEncode(PeerMsg, { header: { msg_id: "1" }, body: { [path[0] as string]: { [member]: sample(member) } } }),
      );
      if (!decoded.ok) throw new Error(`${name}: ${decoded.reason}`);
      expect([name, rebuild("1", decoded.content).header?.msgType]).toEqual([name, value]);
    }
  });

  test("keeps map keys that are special to JavaScript", () => {
    const inputArgs = new Map([
      ["__proto__", "a"],
      ["constructor", "b"],
      ["2", "c"],
      ["1", "d"],
    ]);
    const request = {
      $case: "operate" as const,
      value: { command: "Device.Reboot()", commandKey: "", sendResp: true, inputArgs },
    };
    const decoded = decodeMsg(encodeMsg(requestMsg("1", request)));
    expect(decoded.ok && decoded.content.kind === "request" && decoded.content.request).toEqual(request);
  });

  test("is whole after a message that could not be written", () => {
    const broken = errorMsg("1", -1, "a code that fixed32 cannot hold");
    expect(() => encodeMsg(broken)).toThrow();
    expect(decodeMsg(encodeMsg(errorMsg("2", 7000, "fine")))).toMatchObject({ ok: true, msgId: "2" });
  });
});

describe("a Record is refused", () => {
  const good = peerEncode(PeerRecord, {
    version: "1.4",
    to_id: envelope.toId,
    from_id: envelope.fromId,
    no_session_context: {
      payload: [...encodeMsg(requestMsg("m1", { $case: "get", value: { paramPaths: ["Device."], maxDepth: 0 } }))],
    },
  });
  const salvaged = { fromId: envelope.fromId, toId: envelope.toId, msgId: "m1", isRequest: true };
  const cases: [string, Uint8Array, number, Plain][] = [
    ["with a second, different record_type", join(good, [0x52, 0x00]), 7104, salvaged],
    ["with the same record_type twice", join(good, [0x3a, 0x00]), 7104, { ...salvaged }],
    [
      "without any record_type",
      peerEncode(PeerRecord, { version: "1.4", to_id: "a::b", from_id: "c::d" }),
      7104,
      { fromId: "c::d" },
    ],
    [
      "whose record_type is from the future",
      join(record("a::b", "c::d"), [0xa2, 0x06, 0x00]),
      7100,
      { fromId: "c::d" },
    ],
    [
      "without from_id",
      peerEncode(PeerRecord, { version: "1.4", to_id: "a::b", uds_connect: {} }),
      7104,
      { toId: "a::b" },
    ],
    [
      "without to_id",
      peerEncode(PeerRecord, { version: "1.4", from_id: "a::b", uds_connect: {} }),
      7104,
      { fromId: "a::b" },
    ],
    ["without version", peerEncode(PeerRecord, { to_id: "x::y", from_id: "a::b", uds_connect: {} }), 7104, {}],
    ["with to_id twice", join(good, [0x12, 0x01, 0x61]), 7104, {}],
    ["with an unknown payload_security", join(good, [0x20, 0x02]), 7100, salvaged],
    [
      "with an enum that no 32 bits hold",
      join(good, [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
      7100,
      salvaged,
    ],
    [
      "with an unknown MQTT version",
      peerEncode(PeerRecord, { version: "1.4", to_id: "a::b", from_id: "c::d", mqtt_connect: { version: 7 } }),
      7100,
      {},
    ],
    ["with a known field of a wrong wire type", join(good, [0x28, 0x01]), 7100, salvaged],
    ["with field number 0", join(good, [0x02, 0x00]), 7100, salvaged],
    ["with a group", join(good, [0x83, 0x01, 0x84, 0x01]), 7100, salvaged],
    ["cut short", good.subarray(0, good.length - 1), 7100, salvaged],
    ["with a length past its end", join(good, [0x32, 0xff, 0xff, 0xff, 0xff, 0x0f]), 7100, salvaged],
    ["with a tag of eleven bytes", join(good, new Array<number>(11).fill(0x80)), 7100, salvaged],
    [
      "with from_id that is not UTF-8",
      join(record("a::b", ""), [0x1a, 0x02, 0xc0, 0xaf], [0x6a, 0x00]),
      7100,
      { toId: "a::b" },
    ],
    ["when empty", new Uint8Array(0), 7104, { isRequest: false }],
  ];
  test.each(cases)("%s", (_name, bytes, code, known) => {
    const decoded = decodeRecord(bytes);
    expect(decoded).toMatchObject({ ok: false, code, ...known });
    expect(!decoded.ok && decoded.reason).toMatch(/^usp_record\./);
  });

  test("over the size limit, and says who asked", () => {
    expect(decodeRecord(good, { bytes: good.length - 1, elements: 10 })).toMatchObject({
      ok: false,
      code: 7005,
      ...salvaged,
    });
  });

  test("but not for a field that a later version added", () => {
    expect(
      decodeRecord(
        join(
          good,
          [0xa2, 0x06, 0x01, 0x00],
          [0xa8, 0x06, 0x05],
          [0xad, 0x06, 1, 2, 3, 4],
          [0xa9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
      ).ok,
    ).toBe(true);
  });
});

describe("a Message is refused", () => {
  const get = (paths: string[]) =>
    peerEncode(PeerMsg, { header: { msg_id: "m1", msg_type: 1 }, body: { request: { get: { param_paths: paths } } } });
  const header = { msg_id: "m1", msg_type: 1 };
  const cases: [string, Uint8Array, number][] = [
    ["without a body", peerEncode(PeerMsg, { header }), 7004],
    ["with an empty body", peerEncode(PeerMsg, { header, body: {} }), 7004],
    ["with an empty request", peerEncode(PeerMsg, { header, body: { request: {} } }), 7004],
    ["with two kinds of body", fromParts([0x0a, 0x00], [0x12, 0x00]), 7004],
    ["with two kinds of request", fromParts([0x0a, 0x00, 0x12, 0x00]), 7004],
    ["with the same kind of request twice", fromParts([0x0a, 0x00, 0x0a, 0x00]), 7004],
    ["whose request is from the future", fromParts([0xa2, 0x06, 0x00]), 7001],
    [
      "whose oper_status is missing",
      peerEncode(PeerMsg, { header, body: { response: { add_resp: { created_obj_results: [{}] } } } }),
      7004,
    ],
    [
      "whose oper_status is empty",
      peerEncode(PeerMsg, { header, body: { response: { add_resp: { created_obj_results: [{ oper_status: {} }] } } } }),
      7004,
    ],
    [
      "whose notification is missing",
      peerEncode(PeerMsg, { header, body: { request: { notify: { subscription_id: "s" } } } }),
      7004,
    ],
    [
      "with an unknown msg_type",
      peerEncode(PeerMsg, { header: { ...header, msg_type: 23 }, body: { request: { get: {} } } }),
      7004,
    ],
    ["with a path that is not UTF-8", corrupt(get(["Device.ABCD."]), "ABCD", [0xed, 0xa0, 0x80, 0x41]), 7004],
    ["cut short", get(["Device.DeviceInfo."]).subarray(0, 20), 7004],
  ];
  test.each(cases)("%s", (_name, bytes, code) => {
    expect(decodeMsg(bytes)).toMatchObject({ ok: false, code, msgId: "m1" });
  });

  test("without msg_id", () => {
    const decoded = decodeMsg(peerEncode(PeerMsg, { header: {}, body: { request: { get: {} } } }));
    expect(decoded).toMatchObject({ ok: false, code: 7004, isRequest: true });
    expect(decoded).not.toHaveProperty("msgId");
  });

  test("with more paths than the limit, and only then", () => {
    const paths = new Array<string>(50).fill("Device.");
    expect(decodeMsg(get(paths), { bytes: 10_000, elements: 50 }).ok).toBe(true);
    expect(decodeMsg(get(paths), { bytes: 10_000, elements: 49 })).toMatchObject({
      ok: false,
      code: 7005,
      msgId: "m1",
    });
  });

  /** A Msg with a sound header whose request holds `request`, and more body fields. */
  function fromParts(request: number[], more: number[] = []): Uint8Array {
    const body = [0x0a, request.length, ...request, ...more];
    return Uint8Array.from([0x0a, 0x06, 0x0a, 0x02, 0x6d, 0x31, 0x10, 0x01, 0x12, body.length, ...body]);
  }
});

describe("bytes from anywhere", () => {
  const sources = fc.oneof(
    anyMessage(PeerMsg).map((m) => peerEncode(PeerMsg, m)),
    anyMessage(PeerRecord).map((m) => peerEncode(PeerRecord, m)),
  );
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });

  test("never throw, and what is taken another implementation takes too", () => {
    fc.assert(
      fc.property(sources, edits, fc.nat({ max: 3 }), (source, changes, cut) => {
        const bytes = Uint8Array.from(source.subarray(0, source.length - cut));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        if (decodeRecord(bytes).ok) expect(() => PeerRecord.decode(bytes)).not.toThrow();
        if (decodeMsg(bytes).ok) expect(() => PeerMsg.decode(bytes)).not.toThrow();
      }),
      { numRuns: 1500 },
    );
  });

  test("are UTF-8 exactly when the platform's decoder says so", () => {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const odd = fc.constantFrom(
      0x7f,
      0x80,
      0xbf,
      0xc0,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xa0,
      0x9f,
      0xed,
      0xef,
      0xf0,
      0x90,
      0x8f,
      0xf4,
      0xf5,
      0xff,
      0x41,
    );
    fc.assert(
      fc.property(fc.array(odd, { minLength: 1, maxLength: 5 }), (bytes) => {
        const id = Uint8Array.from([0x0a, bytes.length, ...bytes]);
        const message = Uint8Array.from([0x0a, id.length, ...id, 0x12, 0x04, 0x0a, 0x02, 0x0a, 0x00]);
        let legal = true;
        try {
          decoder.decode(Uint8Array.from(bytes));
        } catch {
          legal = false;
        }
        expect(decodeMsg(message).ok).toBe(legal);
      }),
      { numRuns: 3000 },
    );
  });
});

function rebuild(msgId: string, content: MsgContent): Msg {
  if (content.kind === "request") return requestMsg(msgId, content.request);
  if (content.kind === "response") return responseMsg(msgId, content.response);
  return errorMsg(msgId, content.error.errCode, content.error.errMsg, content.error.paramErrs);
}

function caseOf(content: MsgContent): string {
  return content.kind === "request"
    ? content.request.$case
    : content.kind === "response"
      ? content.response.$case
      : "error";
}

function withoutType(message: Plain): Plain {
  return { ...message, header: { msg_id: (message["header"] as Plain)["msg_id"] } };
}

function sample(member: string): Plain {
  return member === "notify" ? { obj_deletion: {} } : {};
}

function record(toId: string, fromId: string): Uint8Array {
  return peerEncode(PeerRecord, { version: "1.4", to_id: toId, ...(fromId === "" ? {} : { from_id: fromId }) });
}

function join(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function corrupt(bytes: Uint8Array, text: string, by: number[]): Uint8Array {
  const copy = Buffer.from(bytes);
  const at = copy.indexOf(text);
  copy.set(by, at);
  return copy;
}
