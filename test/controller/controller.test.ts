/** The controller against a scripted agent, over a real mosquitto in both versions of MQTT. */
import { encodeMsg, responseMsg, type RequestType, type ResponseType } from "../../proto/codec.ts";
import { GetSupportedDMResp_CmdType } from "../../proto/generated/usp-msg.ts";
import { supportedPath } from "../../src/controller/command-types.ts";
import { connectController } from "../../src/controller/connect.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { getResp, Responder, RESPONDER_ID, type Answer } from "../support/responder.ts";

const never = new AbortController().signal;
const SUBSCRIPTION = "Device.LocalAgent.Subscription.";
const suite = hasMosquitto ? describe : describe.skip;

suite.each(["5", "3.1.1"] as const)(
  `a controller over MQTT %s${hasMosquitto ? "" : " (SKIPPED: no mosquitto)"}`,
  (version) => {
    let broker: Broker;
    let agent: Responder;
    let controller: Controller;
    beforeAll(async () => {
      broker = await startMosquitto();
    });
    afterAll(() => broker.stop());
    beforeEach(async () => {
      agent = await Responder.start(broker.url, version, () => undefined);
      const options = {
        controllerId: "self::test-ctl",
        agentId: RESPONDER_ID,
        timeoutMs: 3_000,
        mqtt: { url: broker.url, version },
      };
      controller = (await connectController(options, never)).controller;
    });
    afterEach(async () => {
      await controller.close();
      await agent.close();
    });

    test("reads parameters, with an error for each path that has one", async () => {
      agent.answer = (request) => {
        expect(request).toEqual({ $case: "get", value: { paramPaths: ["Device.A.", "Device.B"], maxDepth: 2 } });
        const resp = getResp(["Device.A.", { "Device.A.": { X: "1", Y: "" }, "Device.A.C.1.": { Z: "ü" } }]);
        if (resp.$case !== "getResp") throw new Error("unreachable");
        resp.value.reqPathResults.push({
          requestedPath: "Device.B",
          errCode: 7026,
          errMsg: "no such path",
          resolvedPathResults: [],
        });
        return resp;
      };
      const outcomes = await controller.get(["Device.A.", "Device.B"], { maxDepth: 2 });
      expect(outcomes[0]?.objects).toEqual([
        {
          path: "Device.A.",
          params: new Map([
            ["X", "1"],
            ["Y", ""],
          ]),
        },
        { path: "Device.A.C.1.", params: new Map([["Z", "ü"]]) },
      ]);
      expect(outcomes[1]?.error).toMatchObject({ code: 7026, message: "no such path", path: "Device.B" });
      await expect(controller.read(["Device.A.", "Device.B"], { maxDepth: 2 })).rejects.toMatchObject({ code: 7026 });
    });

    test("keeps many requests apart, answered in any order", async () => {
      agent.answer = async (request) => {
        const path = request.$case === "get" ? (request.value.paramPaths[0] as string) : "";
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        return getResp([path, { "Device.": { [path]: path } }]);
      };
      const paths = Array.from({ length: 100 }, (_, i) => `P${i}`);
      const values = await Promise.all(paths.map((path) => controller.read([path])));
      expect(values.map((map) => map.get(`Device.${map.keys().next().value?.slice(7)}`))).toEqual(paths);
    });

    test("sets, and tells which parameters were not taken", async () => {
      agent.answer = () => ({
        $case: "setResp",
        value: {
          updatedObjResults: [
            {
              requestedPath: "Device.A.",
              operStatus: {
                operStatus: {
                  $case: "operSuccess",
                  value: {
                    updatedInstResults: [
                      {
                        affectedPath: "Device.A.",
                        updatedParams: new Map([["X", "1"]]),
                        paramErrs: [{ param: "Y", errCode: 7012, errMsg: "too big" }],
                      },
                    ],
                  },
                },
              },
            },
            {
              requestedPath: "Device.B.",
              operStatus: {
                operStatus: {
                  $case: "operFailure",
                  value: {
                    errCode: 7021,
                    errMsg: "required",
                    updatedInstFailures: [
                      { affectedPath: "Device.B.", paramErrs: [{ param: "Z", errCode: 7013, errMsg: "read-only" }] },
                    ],
                  },
                },
              },
            },
          ],
        },
      });
      const outcomes = await controller.set(
        [
          { path: "Device.A.", values: { X: "1", Y: "9" }, required: false },
          { path: "Device.B.", values: { Z: "1" } },
        ],
        { allowPartial: true },
      );
      expect(outcomes[0]?.objects[0]).toMatchObject({
        params: new Map([["X", "1"]]),
        faults: [{ param: "Y", code: 7012, message: "too big" }],
      });
      expect(outcomes[1]?.error).toMatchObject({
        code: 7021,
        message: "required; Z: read-only (7013)",
        path: "Device.B.",
      });
      expect(agent.requests[0]).toMatchObject({
        $case: "set",
        value: {
          allowPartial: true,
          updateObjs: [
            { paramSettings: [{ required: false }, { required: false }] },
            { paramSettings: [{ required: true }] },
          ],
        },
      });
    });

    test("turns an Error Message into an error with code, text and path", async () => {
      agent.answer = () => {
        throw new UspError(7013, "read-only", "Device.A.X");
      };
      const failed = controller.write("Device.A.", { X: "1" });
      await expect(failed).rejects.toBeInstanceOf(UspError);
      await expect(failed).rejects.toMatchObject({
        code: 7013,
        path: "Device.A.X",
        message: expect.stringContaining("read-only"),
      });
    });

    test("adds and deletes rows", async () => {
      agent.answer = (request) =>
        request.$case === "add" ? added("Device.A.7.", { Alias: "cpe-7" }) : deleted(["Device.A.7."]);
      expect(await controller.add([{ path: "Device.A.", values: { X: "1" } }])).toEqual([
        { requested: "Device.A.", path: "Device.A.7.", uniqueKeys: new Map([["Alias", "cpe-7"]]), faults: [] },
      ]);
      expect(await controller.create("Device.A.", {})).toBe("Device.A.7.");
      expect(await controller.remove("Device.A.7.")).toEqual(["Device.A.7."]);
    });

    test("lists instances, the supported model and the protocol's versions", async () => {
      agent.answer = (request) => {
        switch (request.$case) {
          case "getInstances":
            return {
              $case: "getInstancesResp",
              value: {
                reqPathResults: [
                  {
                    requestedPath: "Device.A.",
                    errCode: 0,
                    errMsg: "",
                    currInsts: [{ instantiatedObjPath: "Device.A.2.", uniqueKeys: new Map([["K", "v"]]) }],
                  },
                ],
              },
            };
          case "getSupportedDm":
            return supportedCommands({ "Go()": "CMD_SYNC" });
          default:
            return { $case: "getSupportedProtocolResp", value: { agentSupportedProtocolVersions: "1.3,1.4" } };
        }
      };
      expect((await controller.instances(["Device.A."]))[0]?.instances).toEqual([
        { path: "Device.A.2.", uniqueKeys: new Map([["K", "v"]]) },
      ]);
      expect((await controller.supported(["Device.A."]))[0]?.objects[0]?.commands).toEqual([
        { name: "Go()", type: "sync", input: [], output: [] },
      ]);
      expect(await controller.protocols()).toEqual(["1.3", "1.4"]);
    });

    test("runs a synchronous command without subscribing to anything, and asks for its type once", async () => {
      agent.answer = (request) => {
        if (request.$case === "getSupportedDm") return supportedCommands({ "Go()": "CMD_SYNC" });
        return operated({ command: request.$case === "operate" ? request.value.command : "", output: { Sum: "3" } });
      };
      for (let i = 0; i < 2; i++)
        expect(await controller.run("Device.A.1.Go()", { X: "1" })).toEqual(new Map([["Sum", "3"]]));
      expect(agent.requests.map(({ $case }) => $case)).toEqual(["getSupportedDm", "operate", "operate"]);
    });

    test("tells what a command says when it fails", async () => {
      agent.answer = (request) => {
        if (request.$case === "getSupportedDm") return supportedCommands({ "Go()": "CMD_SYNC" });
        const failure = {
          executedCommand: "Device.A.1.Go()",
          operationResp: { $case: "cmdFailure" as const, value: { errCode: 7027, errMsg: "X is mandatory" } },
        };
        return { $case: "operateResp", value: { operationResults: [failure] } };
      };
      await expect(controller.run("Device.A.1.Go()")).rejects.toMatchObject({ code: 7027, message: "X is mandatory" });
    });

    test("waits for asynchronous commands on several objects, even if one is done before its answer", async () => {
      agent.answer = async (request, { msgId }) => {
        if (request.$case === "getSupportedDm") return supportedCommands({ "Go()": "CMD_ASYNC" });
        if (request.$case === "add") return added(`${SUBSCRIPTION}1.`);
        if (request.$case === "delete") return deleted([`${SUBSCRIPTION}1.`]);
        if (request.$case !== "operate") throw new Error(`unexpected ${request.$case} ${msgId}`);
        const subscriptionId = idOf(agent.requests);
        const complete = (objPath: string, commandKey: string, value: string) =>
          agent.notify({
            subscriptionId,
            notification: {
              $case: "operComplete",
              value: {
                objPath,
                commandName: "Go()",
                commandKey,
                operationResp: { $case: "reqOutputArgs", value: { outputArgs: new Map([["R", value]]) } },
              },
            },
          });
        const { commandKey } = request.value;
        await complete("Device.A.1.", commandKey, "one");
        await complete("Device.A.2.", "another's key", "wrong");
        setTimeout(() => void complete("Device.A.2.", commandKey, "two"), 20);
        return operated(
          { command: "Device.A.1.Go()", request: "Device.LocalAgent.Request.1." },
          { command: "Device.A.2.Go()", request: "Device.LocalAgent.Request.2." },
        );
      };
      const outcomes = await controller.operate("Device.A.*.Go()");
      expect(outcomes.map(({ command, output }) => [command, output.get("R")])).toEqual([
        ["Device.A.1.Go()", "one"],
        ["Device.A.2.Go()", "two"],
      ]);
      expect(agent.requests.map(({ $case }) => $case)).toEqual(["getSupportedDm", "add", "operate", "delete"]);
    });

    test("gives up on a command that does not end, and removes its subscription", async () => {
      agent.answer = (request) => {
        if (request.$case === "getSupportedDm") return supportedCommands({ "Go()": "CMD_ASYNC" });
        if (request.$case === "add") return added(`${SUBSCRIPTION}1.`);
        if (request.$case === "delete") return deleted([`${SUBSCRIPTION}1.`]);
        return operated({ command: "Device.A.1.Go()", request: "Device.LocalAgent.Request.1." });
      };
      await expect(controller.run("Device.A.1.Go()", {}, { completeMs: 50 })).rejects.toMatchObject({
        kind: "timeout",
      });
      expect(agent.requests.at(-1)?.$case).toBe("delete");
      expect(await controller.operate("Device.A.1.Go()", {}, { wait: false })).toMatchObject([
        { request: "Device.LocalAgent.Request.1." },
      ]);
    });

    test("hands on the notifications of a subscription, answers those that ask, and knows repetitions", async () => {
      agent.answer = (request) =>
        request.$case === "add" ? added(`${SUBSCRIPTION}4.`) : deleted([`${SUBSCRIPTION}4.`]);
      const all = controller.notifications();
      const subscription = await controller.subscribe({
        kind: "ValueChange",
        references: ["Device.A.", "Device.B."],
        retry: true,
      });
      expect(agent.requests[0]).toMatchObject({
        $case: "add",
        value: {
          createObjs: [
            {
              objPath: SUBSCRIPTION,
              paramSettings: expect.arrayContaining([
                { param: "ReferenceList", value: "Device.A.,Device.B.", required: true },
                { param: "NotifType", value: "ValueChange", required: true },
                { param: "NotifRetry", value: "true", required: true },
              ]) as unknown,
            },
          ],
        },
      });
      const change = (paramValue: string, sendResp: boolean, msgId: string) =>
        agent.notify(
          {
            subscriptionId: subscription.id,
            sendResp,
            notification: { $case: "valueChange", value: { paramPath: "Device.A.X", paramValue } },
          },
          msgId,
        );
      await change("1", true, "n1");
      await change("1", true, "n1");
      await change("2", false, "n2");
      await agent.notify({
        subscriptionId: "another",
        notification: {
          $case: "event",
          value: { objPath: "Device.", eventName: "Boot!", params: new Map([["Cause", "LocalReboot"]]) },
        },
      });
      await agent.notify({
        subscriptionId: subscription.id,
        notification: { $case: "objDeletion", value: { objPath: "Device.B.1." } },
      });
      const got: string[] = [];
      for await (const each of subscription) {
        got.push(each.kind === "ValueChange" ? each.value : each.kind);
        if (got.length === 3) break;
      }
      expect(got).toEqual(["1", "2", "ObjectDeletion"]);
      await agent.responded(2);
      expect(agent.notifyResponses).toEqual([
        { msgId: "n1", subscriptionId: subscription.id },
        { msgId: "n1", subscriptionId: subscription.id },
      ]);
      await subscription.close();
      expect(agent.requests.at(-1)).toMatchObject({ $case: "delete", value: { objPaths: [`${SUBSCRIPTION}4.`] } });
      all.end();
      const kinds: string[] = [];
      for await (const each of all) kinds.push(`${each.kind} ${each.path}`);
      expect(kinds).toEqual([
        "ValueChange Device.A.X",
        "ValueChange Device.A.X",
        "Event Device.Boot!",
        "ObjectDeletion Device.B.1.",
      ]);
    });

    test("does not answer notifications when told not to", async () => {
      agent.answer = () => getResp(["Device.", {}]);
      await controller.read(["Device."]);
      controller.answersNotifications = false;
      const all = controller.notifications();
      const value = { oui: "00D09E", productClass: "c", serialNumber: "s", agentSupportedProtocolVersions: "1.3,1.4" };
      await agent.notify({ sendResp: true, notification: { $case: "onBoardReq", value } });
      for await (const each of all) {
        expect(each).toMatchObject({ kind: "OnBoardRequest", versions: ["1.3", "1.4"] });
        break;
      }
      await controller.read(["Device."]);
      expect(agent.notifyResponses).toEqual([]);
    });

    test("says so when no answer comes, with what the agent said instead", async () => {
      await expect(controller.read(["Device."], { timeoutMs: 50 })).rejects.toMatchObject({
        kind: "timeout",
        message: expect.stringMatching(
          /no answer from os::00D09E-0001 on usp\/v1\/agent\/os::00D09E-0001 within 50 ms/,
        ),
      });
      agent.answer = async () => {
        await agent.record({ $case: "disconnect", value: { reason: "session not allowed", reasonCode: 7106 } });
        return undefined;
      };
      await expect(controller.read(["Device."], { timeoutMs: 200 })).rejects.toMatchObject({
        message: expect.stringContaining("session not allowed"),
      });
    });

    test("stops waiting when told to", async () => {
      const stop = new AbortController();
      const waiting = controller.read(["Device."], { signal: stop.signal });
      stop.abort(new Error("enough"));
      await expect(waiting).rejects.toThrow("enough");
    });

    test("ignores what is broken, not for it, or not from its agent, and refuses an answer of the wrong kind", async () => {
      agent.answer = async (_request, { msgId }) => {
        const payload = encodeMsg(responseMsg(msgId, getResp(["Device.", { "Device.": { Forged: "1" } }])));
        await agent.raw(Buffer.from("no record"));
        await agent.record({ $case: "noSessionContext", value: { payload } }, { fromId: "os::00D09E-EVIL" });
        await agent.record({ $case: "noSessionContext", value: { payload } }, { toId: "self::another" });
        await agent.record({ $case: "noSessionContext", value: { payload: Buffer.from("no message") } });
        return getResp(["Device.", { "Device.": { Real: "1" } }]);
      };
      expect([...(await controller.read(["Device."])).keys()]).toEqual(["Device.Real"]);
      await expect(controller.instances(["Device."])).rejects.toMatchObject({ kind: "protocol" });
    });

    test("rejects what waits when the broker goes", async () => {
      const waiting = controller.read(["Device."]);
      const feed = controller.notifications();
      const seen = expect(waiting).rejects.toMatchObject({ kind: "closed" });
      await broker.kill();
      try {
        await seen;
        await expect(
          (async () => {
            for await (const _ of feed);
          })(),
        ).rejects.toMatchObject({ kind: "closed" });
        await expect(controller.read(["Device."])).rejects.toMatchObject({ kind: "closed" });
      } finally {
        await broker.start();
      }
    });
  },
);

