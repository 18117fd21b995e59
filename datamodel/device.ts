/** TR-181 2.19: the gateway itself. Names, types, access, keys and defaults are the standard's (a test holds them against a
 * fixture of its facts), the descriptions are ours; so in all files of standard objects. */
import { argument, command, counter, event, object, readOnly, readWrite } from "./schema.ts";
import { captureBounds } from "./spin-capture-traffic.ts";
import { seconds } from "./standard.ts";
import { boolean, dateTime, enumeration, string, unsignedInt } from "./values.ts";

export const Device = object("Device.", {
  description: "The gateway.",
  params: {
    RootDataModelVersion: readOnly(string({ maxLength: 32, pattern: "2\\.\\d+" }), "Version of the standard model."),
  },
  commands: {
    "Reboot()": command("sync", "Restarts the gateway. There only where the configuration says how.", {
      input: {
        Cause: argument(enumeration("LocalReboot", "RemoteReboot"), "What Boot! says then.", {
          default: "RemoteReboot",
        }),
        Reason: argument(string({ maxLength: 256 }), "In words.", { default: "" }),
      },
    }),
    "FactoryReset()": command(
      "sync",
      "Takes the gateway back to its first state. There only where the configuration says how.",
      {
        input: {
          Cause: argument(enumeration("LocalFactoryReset", "RemoteFactoryReset"), "What Boot! says then.", {
            default: "RemoteFactoryReset",
          }),
          Reason: argument(string({ maxLength: 256 }), "In words.", { default: "" }),
        },
      },
    ),
    "PacketCaptureDiagnostics()": command(
      "async",
      "Captures what passes at an interface of the LAN. What of it a controller gets, where it may go and how many may run is as with CaptureTraffic() of Device.X_SPIN.Device.{i}.",
      {
        input: {
          ...captureBounds,
          Interface: argument(
            string({ maxLength: 256 }),
            'The interface: its name, or a path that names it, as Device.IP.Interface.[Name=="br-lan"]. Empty: that of the device that FilterExpression names, or the only one of the LAN.',
          ),
          FilterExpression: argument(
            string({ maxLength: 256 }),
            "`ether host MAC` or `host ADDRESS`; empty: everything.",
          ),
        },
        output: {
          Status: argument(
            enumeration("Canceled", "Complete", "Error", "Error_Internal", "Error_Other"),
            "Complete; Error_Internal: nothing can be captured here; Error_Other: the target did not take it.",
          ),
        },
        rows: {
          PacketCaptureResult: {
            FileLocation: argument(string(), "The URL without its query, or the path of the file on the gateway."),
            StartTime: argument(dateTime, "When it began."),
            EndTime: argument(dateTime, "When it ended."),
            Count: argument(unsignedInt(), "Packets in the file."),
          },
        },
      },
    ),
    "ScheduleTimer()": command("async", "Ends when the time is over, restarts or not.", {
      input: { DelaySeconds: argument(seconds({ min: 1 }), "How long.", { mandatory: true }) },
      survives: true,
    }),
  },
  events: {
    "Boot!": event("The agent has started.", {
      CommandKey: argument(string(), "Key of the command that caused it, if one did."),
      Cause: argument(string(), "LocalReboot, RemoteReboot, FactoryReset, LocalFactoryReset or RemoteFactoryReset."),
      Reason: argument(string(), "In words."),
      FirmwareUpdated: argument(boolean, "Whether the software is another than before."),
      ParameterMap: argument(string(), "JSON of the values that the recipient's BootParameter rows name."),
    }),
  },
});

export const DeviceInfo = object("Device.DeviceInfo.", {
  description: "What device this is.",
  params: {
    Manufacturer: readOnly(string({ maxLength: 64 }), "Maker of the gateway."),
    ManufacturerOUI: readOnly(string({ maxLength: 6, pattern: "([0-9A-F]{6})?" }), "Its OUI, six hex digits."),
    ModelName: readOnly(string({ maxLength: 64 }), "Model."),
    ModelNumber: readOnly(string({ maxLength: 64 }), "Model number."),
    Description: readOnly(string({ maxLength: 256 }), "In words."),
    ProductClass: readOnly(string({ maxLength: 64 }), "Class within which serial numbers are unique."),
    SerialNumber: readOnly(string({ maxLength: 64 }), "Serial number."),
    HardwareVersion: readOnly(string({ maxLength: 64 }), "Hardware version."),
    SoftwareVersion: readOnly(string({ maxLength: 64 }), "Version of the firmware or, standing alone, of spin-usp."),
    ProvisioningCode: readWrite(string({ maxLength: 64 }), "What the operator keeps here for its provisioning."),
    UpTime: readOnly(seconds(), "Since the gateway started.", { valueChange: false }),
    HostName: readOnly(string({ maxLength: 255 }), "Name of the host."),
    FriendlyName: readWrite(string({ maxLength: 32 }), "Name for people."),
  },
});

const kibibytes = unsignedInt({ units: "KiB" });

export const MemoryStatus = object("Device.DeviceInfo.MemoryStatus.", {
  description: "Memory of the gateway.",
  params: {
    Total: readOnly(kibibytes, "All of it."),
    Free: counter(kibibytes, "What programs could still have."),
  },
});

export const ProcessStatus = object("Device.DeviceInfo.ProcessStatus.", {
  description: "Load of the gateway.",
  params: {
    CPUUsage: counter(unsignedInt({ max: 100, units: "percent" }), "Of all processors, since it was last asked for."),
  },
});
