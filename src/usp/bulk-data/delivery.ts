/** How a report leaves, and what it needs of the world for that. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { View } from "../view.ts";
import { mediaType, type Encoding } from "./encode.ts";
import type { HttpPolicy } from "./http.ts";
import type { HttpTarget, MqttTarget } from "./profile.ts";
import { collect } from "./report.ts";

/** PORT: publishes by the client of that row. Rejects with a reason for an operator when the broker did not take it. */
export type Publish = (publication: Publication, signal: AbortSignal) => Promise<void>;

export interface Publication {
  /** Instance path of the `Device.MQTT.Client.{i}` row, without final dot. */
  readonly client: string;
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5. */
  readonly contentType: string;
}

/** What the query tells of the device (R-BULK.1). */
export interface ReporterIdentity {
  readonly endpointId: string;
  readonly oui: string;
  readonly productClass: string;
  readonly serialNumber: string;
}

const compress = promisify(gzip);
/** A value in a query: what takes more belongs into the report. */
const MAX_URI_VALUE = 1024;

/** @throws Error in words for an operator */
export async function sendByHttp(
  text: string,
  encoding: Encoding,
  target: HttpTarget,
  context: { readonly view: View; readonly identity: ReporterIdentity; readonly policy: HttpPolicy },
  signal: AbortSignal,
): Promise<void> {
  if (target.url === "") throw new Error("HTTP.URL is empty");
  const plain = Buffer.from(text);
  const post = {
    url: withQuery(target, context.view, context.identity),
    method: target.method,
    headers: {
      "Content-Type": mediaType(encoding),
      "BBF-Report-Format": encoding.format,
      ...(target.date ? { Date: new Date().toUTCString() } : {}),
      ...(target.gzip ? { "Content-Encoding": "gzip" } : {}),
    },
    body: target.gzip ? await compress(plain) : plain,
    username: target.username,
    password: target.password,
  };
  // A gateway whose profiles do not use HTTP does without its memory.
  const { postReport } = await import("./http.ts");
  await postReport(post, context.policy, signal);
}

/** @throws Error in words for an operator */
export async function sendByMqtt(
  text: string,
  encoding: Encoding,
  { client, topic, qos, retain }: MqttTarget,
  publish: Publish,
  signal: AbortSignal,
): Promise<void> {
  if (client === "") throw new Error("MQTT.Reference names no client");
  if (topic === "") throw new Error("MQTT.PublishTopic is empty");
  await publish({ client, topic, qos, retain, payload: Buffer.from(text), contentType: mediaType(encoding) }, signal);
}

function withQuery({ url: text, uriParameters }: HttpTarget, view: View, identity: ReporterIdentity): URL {
  const url = new URL(text);
  const { endpointId, oui, productClass, serialNumber } = identity;
  const own = oui !== "" && serialNumber !== "" ? { oui, pc: productClass, sn: serialNumber } : { eid: endpointId };
  for (const [name, value] of Object.entries(own)) url.searchParams.append(name, value);
  for (const { name, path } of uriParameters) {
    // One value, as the owner may read it; else none.
    const [entry] = path === "" ? [] : collect(view, [{ name: "", path, exclude: false }], 0, MAX_URI_VALUE).entries;
    if (entry) url.searchParams.append(name === "" ? entry.param.name : name, entry.text);
  }
  return url;
}
