/** What can be asked about the past: `Query()` and `ResolveIncident()` of `Device.X_SPIN.`. */
import { argument, command } from "./schema.ts";
import { ipAddress, macAddress } from "./types.ts";
import { boolean, dateTime, enumeration, list, statsCounter64, string, unsignedInt } from "./values.ts";

const port = unsignedInt({ max: 65535 });
const protocol = unsignedInt({ max: 255 });

export const queryCommands = {
  "Query()": command("sync", "Reads the flow log, newest first, page by page.", {
    input: {
      Kind: argument(
        enumeration("Flows", "Destinations", "DNSQueries", "Blocked", "History"),
        "What to list. Flows and DNSQueries only where secured values may be read.",
        { mandatory: true },
      ),
      PhysAddress: argument(macAddress, "Of one device; all if left out."),
      Since: argument(dateTime, "Only what was alive at or after this time."),
      Until: argument(dateTime, "Only what was alive at or before this time."),
      Destination: argument(
        string({ maxLength: 260 }),
        "An address, a prefix, or a domain with its subdomains; of DNSQueries, a domain.",
      ),
      Limit: argument(unsignedInt({ min: 1, max: 500 }), "Most rows of one answer.", { default: 100 }),
      Cursor: argument(string({ maxLength: 256 }), "NextCursor of the page before."),
    },
    output: {
      NextCursor: argument(
        string(),
        "Where the next page begins; empty after the last. A page may have fewer rows than Limit, or none, and still have a next.",
      ),
      Truncated: argument(boolean, "Whether more rows may follow."),
    },
    rows: {
      Row: {
        Start: argument(dateTime, "When it began (Flows, Blocked, History)."),
        End: argument(dateTime, "When it ended; unknown time while the flow lives (Flows, Blocked, History)."),
        PhysAddress: argument(macAddress, "The device."),
        Initiator: argument(string(), "Device or Peer: who began, or who sent what was blocked (Flows, Blocked)."),
        Address: argument(ipAddress, "The peer; empty where many were summed up.", { secured: true }),
        Port: argument(port, "Port that the initiator addressed; the peer's (Blocked)."),
        Protocol: argument(protocol, "IANA protocol number."),
        Domain: argument(string(), "Name that the device had asked for.", { secured: true }),
        DomainSource: argument(
          enumeration("", "DNS", "TLS", "QUIC", "ECH"),
          "How Domain is known: from a DNS answer that the device got, or else from what it said itself in TLS or QUIC; ECH: with Encrypted Client Hello, so it may be a front's. Empty where that is not known.",
        ),
        BytesSent: argument(statsCounter64, "Towards the peer."),
        BytesReceived: argument(statsCounter64, "From the peer."),
        PacketsSent: argument(statsCounter64, "Towards the peer."),
        PacketsReceived: argument(statsCounter64, "From the peer."),
        Flows: argument(statsCounter64, "Flows summed up in the row; left out where it is one flow that lives."),
        FirstSeen: argument(dateTime, "First flow (Destinations)."),
        LastSeen: argument(dateTime, "Last flow (Destinations)."),
        Blocked: argument(boolean, "Whether a rule in force blocks it (Destinations)."),
        Rule: argument(string(), "Path of the rule that stopped it, where it is known (Blocked)."),
        Time: argument(dateTime, "When it was asked last (DNSQueries)."),
        Name: argument(
          string(),
          "What was asked for; *.example.com where names under it were too many, * for all others (DNSQueries).",
          { secured: true },
        ),
        Type: argument(string(), "A, AAAA, HTTPS … (DNSQueries)."),
        Answers: argument(list(ipAddress), "First addresses of the newest answer (DNSQueries).", { secured: true }),
        AnswerCount: argument(unsignedInt(), "How many addresses it had (DNSQueries)."),
        TTL: argument(unsignedInt({ units: "seconds" }), "Least of its times to live (DNSQueries)."),
        ResultCode: argument(unsignedInt(), "Of the newest answer: 0, 3 (no such name) …; left out if none was seen."),
        Count: argument(statsCounter64, "Questions summed up in the row (DNSQueries)."),
        BlockedPackets: argument(statsCounter64, "Packets that rules stopped (History)."),
        SuspectData: argument(boolean, "Whether the interval was not wholly watched (History)."),
      },
    },
  }),
  "ResolveIncident()": command(
    "sync",
    "Which device was it that the Internet knew by that address and port at that time? For whoever holds an abuse report; says nothing of what the device did.",
    {
      input: {
        Time: argument(dateTime, "When it was.", { mandatory: true }),
        Tolerance: argument(unsignedInt({ max: 600, units: "seconds" }), "How wrong the time may be.", { default: 30 }),
        Protocol: argument(protocol, "IANA protocol number.", { mandatory: true }),
        SourceAddress: argument(ipAddress, "The home's public address then, or a device's global IPv6 address.", {
          mandatory: true,
        }),
        SourcePort: argument(port, "Needed for TCP, UDP, DCCP, SCTP and UDP-Lite."),
        DestinationAddress: argument(ipAddress, "Whom it concerned."),
        DestinationPort: argument(port, "Port of theirs."),
      },
      output: {
        Found: argument(boolean, "Whether exactly one device can have been it."),
        Device: argument(string(), "Path of its row; empty also where the device has been forgotten."),
        FlowCount: argument(unsignedInt(), "Flows that can have been it; where none is Found, of several devices."),
        Blocked: argument(boolean, "Whether a rule in force now stops the device, or such traffic of it."),
      },
    },
  ),
};
