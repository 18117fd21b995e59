/** `Device.X_SPIN.Incident.{i}.` and `Device.X_SPIN.Detection.`: what looked wrong, and what is looked for. */
import { object, readOnly, readWrite, type Param } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { macAddress } from "./types.ts";
import { boolean, dateTime, enumeration, string, unsignedInt } from "./values.ts";

const seconds = (range: { min?: number; max?: number } = {}) => unsignedInt({ ...range, units: "seconds" });

export const SpinIncident = object(`${ROOT}Incident.{i}.`, {
  description:
    "Something that looked wrong. What belongs together (one device, one type, no quarter of an hour apart) is one row. A ring: the 100 that weigh most, of which one device has a fifth at most.",
  keys: [["FirstTime", "Type", "PhysAddress"]],
  params: {
    Type: readOnly(
      enumeration(
        "TrafficPeak",
        "HostScan",
        "PortScan",
        "ARPScan",
        "Flood",
        "DNSTunnel",
        "NewDestination",
        "ListedPeer",
        "RuleViolation",
        "AddressSpoofing",
      ),
      "Which detector found it.",
    ),
    Severity: readOnly(enumeration("Info", "Low", "Medium", "High"), "The worst of its findings."),
    Device: readOnly(string({ maxLength: 256 }), "Path of the device's row; empty when the device was forgotten."),
    PhysAddress: readOnly(macAddress, "The device."),
    FirstTime: readOnly(dateTime, "When it was first found."),
    LastTime: readOnly(dateTime, "When it was last found.", { valueChange: false }),
    Count: readOnly(unsignedInt(), "Findings in it.", { valueChange: false }),
    Evidence: readOnly(
      string({ maxLength: 4096 }),
      "JSON: what was measured, the threshold, the window in seconds, and the peers.",
      { secured: true, valueChange: false },
    ),
    Summary: readOnly(string({ maxLength: 1024 }), "A plain sentence, without peers."),
    ActionTaken: readOnly(string({ maxLength: 256 }), "What the agent did by itself; empty: nothing."),
    Rule: readOnly(string({ maxLength: 256 }), "Path of the rule that it made; empty: none."),
    State: readWrite(
      enumeration("Open", "Acknowledged", "Closed"),
      "Closed by itself after a quiet quarter of an hour.",
    ),
  },
});

const common = (what: string) => ({
  Enable: readWrite(boolean, `Look for ${what}.`, { default: true }),
  AutoBlock: readWrite(
    boolean,
    "Block the device by a rule of Origin System when an incident of severity Medium or High opens.",
  ),
  BlockDuration: readWrite(seconds({ min: 60, max: 2_592_000 }), "For how long AutoBlock blocks.", { default: 3600 }),
});

function detector<const P extends Readonly<Record<string, Param>>>(
  name: string,
  what: string,
  description: string,
  params: P,
) {
  return object(`${ROOT}Detection.${name}.`, { description, params: { ...common(what), ...params } });
}

export const SpinDetection = object(`${ROOT}Detection.`, { description: "What is looked for." });

export const SpinTrafficPeak = detector(
  "TrafficPeak",
  "traffic peaks",
  "The device sends far more than it is used to. Info, since backups and uploads look the same from outside; Medium where most of it gets no answer. Evaluated every 10 s by the clock; learning stands still while the alarm lasts.",
  {
    Floor: readWrite(
      unsignedInt({ min: 1000, units: "bytes per second" }),
      "Nothing below is a peak. Default: SPIN's own floor, 100 KiB/s.",
      { default: 102_400 },
    ),
    Factor: readWrite(unsignedInt({ min: 2, max: 1000 }), "How many times the usual rate is too much.", { default: 4 }),
    Learning: readWrite(seconds({ min: 60, max: 604_800 }), "For how long a new device is only watched.", {
      default: 600,
    }),
  },
);

export const SpinHostScan = detector(
  "HostScan",
  "scans of many hosts",
  "The device fails at many addresses in the window, or at three times as many in sixty windows. Not counted: names it had looked up, what our rules stop, and everything while the line is dead. Ports of services count together, any other for itself with twice the threshold, ports that applications retry (80, 443 …) with six times.",
  {
    Threshold: readWrite(
      unsignedInt({ min: 3, max: 60 }),
      "Distinct addresses in the window. Default: measured, no false alarm on 609 benign captures.",
      { default: 10 },
    ),
    Window: readWrite(seconds({ min: 10, max: 600 }), "The window.", { default: 60 }),
  },
);

