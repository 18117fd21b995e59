/**
 * What changes, and what the model is asked about itself, over mosquitto beside OB-USP-A: Set of a parameter that is kept
 * on disk, Add and Delete of a Subscription, GetSupportedDM.
 */
import type { MsgContent, RequestType } from "../proto/codec.ts";
import { type Ask, contentOf, type Load } from "./support/load.ts";
import { median, rounds } from "./support/rounds.ts";
import { print } from "./support/table.ts";
import { pair, type Pair } from "./support/usp-pair.ts";

const COUNT = 5;
const MILLISECONDS = 1200;
const SUBSCRIPTIONS = "Device.LocalAgent.Subscription.";

async function main(): Promise<void> {
  const sides = await pair(1, 500);
  try {
    await supported(sides);
    await sets(sides);
    await rows(sides);
  } finally {
    await sides.end();
  }
}

async function supported(sides: Pair): Promise<void> {
  const request: RequestType = {
    $case: "getSupportedDm",
    value: {
      objPaths: ["Device."],
      firstLevelOnly: false,
      returnCommands: true,
      returnEvents: true,
      returnParams: true,
      returnUniqueKeySets: true,
    },
  };
  const measured = await rounds(sides, (load) => load.send(request), { ...options(1), floor: false });
  const cost = (loads: readonly Load[]) =>
    median(loads.map(({ requestsPerSecond, answerBytes }) => 1e6 / requestsPerSecond / (answerBytes / 1000)));
  const describe = (loads: readonly Load[]) =>
    `${cost(loads).toFixed(1)} µs per kB (${((loads[0]?.answerBytes ?? NaN) / 1000).toFixed(1)} kB)`;
  print({
    figure: "GetSupportedDM of Device., per kB of answer",
    measured: describe(measured.agent),
    target: "≤ OB-USP-A's (40 µs)",
    met: cost(measured.agent) <= (measured.peer.length > 0 ? cost(measured.peer) : 40),
    beside: measured.peer.length > 0 ? `${sides.peerName} ${describe(measured.peer)}` : sides.peerName,
  });
}

async function sets(sides: Pair): Promise<void> {
  const set: Ask = async (load, sequence) => {
    const param = { param: "PeriodicNotifInterval", value: String(86_400 + (sequence % 1000)), required: true };
    const answer = await load.send({
      $case: "set",
      value: {
        allowPartial: false,
        updateObjs: [{ objPath: "Device.LocalAgent.Controller.1.", paramSettings: [param] }],
      },
    });
    if (sequence === 0) expectResponse(answer, "setResp");
  };
  for (const [inFlight, times, floor] of [
    [1, 1, 671],
    [32, 3, 1022],
  ] as const) {
    const measured = await rounds(sides, set, { ...options(inFlight), floor: false });
    compare(sides, `Set of a parameter that is kept on disk, ${inFlight} in flight`, measured, times, floor);
  }
}

async function rows(sides: Pair): Promise<void> {
  let made = 0;
  const addAndDelete: Ask = async (load) => {
    const settings = { Enable: "true", ID: `bench-${++made}`, NotifType: "Event", ReferenceList: "Device.Boot!" };
    const paramSettings = Object.entries(settings).map(([param, value]) => ({ param, value, required: true }));
    const answer = expectResponse(
      await load.send({
        $case: "add",
        value: { allowPartial: false, createObjs: [{ objPath: SUBSCRIPTIONS, paramSettings }] },
      }),
      "addResp",
    );
    const status = answer.createdObjResults[0]?.operStatus?.operStatus;
    if (status?.$case !== "operSuccess") throw new Error("no Subscription was made");
    const objPaths = [status.value.instantiatedPath];
    expectResponse(await load.send({ $case: "delete", value: { allowPartial: false, objPaths } }), "deleteResp");
  };
  const measured = await rounds(sides, addAndDelete, { ...options(1), floor: false });
  compare(sides, "Add and Delete of a Subscription", measured, 2, 280);
}

function compare(
  { peerName }: Pair,
  figure: string,
  { agent, peer }: { readonly agent: readonly Load[]; readonly peer: readonly Load[] },
  times: number,
  known: number,
): void {
  const rate = (loads: readonly Load[]) => median(loads.map(({ requestsPerSecond }) => requestsPerSecond));
  const [ours, theirs] = [rate(agent), peer.length > 0 ? rate(peer) : known];
  print({
    figure,
    measured: `${ours.toFixed(0)}/s, ${(ours / theirs).toFixed(1)} × OB-USP-A`,
    target: `≥ ${times === 1 ? "" : `${times} × `}OB-USP-A's`,
    met: ours >= times * theirs,
    beside: peer.length > 0 ? `${peerName} ${theirs.toFixed(0)}/s` : `${peerName}; ${known}/s was measured elsewhere`,
  });
}

type Response = Extract<MsgContent, { kind: "response" }>["response"];
type Value<C extends Response["$case"]> = Extract<Response, { readonly $case: C }>["value"];

function expectResponse<C extends Response["$case"]>(answer: Uint8Array, kind: C): Value<C> {
  const content = contentOf(answer);
  if (content.kind !== "response" || content.response.$case !== kind)
    throw new Error(`not a ${kind}: ${JSON.stringify(content)}`);
  const value: unknown = content.response.value;
  return value as Value<C>;
}

const options = (inFlight: number) => ({ inFlight, count: COUNT, milliseconds: MILLISECONDS });

void main();
