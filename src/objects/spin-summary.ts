/** `Device.X_SPIN.Summary.`: the home in figures. */
import { createHash } from "node:crypto";
import { SpinSummary } from "../../datamodel/spin.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { functionalKey, type Rule, type RuleBook } from "../spin/rules.ts";
import type { SpinParts } from "./home.ts";

export function spinSummary({ home }: SpinParts): Implementation {
  const hash = ruleHash({ rules: home.rules, now: () => home.now() });
  return bind(SpinSummary, {
    of: () => home.summary,
    get: {
      DeviceCount: (summary) => summary.deviceCount,
      ActiveDeviceCount: (summary) => summary.activeDeviceCount,
      BlockedDeviceCount: (summary) => summary.blockedDeviceCount,
      OpenIncidentCount: () => home.detection.incidents.openCount,
      RuleHash: () => hash(),
      BytesSent: (summary) => summary.bytesSent,
      BytesReceived: (summary) => summary.bytesReceived,
      PacketsSent: (summary) => summary.packetsSent,
      PacketsReceived: (summary) => summary.packetsReceived,
      ActiveFlowCount: (summary) => summary.activeFlowCount,
      DNSQueryCount: (summary) => summary.dnsQueryCount,
      BlockedPackets: (summary) => summary.blockedPackets,
      BlockedBytes: (summary) => summary.blockedBytes,
      RulesRestored: (summary) => summary.rulesRestored,
      DevicesEvicted: () => home.capture.devicesEvicted,
      DevicesRefused: () => home.capture.devicesRefused,
    },
  });
}

/**
 * SHA-256 over what the rules in force do, whatever their numbers, names and creators: two homes with the same hash
 * treat the same traffic the same. Worked out when a rule changed or expired since.
 */
function ruleHash({ rules, now }: { readonly rules: RuleBook; readonly now: () => number }): () => string {
  const texts = new WeakMap<Rule, string>();
  const textOf = (rule: Rule) => {
    let text = texts.get(rule);
    if (text === undefined) {
      text = `${rule.origin} ${functionalKey({ ...rule, creator: "" })}`;
      texts.set(rule, text);
    }
    return text;
  };
  let known = "";
  let version = -1;
  let validUntil = Infinity;
  return () => {
    if (version === rules.version && now() < validUntil) return known;
    const inForce = rules.list().filter(({ id }) => rules.inForce(id));
    // Said by two, it is done once.
    const effects = [...new Set(inForce.map(textOf))].sort();
    known = createHash("sha256").update(effects.join("\n")).digest("hex");
    version = rules.version;
    validUntil = rules.nextExpiry;
    return known;
  };
}
