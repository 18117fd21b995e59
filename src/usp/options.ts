/** What an agent is made of. Everything with I/O comes from outside: the model's implementations and the MTP connectors. */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Tree } from "../model/tree.ts";
import type { Trust } from "./trust/trust.ts";
import type { DialFactory, MtpFactory, MtpStates } from "./mtp.ts";
import type { ModelPolicy } from "./policy.ts";
import type { Requests } from "./requests.ts";
import type { SessionOptions } from "./session-states.ts";

export interface AgentOptions {
  readonly endpointId: string;
  readonly tree: Tree;
  /** The rows that the tree shows as `Device.LocalAgent.Request.{i}.`. */
  readonly requests: Requests;
  /** Where the state of each MTP row is kept for the tree to show. */
  readonly mtpStates: MtpStates;
  readonly mtp: MtpFactory;
  /** Default: no controller is dialled. */
  readonly dial?: DialFactory;
  readonly boot: BootInfo;
  /** Absent: sessions without payload security, where `Controller.{i}.E2ESession.` says so. */
  readonly sessions?: SessionOptions;
  readonly log: Log;
  readonly clock: Clock;
  readonly policy?: ModelPolicy;
  /** Certificates, and what they bring; absent: none is known. */
  readonly trust?: Trust;
  /**
   * Resolves when all changes up to now are on disk; the same promise as before means that nothing was to be saved since.
   * The answer to a change waits for it.
   */
  readonly saved?: () => Promise<void>;
  /** Of OnBoardRequest. */
  readonly device?: () => { readonly oui: string; readonly productClass: string; readonly serialNumber: string };
  /** `data_model_inst_uri` of an object's supported path. Default: TR-181 2.19. */
  readonly dataModelUri?: (path: string) => string;
  readonly limits?: Partial<AgentLimits>;
  /** In [0, 1), for the back-off. */
  readonly random?: () => number;
}

/** What Boot! says. */
export interface BootInfo {
  readonly cause: "LocalReboot" | "RemoteReboot" | "LocalFactoryReset" | "RemoteFactoryReset";
  readonly reason?: string;
  readonly commandKey?: string;
  readonly firmwareUpdated: boolean;
}

export interface AgentLimits {
  /** Greatest answer, in bytes; what the MTP takes may be less. */
  readonly responseBytes: number;
  /** Requests of one controller that are unfinished at one time; the next gets 7005. */
  readonly unfinishedRequests: number;
  /** Notifications that wait for one controller. */
  readonly queuedNotifications: number;
  /** What notifications of one controller hold until they are taken or answered; changed values hold nothing. */
  readonly notificationBytes: number;
  /** The same of all controllers together. */
  readonly allNotificationBytes: number;
  /** Bytes handed to a link and not yet taken; beyond it nothing more is read from that link. */
  readonly outstandingBytes: number;
  /** The same in Records; well below what a link holds, since answers that were waited for come on top. */
  readonly outstandingRecords: number;
  /** Whether a Delete of a row that is not there is an error when allow_partial is false (TR-369 1.4.1 R-DEL.1 against TP-469 1.25). */
  readonly absentDeleteFails: boolean;
}

export const DEFAULT_AGENT_LIMITS: AgentLimits = {
  responseBytes: 1_000_000,
  unfinishedRequests: 512,
  queuedNotifications: 1_000,
  // Sixty-four of the greatest, a bulk data report: a day of one each half hour, and more.
  notificationBytes: 4 << 20,
  // Four controllers that never answer: a share of a gateway's memory that it can do without.
  allNotificationBytes: 16 << 20,
  outstandingBytes: 8_000_000,
  outstandingRecords: 256,
  absentDeleteFails: false,
};