test.each([
  ["Device.A.Go()", "Device.A.Go()"],
  ["Device.A.12.Go()", "Device.A.{i}.Go()"],
  ["Device.A.*.B.3.Go()", "Device.A.{i}.B.{i}.Go()"],
  ['Device.A.[X=="a.b].c"&&Y==1].Go()', "Device.A.{i}.Go()"],
])("%s is %s in the supported model", (path, expected) => expect(supportedPath(path)).toBe(expected));

function added(instantiatedPath: string, keys: { [name: string]: string } = {}): ResponseType {
  const value = { instantiatedPath, paramErrs: [], uniqueKeys: new Map(Object.entries(keys)) };
  const requestedPath = instantiatedPath.replace(/\d+\.$/, "");
  return {
    $case: "addResp",
    value: { createdObjResults: [{ requestedPath, operStatus: { operStatus: { $case: "operSuccess", value } } }] },
  };
}

function deleted(affectedPaths: string[]): ResponseType {
  const operStatus = {
    operStatus: { $case: "operSuccess" as const, value: { affectedPaths, unaffectedPathErrs: [] } },
  };
  return { $case: "deleteResp", value: { deletedObjResults: [{ requestedPath: affectedPaths[0] ?? "", operStatus }] } };
}

function operated(
  ...commands: { command: string; output?: { [name: string]: string }; request?: string }[]
): ResponseType {
  const operationResults = commands.map(({ command, output, request }) => ({
    executedCommand: command,
    operationResp:
      request === undefined
        ? { $case: "reqOutputArgs" as const, value: { outputArgs: new Map(Object.entries(output ?? {})) } }
        : { $case: "reqObjPath" as const, value: request },
  }));
  return { $case: "operateResp", value: { operationResults } };
}

function supportedCommands(commands: {
  [name: string]: keyof typeof GetSupportedDMResp_CmdType;
}): Awaited<ReturnType<Answer>> {
  const supportedCommands = Object.entries(commands).map(([commandName, type]) => ({
    commandName,
    inputArgNames: [],
    outputArgNames: [],
    commandType: GetSupportedDMResp_CmdType[type],
  }));
  const object = {
    supportedObjPath: "Device.A.{i}.",
    access: 0 as const,
    isMultiInstance: true,
    supportedCommands,
    supportedEvents: [],
    supportedParams: [],
    divergentPaths: [],
    uniqueKeySets: [],
  };
  return {
    $case: "getSupportedDmResp",
    value: {
      reqObjResults: [
        { reqObjPath: "Device.A.{i}.", errCode: 0, errMsg: "", dataModelInstUri: "urn:x", supportedObjs: [object] },
      ],
    },
  };
}

/** Of the subscription that was added last. */
function idOf(requests: readonly RequestType[]): string {
  const add = requests.findLast((request) => request.$case === "add");
  const settings = add?.$case === "add" ? add.value.createObjs[0]?.paramSettings : [];
  return settings?.find(({ param }) => param === "ID")?.value ?? "";
}
