/** Joins the replay's packets to the enforcer that judges them: handles stand for what a flow was told. */
import type { JudgedFlow, Judge as JudgeHook } from "../src/capture/packet-judge.ts";
import type { Judge } from "../src/enforce/judge.ts";
import { isIPv4 } from "../src/lib/address.ts";
import type { Decision } from "../src/spin/policy-tables.ts";

/** ICMPv6 neighbour solicitation: what a device says to its gateway or a group is taken for discovery. */
const SOLICITATION = 135;

export function replayJudge(judge: Judge): JudgeHook {
  /** By handle less one. */
  const told: { readonly decision: Decision; readonly mac: number }[] = [];
  const handles = new Map<string, number>();
  return {
    get generation() {
      return judge.generation;
    },
    judge(flow: JudgedFlow): number {
      // A bridged LAN's frames do not pass the gateway's rules.
      if (flow.isLocal || flow.mac < 0) return 0;
      const decision = judge.judge({
        mac: flow.mac,
        family: isIPv4(flow.peerAddress) ? 4 : 6,
        peer: flow.peerAddress,
        protocol: flow.protocol,
        port: flow.peerPort,
        initiator: flow.initiator,
        ...(flow.protocol === 58 ? { icmpType: SOLICITATION } : {}),
      });
      const drops = decision.verdict === "Block" || decision.verdict === "Reject";
      if (decision.rule === undefined && decision.counted.length === 0) return 0;
      const key = `${flow.mac} ${decision.verdict} ${decision.rule ?? ""} ${decision.counted.join()}`;
      let handle = handles.get(key);
      if (handle === undefined) {
        handle = told.push({ decision, mac: flow.mac });
        handles.set(key, handle);
      }
      return drops ? -handle : handle;
    },
    hit(verdict: number, bytes: number): void {
      const { decision, mac } = told[Math.abs(verdict) - 1] as (typeof told)[number];
      judge.count(decision, mac, 1, bytes);
    },
  };
}
