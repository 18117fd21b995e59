/**
 * `Device.X_SPIN.`: what an operator can read, set, run and be told. One line a parameter. The manual and the XML are
 * printed from here.
 */
import { argument, command, counter, event, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { privacyCommands, privacyParams, SpinAccessLog } from "./spin-access-log.ts";
import { captureTraffic } from "./spin-capture-traffic.ts";
import { detectionObjects } from "./spin-detection.ts";
import { historyObjects } from "./spin-history.ts";
import { queryCommands } from "./spin-query.ts";
import { listObjects } from "./spin-list.ts";
import { ROOT } from "./spin-root.ts";
import { scheduleObjects } from "./spin-schedule.ts";
import { addressList, destinationList, macAddress, macAddressList, nameList, portList } from "./types.ts";
import {
  alias,
  boolean,
  dateTime,
  enumeration,
  int,
  list,
  NEVER,
  reference,
  statsCounter64,
  string,
  unsignedInt,
  unsignedLong,
} from "./values.ts";

export { ROOT };

const bitRate = unsignedLong({ units: "bits per second" });
const seconds = (range: { min?: number; max?: number } = {}) => unsignedInt({ ...range, units: "seconds" });

const incidentArguments = {
  Incident: argument(string(), "Path of its row."),
  Type: argument(string(), "Which detector found it."),
  Severity: argument(string(), "Info, Low, Medium or High."),
  Device: argument(string(), "Path of the device's row."),
  Summary: argument(string(), "A plain sentence, without peers."),
};

export const Spin = object(ROOT, {
  description:
    "Security and Privacy for In-home Networks: what the home's devices do on the network, and what they may not.",
  params: {
    Enable: readWrite(
      boolean,
      "Capture and analyse traffic. When false, both stop; all rules stay in force, whoever made them, but those on domains learn no new addresses.",
      { default: true },
    ),
    Status: readOnly(enumeration("Disabled", "Starting", "Running", "Degraded", "Error"), "State of the whole."),
    StatusReason: readOnly(string({ maxLength: 1024 }), "Why Status is not Running, in words; empty while it is."),
    Version: readOnly(string({ maxLength: 64 }), "Version of spin-usp."),
    CounterAccuracy: readOnly(
      enumeration("Exact", "Estimated", "Partial"),
      "Estimated after events were lost and recovered by a dump; Partial while flow offload hides counters.",
    ),
    Authority: readOnly(
      enumeration("Resident", "Operator"),
      "Who wins when resident and operator both made a rule. Set by the firmware's configuration.",
    ),
    NewDevicePolicy: readWrite(
      enumeration("Allow", "Quarantine"),
      "What a device that was never seen before may do. Quarantine: a rule of Origin System blocks it, with its first sign of life, until an operator or the resident lifts that; devices that were known stay as they are.",
    ),
    ForgetDevicesAfter: readWrite(
      unsignedInt({ max: 3650, units: "days" }),
      "Devices that are silent for so many days while the home is watched are forgotten, with their counters and history; 0: none is. A device that has a Name, or that a rule names, stays.",
      { default: 35 },
    ),
    PrivacyLevel: readWrite(
      enumeration("Summary", "Devices", "Destinations"),
      "What controllers may see: totals alone, devices and their counters, or also whom they talk to. Not above PrivacyCeiling.",
      { default: "Devices" },
    ),
    PrivacyCeiling: readWrite(
      enumeration("Summary", "Devices", "Destinations"),
      "The most that PrivacyLevel may show. The resident's alone to write.",
      { default: "Devices" },
    ),
    ...privacyParams,
  },
  commands: {
    ...queryCommands,
    ...privacyCommands,
    "Undo()": command(
      "sync",
      "Takes back the caller's last change of rules, schedules and lists that it has not taken back yet, as a whole. What somebody else has changed since stays as it is. Kept for twenty changes, and not over a restart.",
      {
        output: {
          What: argument(string(), "What the change was."),
          Rows: argument(list(string()), "Paths of the rows that were touched; one that came back has a new number."),
        },
      },
    ),
  },
  events: {
    "DeviceDiscovered!": event("A device was seen for the first time.", {
      Device: argument(string(), "Path of its row."),
      PhysAddress: argument(macAddress, "Its hardware address."),
      HostName: argument(string(), "The name it gave, if known already."),
    }),
    "IncidentOpened!": event("Something looks wrong. At most ten a minute; Suppressed counts those in between.", {
      ...incidentArguments,
      ActionTaken: argument(string(), "What the agent did by itself; empty: nothing."),
      Suppressed: argument(unsignedInt(), "Incidents that opened since the last such event and were not told."),
    }),
    "IncidentClosed!": event("It has been quiet for a quarter of an hour, or somebody closed it.", {
      ...incidentArguments,
      Count: argument(unsignedInt(), "Findings that were in it."),
    }),
  },
});

export const SpinSummary = object(`${ROOT}Summary.`, {
  description: "The home in figures.",
  params: {
    DeviceCount: readOnly(unsignedInt(), "Devices known."),
    ActiveDeviceCount: readOnly(unsignedInt(), "Devices that sent something by themselves in the last 5 minutes.", {
      valueChange: false,
    }),
    BlockedDeviceCount: readOnly(unsignedInt(), "Devices of which all traffic is blocked."),
    OpenIncidentCount: readOnly(unsignedInt(), "Incidents that are not closed."),
    RuleHash: readOnly(
      string({ maxLength: 64 }),
      "SHA-256, in hex, over the rules in force in canonical order: drift across a fleet shows in one leaf.",
    ),
    BytesSent: counter(statsCounter64, "Towards the Internet, IP header included."),
    BytesReceived: counter(statsCounter64, "From the Internet, IP header included."),
    PacketsSent: counter(statsCounter64, "Towards the Internet."),
    PacketsReceived: counter(statsCounter64, "From the Internet."),
    ActiveFlowCount: counter(unsignedInt(), "Flows that live."),
    DNSQueryCount: counter(statsCounter64, "DNS questions asked."),
    BlockedPackets: counter(statsCounter64, "Packets dropped or rejected by rules."),
    BlockedBytes: counter(statsCounter64, "Bytes of those packets."),
    RulesRestored: counter(
      statsCounter64,
      "Times that somebody else removed or changed the rules in the kernel (a flush of the whole firewall) and they were put back, since the agent started.",
    ),
    DevicesEvicted: counter(statsCounter64, "Rows of devices that gave way to newer ones, since the agent started."),
    DevicesRefused: counter(statsCounter64, "Times that a device was seen and found no room among the known ones."),
  },
});

export const SpinCapture = object(`${ROOT}Capture.`, {
  description: "How traffic is observed.",
  params: {
    Enable: readWrite(boolean, "Observe traffic.", { default: true }),
    Interfaces: readWrite(
      list(string({ maxLength: 15, pattern: "[A-Za-z0-9_.@-]+" }), { maxItems: 16 }),
      "Interfaces of the LAN, besides those that are configured on the gateway or found from routes and bridges: rules go on to hold for these. One that does not exist, the loopback and the way to the Internet are passed over; Source network says so.",
    ),
    CounterInterval: readWrite(
      seconds({ min: 1, max: 60 }),
      "How old a counter may be. Each reading costs about 60 ms of CPU for 10,000 flows (measured on x86-64).",
      { default: 5 },
    ),
    Status: readOnly(enumeration("Disabled", "Starting", "Running", "Degraded", "Error"), "State of the capture."),
    FlowCount: counter(unsignedInt(), "Flows in the table."),
    EventsReceived: counter(statsCounter64, "Flow events taken from the kernel."),
    EventsLost: counter(statsCounter64, "Times that the kernel's queue overran; each was recovered by a dump."),
    Resyncs: counter(statsCounter64, "Dumps made to recover."),
    DNSAnswers: counter(statsCounter64, "DNS answers read."),
    DecodeErrors: counter(statsCounter64, "Messages that could not be read."),
  },
});

export const SpinCaptureSource = object(`${ROOT}Capture.Source.{i}.`, {
  description: "One source of observations.",
  keys: [["Name"]],
  params: {
    Name: readOnly(
      string({ maxLength: 32 }),
      "blocked, conntrack, dns, first-packets, frames, hosts, leases, neighbours, network, pcap.",
    ),
    Status: readOnly(enumeration("Disabled", "Starting", "Running", "Degraded", "Error"), "Its state."),
    Backend: readOnly(string({ maxLength: 64 }), "helper, conntrack-tools, procfs, ip, file: where it gets them."),
    Observations: counter(statsCounter64, "What it told."),
    Lost: counter(statsCounter64, "What it missed."),
    LastError: readOnly(string({ maxLength: 1024 }), "In words; empty if there was none."),
  },
});

/** As src/spin/device-types.ts has them; a test holds the two together. */
const DEVICE_TYPES =
  "Camera, Doorbell, Printer, Television, MediaPlayer, Speaker, Phone, Tablet, Watch, Computer, GameConsole, Storage, Router, Hub, Light, Plug, Thermostat, Vacuum, Appliance, EnergyMeter or SmartHome";

export const SpinDevice = object(`${ROOT}Device.{i}.`, {
  description:
    "A device of the home: a MAC address on the LAN side. Made by the agent; deleting the row forgets the device.",
  keys: [["PhysAddress"], ["Alias"]],
  rows: "delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    PhysAddress: readOnly(macAddress, "Hardware address; identifies the device."),
    Randomized: readOnly(boolean, "The hardware address is locally administered, as privacy features choose it."),
    Name: readWrite(string({ maxLength: 64 }), "Name that the resident or the operator gave it."),
    HostName: readOnly(
      string({ maxLength: 255 }),
      "Its name by the best source that knows one: the gateway's /etc/hosts and /etc/ethers, then DHCP, then mDNS, then LLDP.",
    ),
    Vendor: readOnly(string({ maxLength: 128 }), "Owner of the hardware address's prefix."),
    Type: readOnly(
      string({ maxLength: 32 }),
      `What sort of thing it may be: ${DEVICE_TYPES}. A guess; empty where nothing speaks for any.`,
    ),
    TypeReason: readOnly(string({ maxLength: 256 }), "Why that Type was guessed, in words."),
    MUDURL: readOnly(
      string({ maxLength: 255 }),
      "Where the maker describes what the device needs (RFC 8520), as the device sent it by DHCP or LLDP. Nobody vouches for it.",
    ),
    IPv4Address: readOnly(addressList, "Its IPv4 addresses, the most recently confirmed first."),
    IPv6Address: readOnly(addressList, "Its IPv6 addresses, the most recently confirmed first."),
    Host: readOnly(
      reference("Device.Hosts.Host.{i}.", { strong: false }),
      "The same in the standard model. Empty where the agent is a USP Service: the table is the broker's there.",
    ),
    Interface: readOnly(string({ maxLength: 64 }), "LAN interface it was last seen on."),
    FirstSeen: readOnly(dateTime, "When it was first seen."),
    LastSeen: readOnly(dateTime, "When it last showed itself.", { valueChange: false }),
    Active: readOnly(
      boolean,
      "It sent something by itself in the last 5 minutes; retries against a block do not count.",
    ),
    Blocked: readOnly(boolean, "A rule in force blocks all of its traffic."),
    Ignored: readOnly(boolean, "A rule of Action Ignore that is in force covers all of its traffic."),
    MergedInto: readOnly(
      reference(`${ROOT}Device.{i}.`, { strong: false }),
      "The row that the resident said is the same physical device; empty: none.",
    ),
    TopDestinations: readOnly(nameList, "The five with most bytes in 24 hours, by name where one is known.", {
      secured: true,
      valueChange: false,
    }),
  },
  commands: {
    "Block()": command("sync", "Blocks all of the device's traffic by a rule of the caller's.", {
      input: {
        Duration: argument(seconds({ max: 315360000 }), "How long; 0: until it is unblocked.", { default: 0 }),
        Reason: argument(string({ maxLength: 256 }), "Why, for whoever reads the rule."),
      },
      output: { Rule: argument(string(), "Path of the rule.") },
    }),
    "CaptureTraffic()": captureTraffic,
    "Unblock()": command(
      "sync",
      "Removes the caller's rules, and those of Origin System, that block all of this device's traffic; but not rules with a Schedule.",
      {
        output: {
          Blocked: argument(boolean, "Whether something still blocks it."),
          Rules: argument(list(string()), "Paths of the rules that still do."),
          Origins: argument(list(string()), "Whose each of them is: User, Controller or System."),
        },
      },
    ),
    "MergeInto()": command(
      "sync",
      "Says that this row and another are one physical device: rules that name either hold for both, while each goes on counting for itself. What was merged into this one comes along. The resident's alone.",
      {
        input: {
          Device: argument(
            string({ maxLength: 256 }),
            "Path of the other row. Empty: this row is one of its own again.",
            {
              default: "",
            },
          ),
        },
      },
    ),
  },
});

