/**
 * USP Records and Messages ⇄ bytes. Decoding never throws: what is refused comes back with its USP error code, a
 * reason in words, and whatever could still be read, because TR-369 R-MTP.5 makes an answer depend on that.
 *
 * Messages are plain objects (`oneof` as `{ $case, value }`, maps as `Map`), so `{ $case: "get", value: { paramPaths,
 * maxDepth } }` is a whole Get request.
 */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { MSG, RECORD } from "./generated/wire-tables.ts";
import {
  Header_MsgType,
  Msg,
  type Body,
  type Error as ErrorMsg,
  type Error_ParamError,
  type Request,
  type Response,
} from "./generated/usp-msg.ts";
import { Record as UspRecord } from "./generated/usp-record.ts";
import { salvageMsg, salvageRecord, type SalvagedMsg, type SalvagedRecord } from "./salvage.ts";
import { checkWire, type WireFault, type WireLimits } from "./wire-check.ts";

export type { UspRecord, WireLimits };

/** For an endpoint that reads requests; one that reads whole-model answers allows more. */
export const DEFAULT_LIMITS: WireLimits = { bytes: 1 << 20, elements: 10_000 };

export type DecodedRecord = { readonly ok: true; readonly record: CompleteRecord } | RecordFailure;
export type DecodedMsg = { readonly ok: true; readonly msgId: string; readonly content: MsgContent } | MsgFailure;

export type CompleteRecord = UspRecord & { readonly recordType: RecordType };
export type RecordType = NonNullable<UspRecord["recordType"]>;
export type RequestType = NonNullable<Request["reqType"]>;
export type ResponseType = NonNullable<Response["respType"]>;

/** What a Message says, without the wire's nesting. Its kind is the body's: header.msg_type counts for less (R-MSG.10). */
export type MsgContent =
  | { readonly kind: "request"; readonly request: RequestType }
  | { readonly kind: "response"; readonly response: ResponseType }
  | { readonly kind: "error"; readonly error: ErrorMsg };

export interface RecordFailure extends SalvagedRecord {
  readonly ok: false;
  /** 7100 not parsed · 7104 a field is missing or wrong · 7005 over the limits. */
  readonly code: 7100 | 7104 | 7005;
  readonly reason: string;
}

export interface MsgFailure extends SalvagedMsg {
  readonly ok: false;
  /** 7004 invalid · 7001 a kind of Message that is not known here · 7005 over the limits. */
  readonly code: 7004 | 7001 | 7005;
  readonly reason: string;
}

/** Decodes a Record whose required fields are there: version, to_id, from_id and one record_type. */
export function decodeRecord(bytes: Uint8Array, limits: WireLimits = DEFAULT_LIMITS): DecodedRecord {
  const fault = checkWire(bytes, RECORD, limits);
  if (fault !== undefined) return refuseRecord(bytes, recordCode(fault), fault.reason);
  const record = UspRecord.decode(new BinaryReader(bytes, decodeUtf8));
  const missing =
    record.toId === "" ? "to_id" : record.fromId === "" ? "from_id" : record.version === "" ? "version" : "";
  return missing === ""
    ? { ok: true, record: record as CompleteRecord }
    : refuseRecord(bytes, 7104, `usp_record.Record.${missing}: is missing`);
}

/** Decodes the payload of a Record. */
export function decodeMsg(bytes: Uint8Array, limits: WireLimits = DEFAULT_LIMITS): DecodedMsg {
  const fault = checkWire(bytes, MSG, limits);
  if (fault !== undefined) return { ok: false, code: msgCode(fault), reason: fault.reason, ...salvageMsg(bytes) };
  const msg = Msg.decode(new BinaryReader(bytes, decodeUtf8));
  const msgId = msg.header?.msgId;
  const content = contentOf(msg);
  if (msgId && content) return { ok: true, msgId, content };
  return { ok: false, code: 7004, reason: "usp.Header.msg_id: is missing", ...salvageMsg(bytes) };
}

export function encodeRecord(record: UspRecord): Uint8Array {
  return encode(() => UspRecord.encode(record, writer));
}

export function encodeMsg(msg: Msg): Uint8Array {
  return encode(() => Msg.encode(msg, writer));
}

/** A Message in a Record without session context, written in one go. */
export function encodeMsgRecord(envelope: Envelope, msg: Msg): Uint8Array {
  return encode(() => {
    writer.uint32(10).string(envelope.version).uint32(18).string(envelope.toId).uint32(26).string(envelope.fromId);
    // no_session_context = 7, and in it payload = 2.
    Msg.encode(msg, writer.uint32(58).fork().uint32(18).fork()).join().join();
  });
}

