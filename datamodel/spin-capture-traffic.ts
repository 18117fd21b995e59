/** The arguments of captures: CaptureTraffic() of a device, in the names of the standard's PacketCaptureDiagnostics(). */
import { argument, command } from "./schema.ts";
import { seconds } from "./standard.ts";
import { boolean, dateTime, enumeration, string, unsignedInt, unsignedLong } from "./values.ts";

const bytes = (range: { min?: number; max?: number } = {}) => unsignedInt({ ...range, units: "bytes" });

/** What both commands ask for. */
export const captureBounds = {
  Format: argument(enumeration("libpcap", "pcapng"), "Of the file.", { default: "libpcap" }),
  Duration: argument(seconds({ min: 1, max: 3600 }), "It ends after so long, if nothing else ends it.", {
    default: 60,
  }),
  PacketCount: argument(unsignedInt(), "It ends after so many packets; 0: not because of them.", { default: 0 }),
  ByteCount: argument(bytes(), "It ends before it holds more bytes of packets; 0: not because of them.", {
    default: 0,
  }),
  FileTarget: argument(
    string({ maxLength: 2048 }),
    "http: or https: URL that the file is sent to while it grows. Empty: kept on the gateway for the resident, 10 MiB at most, for a day. Only the resident's may lie in the home, on the gateway or in a private range.",
  ),
  Username: argument(string({ maxLength: 256 }), "At the target; https: only."),
  Password: argument(string({ maxLength: 256 }), "At the target; https: only."),
};

export const captureTraffic = command(
  "async",
  "Captures what the device sends and gets at the gateway. Controllers get headers alone, up to that of TCP, UDP or ICMP, and public addresses only where they may see secured values; the resident gets whole packets. One at a time of a device, four in all. Cancel() of the request ends it and sends what there is.",
  {
    input: {
      ...captureBounds,
      Method: argument(enumeration("PUT", "POST"), "Of the request to the target.", { default: "PUT" }),
      SnapLength: argument(bytes({ min: 14, max: 65535 }), "Bytes kept of a packet at most.", { default: 65535 }),
    },
    output: {
      Status: argument(
        enumeration("Complete", "Partial"),
        "Complete: Duration, PacketCount or ByteCount ended it. Partial: something else did; see StatusReason.",
      ),
      StatusReason: argument(string(), "What ended it, in words."),
      PacketCount: argument(unsignedInt(), "Packets in the file."),
      ByteCount: argument(unsignedLong({ units: "bytes" }), "Bytes of them in the file."),
      Lost: argument(unsignedInt(), "Packets that neither the kernel nor the target took in time."),
      StartTime: argument(dateTime, "When it began."),
      EndTime: argument(dateTime, "When it ended."),
      FileLocation: argument(string(), "The URL without its query, or the path of the file on the gateway."),
      HeadersOnly: argument(boolean, "Whether something of the packets was left out, besides what SnapLength cut off."),
    },
  },
);
