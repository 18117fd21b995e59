import { benchModel, declared, type Described } from "./declared.ts";
import { Gateway, print, ROOT } from "./support.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.start({ benchRows: 1 });
});
afterAll(() => gateway.stop());

async function supported(peer: ReturnType<Gateway["as"]>, path: string): Promise<Described[]> {
  const { reqObjResults } = await peer.response(
    {
      $case: "getSupportedDm",
      value: {
        objPaths: [path],
        firstLevelOnly: false,
        returnCommands: true,
        returnEvents: true,
        returnParams: true,
        returnUniqueKeySets: true,
      },
    },
    "getSupportedDmResp",
  );
  const [result] = reqObjResults;
  if (!result || result.errCode !== 0) throw new Error(print(reqObjResults));
  return result.supportedObjs.map((object) => ({
    path: object.supportedObjPath,
    access: object.access,
    isTable: object.isMultiInstance,
    params: byName(
      object.supportedParams.map(({ paramName, access, valueType, valueChange }) => ({
        name: paramName,
        access,
        type: valueType,
        valueChange,
      })),
    ),
    commands: object.supportedCommands.map(({ commandName, commandType, inputArgNames, outputArgNames }) => ({
      name: commandName,
      type: commandType,
      input: inputArgNames,
      output: outputArgNames,
    })),
    events: object.supportedEvents.map(({ eventName, argNames }) => ({ name: eventName, args: argNames })),
    keys: object.uniqueKeySets.map(({ keyNames }) => keyNames),
  }));
}

const byName = <T extends { readonly name: string }>(params: readonly T[]) =>
  [...params].sort((a, b) => (a.name < b.name ? -1 : 1));

test.each([
  [ROOT, declared],
  ["Device.X_BENCH.", benchModel],
])(
  "GetSupportedDM of %s is what the data model declares: types, access, notification, keys, arguments",
  async (path, expected) => {
    const found = await supported(gateway.as("Admin"), path);
    expect(found.map((object) => object.path).sort()).toEqual(expected.map((object) => object.path).sort());
    for (const object of expected)
      expect(found.find((other) => other.path === object.path)).toEqual({ ...object, params: byName(object.params) });
  },
);

test.each(["Monitor", "Operator", "Support"] as const)("%s is shown the same", async (role) => {
  expect(await supported(gateway.as(role), ROOT)).toEqual(await supported(gateway.as("Admin"), ROOT));
});

test("whoever may read nothing is shown nothing", async () => {
  await expect(supported(gateway.as("Untrusted"), ROOT)).rejects.toThrow("7026");
});

test.each([
  ["Device.X_SPIN.Summary.BytesSent", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Device.{i}.Stats.BytesSentRate", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Device.{i}.LastSeen", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Device.{i}.TopDestinations", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Rule.{i}.HitPackets", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Rule.{i}.LastHit", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Capture.FlowCount", "VALUE_CHANGE_WILL_IGNORE"],
  ["Device.X_SPIN.Summary.RuleHash", "VALUE_CHANGE_ALLOWED"],
  ["Device.X_SPIN.Device.{i}.Blocked", "VALUE_CHANGE_ALLOWED"],
  ["Device.X_SPIN.Rule.{i}.Status", "VALUE_CHANGE_ALLOWED"],
])("%s says %s", async (path, word) => {
  const at = path.lastIndexOf(".") + 1;
  const objects = await supported(gateway.as("Operator"), path.slice(0, at));
  const param = objects[0]?.params.find(({ name }) => name === path.slice(at));
  expect(param?.valueChange).toBe(word === "VALUE_CHANGE_ALLOWED" ? 1 : 2);
});