export const SpinDeviceStats = object(`${ROOT}Device.{i}.Stats.`, {
  description:
    "Counters since the device was first seen. Sent is towards the Internet, as seen from the device. Bytes are those of IP packets, header included. Never reset; blocked traffic counts apart and only there.",
  params: {
    BytesSent: counter(statsCounter64, "Towards the Internet."),
    BytesReceived: counter(statsCounter64, "From the Internet."),
    PacketsSent: counter(statsCounter64, "Towards the Internet."),
    PacketsReceived: counter(statsCounter64, "From the Internet."),
    LocalBytesSent: counter(statsCounter64, "To the gateway and other home devices."),
    LocalBytesReceived: counter(statsCounter64, "From the gateway and other home devices."),
    FlowsOpened: counter(statsCounter64, "Flows that the device began."),
    ActiveFlowCount: counter(unsignedInt(), "Flows that live."),
    DNSQueryCount: counter(statsCounter64, "DNS questions it asked."),
    BlockedPackets: counter(statsCounter64, "Packets from or to it, dropped or rejected by rules."),
    BlockedBytes: counter(statsCounter64, "Bytes of those packets."),
    BytesSentRate: counter(bitRate, "Mean over the last 10 s."),
    BytesReceivedRate: counter(bitRate, "Mean over the last 10 s."),
  },
});

