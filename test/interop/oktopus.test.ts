/**
 * What Oktopus' services send to a device, replayed over a broker, and what they break on: Record version 1.0, its
 * controller's id, two reply topics, answers taken by their place, and nothing but answers on the controller's own topic.
 */
import mqtt, { type MqttClient } from "mqtt";
import type { CompleteRecord, MsgContent, RequestType } from "../../proto/codec.ts";
import { decodeMsg, decodeRecord, encodeMsgRecord, requestMsg } from "../../src/usp/codec.ts";
import { AGENT_ID, type Agent } from "../support/agent.ts";
import { eventually, pause } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { Bed, gatewayMissing } from "../gateway/support.ts";

const CONTROLLER = "oktopusController";
const BASE = "oktopus/usp/v1/";
const LEAVES = ["Manufacturer", "ModelName", "SoftwareVersion", "SerialNumber", "ProductClass"];

interface Heard {
  readonly topic: string;
  readonly record: CompleteRecord;
}

describeUnless(gatewayMissing, "Oktopus", () => {
  let bed: Bed;
  let agent: Agent;
  let oktopus: MqttClient;
  const heard: Heard[] = [];

  beforeAll(async () => {
    bed = await Bed.up();
    oktopus = await mqtt.connectAsync(bed.broker.url, { protocolVersion: 5 });
    oktopus.on("message", (topic, payload) => {
      const decoded = decodeRecord(payload);
      if (!topic.startsWith(`${BASE}agent/`) && decoded.ok) heard.push({ topic, record: decoded.record });
    });
    await oktopus.subscribeAsync(`${BASE}#`);
    agent = await bed.agent(await bed.folder(), {
      qos: 0,
      role: "Admin",
      mqtt: { topics: "oktopus", topic: "" },
      controller: { endpoint_id: CONTROLLER, topic: "", withhold: "Connect" },
      args: ["--bench-model", "5"],
    });
  }, 60_000);
  afterAll(async () => {
    await oktopus?.endAsync();
    await bed?.down();
  }, 30_000);

  /** As its adapter (`controller`) and its API (`api`) ask; the answers that came there within a moment. */
  async function ask(channel: "controller" | "api", request: RequestType): Promise<Heard> {
    const topic = `${BASE}${channel}/${AGENT_ID}`;
    const before = heard.length;
    const answered = () => heard.slice(before).find((each) => each.topic === topic);
    for (let attempt = 0; attempt < 40 && !answered(); attempt++) {
      const envelope = { version: "1.0", fromId: CONTROLLER, toId: AGENT_ID };
      const record = encodeMsgRecord(envelope, requestMsg(`${channel}-${attempt}`, request));
      await oktopus.publishAsync(`${BASE}agent/${AGENT_ID}`, Buffer.from(record), {
        properties: { responseTopic: topic, contentType: "usp.msg" },
      });
      await agent.unlessItDies(pause(answered() ? 0 : 500));
    }
    return await eventually(answered, (found) => found !== undefined, { what: `an answer at ${topic}` }).then(
      (found) => found as Heard,
    );
  }

  function contentOf({ record: { recordType } }: Heard): MsgContent {
    const decoded = recordType.$case === "noSessionContext" ? decodeMsg(recordType.value.payload) : undefined;
    if (!decoded?.ok) throw new Error(`a ${recordType.$case} Record`);
    return decoded.content;
  }

  test("gets the five leaves that it asks a new device for, each by its place", async () => {
    const paramPaths = LEAVES.map((name) => `Device.DeviceInfo.${name}`);
    const answer = await ask("controller", { $case: "get", value: { paramPaths, maxDepth: 1 } });
    expect(answer.record.version).toBe("1.0");
    const content = contentOf(answer);
    const response = content.kind === "response" ? content.response : undefined;
    const results = response?.$case === "getResp" ? response.value.reqPathResults : [];
    expect(results.map(({ requestedPath }) => requestedPath)).toEqual(paramPaths);
    const resolved = results.map(({ resolvedPathResults }) =>
      resolvedPathResults.map(({ resolvedPath, resultParams }) => [resolvedPath, ...resultParams.keys()]),
    );
    expect(resolved).toEqual(LEAVES.map((name) => [["Device.DeviceInfo.", name]]));
  }, 30_000);

  test("gets the answers to its API at the topic that it names", async () => {
    const request: RequestType = {
      $case: "getSupportedDm",
      value: {
        objPaths: ["Device."],
        firstLevelOnly: true,
        returnCommands: true,
        returnEvents: true,
        returnParams: true,
        returnUniqueKeySets: false,
      },
    };
    expect(JSON.stringify(contentOf(await ask("api", request)))).toContain("getSupportedDmResp");
  }, 30_000);

  test("finds nothing but answers at its own topic, and never a Connect Record anywhere", async () => {
    await ask("api", { $case: "get", value: { paramPaths: ["Device.LocalAgent.EndpointID"], maxDepth: 0 } });
    await agent.stop();
    const atOwn = heard.filter(({ topic }) => topic === `${BASE}controller/${AGENT_ID}`);
    expect(atOwn.length).toBeGreaterThan(0);
    for (const each of atOwn) expect(JSON.stringify(contentOf(each))).toContain("getResp");
    expect(heard.filter(({ record }) => record.recordType?.$case === "mqttConnect")).toEqual([]);
    // What answers nothing (Boot!, a Disconnect) goes where nobody reads.
    const rest = heard.filter(({ topic }) => !/\/(?:api|controller)\/[^/]+$/.test(topic));
    expect(rest.every(({ topic }) => topic === `${BASE}controller`)).toBe(true);
  }, 30_000);
});
