/** `Device.`: the gateway as a whole, and its commands. */
import { Device } from "../../datamodel/device.ts";
import type { Clock } from "../lib/clock.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { packetCaptureDiagnostics } from "./capture-traffic.ts";
import type { SpinParts } from "./home.ts";

/** Why the gateway restarts: what Boot! says then. */
export interface RestartReason {
  readonly cause: "LocalReboot" | "RemoteReboot" | "LocalFactoryReset" | "RemoteFactoryReset";
  readonly reason: string;
  readonly commandKey: string;
}

/** How the host restarts; absent what it does not allow. Resolves when the restart is about to come. */
export interface Power {
  readonly reboot?: (why: RestartReason) => Promise<void>;
  readonly factoryReset?: (why: RestartReason) => Promise<void>;
}

interface DeviceParts {
  readonly clock: Clock;
  readonly power: Power;
  /** Absent: no packets are captured. */
  readonly spin?: SpinParts;
}

/** Without the commands that the host does not allow: GetSupportedDM does not name them. */
export function deviceRoot({ clock, power, spin }: DeviceParts): Implementation {
  const whole = bind(Device, {
    get: { RootDataModelVersion: () => "2.19" },
    commands: {
      "Reboot()": async (_, { Cause, Reason }, { commandKey }) => {
        await power.reboot?.({ cause: Cause ?? "RemoteReboot", reason: Reason ?? "", commandKey });
        return {};
      },
      "FactoryReset()": async (_, { Cause, Reason }, { commandKey }) => {
        await power.factoryReset?.({ cause: Cause ?? "RemoteFactoryReset", reason: Reason ?? "", commandKey });
        return {};
      },
      "PacketCaptureDiagnostics()": (_, args, call) => packetCaptureDiagnostics(spin as SpinParts, args, call),
      "ScheduleTimer()": async (_, { DelaySeconds }, { startedAt, signal }) => {
        const delayMs = 1000 * (DelaySeconds ?? 0);
        // A clock that was not set yet after a restart must not make it longer.
        await wait(Math.min(startedAt + delayMs - clock.now(), delayMs), signal);
        return {};
      },
    },
  });
  const commands = Object.entries(Device.commands).filter(
    ([name]) =>
      (name !== "Reboot()" || power.reboot) &&
      (name !== "FactoryReset()" || power.factoryReset) &&
      (name !== "PacketCaptureDiagnostics()" || spin),
  );
  return { ...whole, schema: { ...whole.schema, commands: Object.fromEntries(commands) } };
}

/** Timers of Node end at 24.8 days; a longer wait is taken in parts. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Rejects with the signal's reason. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = ms;
    let timer: NodeJS.Timeout;
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const next = () => {
      if (left <= 0) {
        signal.removeEventListener("abort", stop);
        return resolve();
      }
      const part = Math.min(left, MAX_TIMER_MS);
      left -= part;
      timer = setTimeout(next, part).unref();
    };
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    next();
  });
}