export const SpinRule = object(`${ROOT}Rule.{i}.`, {
  description:
    "What anybody asked for. Inside a tier (User, Controller, System; whose comes first is Authority's to say) Allow beats Block and Reject.",
  keys: [["Alias"]],
  functionalKeys: [
    ["Creator", "Action", "MACAddressList", "DestinationList", "Protocol", "PortList", "Initiator", "Schedule"],
  ],
  rows: "add-delete",
  maxRows: 1000,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether the rule is meant to work."),
    Status: readOnly(
      enumeration("Disabled", "Enabled", "Pending", "Expired", "Overruled", "Error", "Error_Misconfigured"),
      "Whether it works.",
    ),
    StatusReason: readOnly(string({ maxLength: 1024 }), "Why not, or with what limits, in words."),
    Action: readWrite(
      enumeration("Block", "Reject", "Allow", "Ignore", "Count"),
      "Reject tells the sender; Ignore only hides from reports; Count is a dry run.",
    ),
    Origin: writeOnce(
      enumeration("Controller", "User", "System"),
      "On whose behalf. User only from the resident's role.",
      {
        default: "Controller",
      },
    ),
    Creator: readOnly(string({ maxLength: 256 }), "Endpoint id of who made it; empty for the agent."),
    MACAddressList: readWrite(macAddressList, "The devices, or * for all. Empty: the rule has no effect."),
    DestinationList: readWrite(
      destinationList,
      "Addresses, prefixes, domains with their subdomains, lists (Device.X_SPIN.List.{i}), or * for all. Empty: the rule has no effect.",
      { secured: true },
    ),
    Protocol: readWrite(int({ min: -1, max: 255 }), "IANA protocol number; -1: any.", { default: -1 }),
    PortList: readWrite(portList, "Ports of the peer, like 443,8000-8010. Empty: any."),
    Initiator: readWrite(enumeration("Any", "Device", "Peer"), "Only flows that this side began."),
    Schedule: readWrite(
      list(reference(`${ROOT}Schedule.{i}.`, { strong: false }), { maxItems: 16, isSet: true }),
      "The rule holds in the slots of these schedules. Empty: always. A rule that names one that does not exist, or not any more, has no effect.",
    ),
    CreationDate: readOnly(dateTime, "When the row was made."),
    ExpiryDate: readWrite(dateTime, "When the rule ends by itself.", { default: NEVER }),
    Reason: readWrite(string({ maxLength: 256 }), "Why, for whoever reads the rule."),
    HitPackets: counter(statsCounter64, "Packets that it decided."),
    HitBytes: counter(statsCounter64, "Bytes of those packets."),
    LastHit: counter(dateTime, "When it last decided one."),
  },
});

export const spinObjects = [
  Spin,
  SpinSummary,
  SpinCapture,
  SpinCaptureSource,
  SpinDevice,
  SpinDeviceStats,
  SpinRule,
  ...detectionObjects,
  ...historyObjects,
  ...scheduleObjects,
  ...listObjects,
  SpinAccessLog,
] as const;