export interface Envelope {
  /** The newest version that both ends speak, `1.4`. */
  readonly version: string;
  readonly toId: string;
  readonly fromId: string;
}

/** A Record of the given kind, in plain text. */
export function recordOf(envelope: Envelope, recordType: RecordType): UspRecord {
  return { ...envelope, payloadSecurity: 0, macSignature: NO_BYTES, senderCert: NO_BYTES, recordType };
}

export function requestMsg(msgId: string, request: RequestType): Msg {
  return msgOf(msgId, REQUEST_TYPE[request.$case], { $case: "request", value: { reqType: request } });
}

export function responseMsg(msgId: string, response: ResponseType): Msg {
  return msgOf(msgId, RESPONSE_TYPE[response.$case], { $case: "response", value: { respType: response } });
}

export function errorMsg(msgId: string, errCode: number, errMsg: string, paramErrs: Error_ParamError[] = []): Msg {
  return msgOf(msgId, Header_MsgType.ERROR, { $case: "error", value: { errCode, errMsg, paramErrs } });
}

function contentOf(msg: Msg): MsgContent | undefined {
  const body = msg.body?.msgBody;
  if (body?.$case === "request") return body.value.reqType && { kind: "request", request: body.value.reqType };
  if (body?.$case === "response") return body.value.respType && { kind: "response", response: body.value.respType };
  return body && { kind: "error", error: body.value };
}

const NO_BYTES = new Uint8Array(0);

const REQUEST_TYPE: { readonly [Case in RequestType["$case"]]: Header_MsgType } = {
  get: Header_MsgType.GET,
  getSupportedDm: Header_MsgType.GET_SUPPORTED_DM,
  getInstances: Header_MsgType.GET_INSTANCES,
  set: Header_MsgType.SET,
  add: Header_MsgType.ADD,
  delete: Header_MsgType.DELETE,
  operate: Header_MsgType.OPERATE,
  notify: Header_MsgType.NOTIFY,
  getSupportedProtocol: Header_MsgType.GET_SUPPORTED_PROTO,
  register: Header_MsgType.REGISTER,
  deregister: Header_MsgType.DEREGISTER,
};

const RESPONSE_TYPE: { readonly [Case in ResponseType["$case"]]: Header_MsgType } = {
  getResp: Header_MsgType.GET_RESP,
  getSupportedDmResp: Header_MsgType.GET_SUPPORTED_DM_RESP,
  getInstancesResp: Header_MsgType.GET_INSTANCES_RESP,
  setResp: Header_MsgType.SET_RESP,
  addResp: Header_MsgType.ADD_RESP,
  deleteResp: Header_MsgType.DELETE_RESP,
  operateResp: Header_MsgType.OPERATE_RESP,
  notifyResp: Header_MsgType.NOTIFY_RESP,
  getSupportedProtocolResp: Header_MsgType.GET_SUPPORTED_PROTO_RESP,
  registerResp: Header_MsgType.REGISTER_RESP,
  deregisterResp: Header_MsgType.DEREGISTER_RESP,
};

function msgOf(msgId: string, msgType: Header_MsgType, msgBody: NonNullable<Body["msgBody"]>): Msg {
  return { header: { msgId, msgType }, body: { msgBody } };
}

function recordCode(fault: WireFault): RecordFailure["code"] {
  if (fault.kind === "limit") return 7005;
  return fault.kind === "oneof" || fault.kind === "missing" ? 7104 : 7100;
}

function msgCode(fault: WireFault): MsgFailure["code"] {
  if (fault.kind === "limit") return 7005;
  return fault.kind === "unknown" && (fault.message === "usp.Request" || fault.message === "usp.Body") ? 7001 : 7004;
}

function refuseRecord(bytes: Uint8Array, code: RecordFailure["code"], reason: string): RecordFailure {
  return { ok: false, code, reason, ...salvageRecord(bytes) };
}

/** One writer serves all, so that its buffer is not grown anew each time; a huge message's buffer is let go. */
let writer = new BinaryWriter();
const KEEP_BYTES = 256 * 1024;

function encode(write: () => void): Uint8Array {
  try {
    write();
    const bytes = writer.finish();
    if (bytes.length > KEEP_BYTES) writer = new BinaryWriter();
    return bytes;
  } catch (error) {
    writer = new BinaryWriter(); // half-written
    throw error;
  }
}

const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Node's Buffer reads text several times faster than TextDecoder; a browser has only the latter. */
function decodeUtf8(bytes: Uint8Array): string {
  if (typeof Buffer === "undefined") return textDecoder.decode(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}