export const SpinPortScan = detector(
  "PortScan",
  "scans of many ports",
  "The device fails at many ports of one address, in the home or outside, in the window, or at three times as many in sixty windows.",
  {
    Threshold: readWrite(
      unsignedInt({ min: 3, max: 30 }),
      "Distinct ports in the window. Default: measured, no false alarm on 609 benign captures.",
      { default: 10 },
    ),
    Window: readWrite(seconds({ min: 10, max: 600 }), "The window.", { default: 60 }),
  },
);

export const SpinArpScan = detector(
  "ARPScan",
  "ARP scans",
  "The device asks by ARP for many addresses of the home network that no known device holds.",
  {
    Threshold: readWrite(
      unsignedInt({ min: 5, max: 60 }),
      "Distinct addresses in the window. Default: measured; benign devices asked for 11 at most.",
      { default: 20 },
    ),
    Window: readWrite(seconds({ min: 5, max: 600 }), "The window.", { default: 30 }),
  },
);

export const SpinFlood = detector(
  "Flood",
  "outbound floods",
  "The device opens very many connections, or sends very many packets that nobody answers.",
  {
    Connections: readWrite(
      unsignedInt({ min: 5, units: "connections per second" }),
      "New TCP connections. Default: measured; benign devices opened 13 at most.",
      { default: 50 },
    ),
    Packets: readWrite(
      unsignedInt({ min: 20, units: "packets per second" }),
      "Unanswered packets. Default: above what calls and games send one-way.",
      { default: 300 },
    ),
    Window: readWrite(seconds({ min: 2, max: 60 }), "Over which both are a mean.", { default: 10 }),
  },
);

export const SpinDnsTunnel = detector(
  "DNSTunnel",
  "data hidden in DNS",
  "The device asks for very many names under one domain, or very often; High and Medium where names are long or of types that carry data. Or, slowly, for so many very long names in an hour that they carry 10,000 letters: Medium.",
  {
    Names: readWrite(
      unsignedInt({ min: 5, max: 60 }),
      "Distinct names under one domain in the window. Default: measured; benign devices asked for 9 at most.",
      { default: 20 },
    ),
    Questions: readWrite(
      unsignedInt({ min: 20, max: 100_000 }),
      "Questions under one domain in the window. Default: below the 135 of a known exfiltration tool.",
      { default: 100 },
    ),
    Window: readWrite(seconds({ min: 10, max: 600 }), "The window.", { default: 60 }),
  },
);

export const SpinNewDestination = detector(
  "NewDestination",
  "destinations that a device never had",
  "The device talks to somebody new, after it has been known for a while. Info only.",
  {
    Learning: readWrite(seconds({ min: 3600, max: 31_536_000 }), "For how long a new device is only watched.", {
      default: 604_800,
    }),
  },
);

export const SpinListedPeer = detector(
  "ListedPeer",
  "contacts with entries of lists",
  "The device speaks to an address, or asks for a name, of a list that is enabled and that no Allow rule names.",
  {
    Severity: readWrite(
      enumeration("Low", "Info", "Medium", "High"),
      "How bad that is. Default Low: most lists are of advertisers and trackers.",
    ),
    Contacts: readWrite(
      unsignedInt({ min: 1, max: 100_000 }),
      "Contacts in the window. Default: one, since what a list is for is to know its entries.",
      { default: 1 },
    ),
    Window: readWrite(seconds({ min: 10, max: 3600 }), "The window.", { default: 60 }),
  },
);

export const SpinRuleViolation = detector(
  "RuleViolation",
  "devices that keep trying what a rule stops",
  "Packets of the device that a Block or Reject rule stopped. Low; Info where a rule blocks all that the device does.",
  {
    Packets: readWrite(
      unsignedInt({ min: 5, max: 1_000_000 }),
      "Packets in the window. Default: more than ten connections that are tried again and again, at six packets each.",
      { default: 100 },
    ),
    Window: readWrite(seconds({ min: 10, max: 86_400 }), "The window.", { default: 600 }),
  },
);

export const SpinAddressSpoofing = detector(
  "AddressSpoofing",
  "claims to others' addresses",
  "The device claims an address that another one still holds, three times within a minute.",
  {},
);

export const detectionObjects = [
  SpinIncident,
  SpinDetection,
  SpinTrafficPeak,
  SpinHostScan,
  SpinPortScan,
  SpinArpScan,
  SpinFlood,
  SpinDnsTunnel,
  SpinNewDestination,
  SpinListedPeer,
  SpinRuleViolation,
  SpinAddressSpoofing,
] as const;
