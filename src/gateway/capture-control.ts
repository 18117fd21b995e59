/** The capture as controllers may set it while it runs. Two switches must both be on: the root's and the capture's. */
import type { Source } from "../spin/observation.ts";
import type { CaptureControl } from "../objects/home.ts";

export interface Controlled {
  readonly sources: readonly Source[];
  readonly setRunning: (running: boolean) => void;
  readonly setInterfaces: (names: readonly string[]) => void;
  readonly setCounterInterval: (seconds: number) => void;
}

export function captureControl(controlled: Controlled): CaptureControl {
  let spin = true;
  let capture = true;
  return {
    sources: controlled.sources,
    setSpinEnabled: (enabled) => {
      spin = enabled;
      controlled.setRunning(spin && capture);
    },
    setEnabled: (enabled) => {
      capture = enabled;
      controlled.setRunning(spin && capture);
    },
    setInterfaces: controlled.setInterfaces,
    setCounterInterval: controlled.setCounterInterval,
  };
}
