/**
 * The floor for a Get over MQTT: an endpoint that decodes the Record and its Msg, answers a constant and encodes. A
 * process of its own, bundled by scripts/bench.mjs: `echo-endpoint.cjs PORT TOPIC PARAMETERS`. It has no model, no paths,
 * no permissions.
 */
import { connect } from "mqtt";
import { Msg } from "../../proto/generated/usp-msg.ts";
import { Record as UspRecord } from "../../proto/generated/usp-record.ts";

const [port, topic, parameters] = process.argv.slice(-3) as [string, string, string];
const results = constantAnswer(Number(parameters));
const client = connect({ host: "127.0.0.1", port: Number(port), protocol: "mqtt", protocolVersion: 5, keepalive: 60 });

client.on("connect", () => client.subscribe(topic, () => console.log("ready")));
client.on("message", (_topic, payload, packet) => {
  const record = UspRecord.decode(payload);
  if (record.recordType?.$case !== "noSessionContext") return;
  const request = Msg.decode(record.recordType.value.payload);
  const answer = Msg.encode({
    header: { msgId: request.header?.msgId ?? "", msgType: 2 },
    body: { msgBody: { $case: "response", value: { respType: { $case: "getResp", value: results } } } },
  }).finish();
  const bytes = UspRecord.encode({
    ...record,
    toId: record.fromId,
    fromId: record.toId,
    recordType: { $case: "noSessionContext", value: { payload: answer } },
  }).finish();
  client.publish(packet.properties?.responseTopic ?? "", Buffer.from(bytes), {
    properties: { contentType: "usp.msg" },
  });
});

/** One parameter as `DeviceInfo.SoftwareVersion`, or ten in each of as many rows as it takes. */
function constantAnswer(count: number) {
  if (count === 1) {
    const resultParams = new Map([["SoftwareVersion", "0.1.0"]]);
    return {
      reqPathResults: [
        result("Device.DeviceInfo.SoftwareVersion", [{ resolvedPath: "Device.DeviceInfo.", resultParams }]),
      ],
    };
  }
  const rows = Array.from({ length: count / 10 }, (_, row) => ({
    resolvedPath: `Device.X_BENCH.Row.${row + 1}.`,
    resultParams: new Map(Array.from({ length: 10 }, (_, p) => [`P${p + 1}`, `value ${row + 1}.${p + 1}`])),
  }));
  return { reqPathResults: [result("Device.X_BENCH.Row.", rows)] };
}

function result(
  requestedPath: string,
  resolvedPathResults: { resolvedPath: string; resultParams: Map<string, string> }[],
) {
  return { requestedPath, errCode: 0, errMsg: "", resolvedPathResults };
}
