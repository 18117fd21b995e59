/** What the objects of `Device.X_SPIN.` need of SPIN and of the program around it. */
import type { Log } from "../lib/log.ts";
import type { Caller } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import type { Detection } from "../spin/detection.ts";
import type { Erased } from "../spin/erasure.ts";
import type { History } from "../spin/history.ts";
import type { LiveCapture } from "../spin/live-capture.ts";
import type { ListBook } from "../spin/lists/book.ts";
import type { ListDesk } from "../spin/lists/desk.ts";
import type { Source } from "../spin/observation.ts";
import type { Authority } from "../spin/policy.ts";
import type { RuleBook, RuleHits } from "../spin/rules.ts";
import type { ScheduleBook } from "../spin/schedules.ts";
import type { Home } from "../spin/types.ts";
import type { SupportSession } from "./support-session.ts";
import type { UndoLog } from "./undo.ts";

/** Settings of the capture that controllers may change while it runs. */
export interface CaptureControl {
  readonly sources: readonly Source[];
  /** `Device.X_SPIN.Capture.Enable`. */
  setEnabled(enabled: boolean): void;
  /** `Device.X_SPIN.Enable`: off stops capture and analysis. */
  setSpinEnabled(enabled: boolean): void;
  /** Empty: found from routes and bridges. */
  setInterfaces(names: readonly string[]): void;
  setCounterInterval(seconds: number): void;
}

export interface SpinParts {
  readonly home: Home & {
    readonly rules: RuleBook;
    /** Hits of a rule as they were saved before this start. */
    savedHits(rule: number): RuleHits | undefined;
    readonly detection: Detection;
    readonly history: History;
    readonly schedules: ScheduleBook;
    readonly lists: ListBook;
    readonly listDesk: ListDesk;
    eraseHistory(mac?: number): Promise<Erased>;
  };
  readonly capture: CaptureControl;
  readonly persistence: Persistence | undefined;
  readonly authority: Authority;
  readonly version: string;
  readonly log: Log;
  readonly undo: UndoLog;
  /** What ForgetDevicesAfter is before anybody writes it: days. */
  readonly forgetAfter: number;
  /** The packets themselves; absent where nothing can read them. */
  readonly liveCapture?: LiveCapture;
  /** Whether the resident lets Support see what is said, for now. Absent: never. */
  readonly supportGranted?: () => boolean;
  readonly support?: SupportSession;
  /**
   * Told of what a controller reads and runs, before it is given: by whom, and what, in words. `showsPeers`: whether it
   * shows whom the home talks to.
   */
  readonly accessed?: (caller: Caller, what: string, showsPeers: boolean) => void;
  /** What PrivacyLevel and PrivacyCeiling are before anybody writes them: firmware configuration. */
  readonly privacy: { readonly level: PrivacyLevel; readonly ceiling: PrivacyLevel };
}

export type PrivacyLevel = "Summary" | "Devices" | "Destinations";
