/** The agent of the demo: the gateway's own parts over a replayed capture, with a judge in the place of the kernel. */
import { PcapSource } from "../src/capture/pcap.ts";
import { parseConfig } from "../src/config.ts";
import { Judge } from "../src/enforce/judge.ts";
import { captureControl } from "../src/gateway/capture-control.ts";
import { findPart } from "../src/gateway/files.ts";
import { identityOf } from "../src/gateway/identity.ts";
import { northbound } from "../src/gateway/northbound.ts";
import { ManualClock, systemClock } from "../src/lib/clock.ts";
import type { Log } from "../src/lib/log.ts";
import { memoryStore } from "../src/lib/store.ts";
import { vendorsIn } from "../src/lib/vendors.ts";
import { Spin } from "../src/spin/spin.ts";
import { VERSION } from "../src/version.ts";
import { replayJudge } from "./replay-judge.ts";

export const AGENT_ID = "os::02AA00-DEMO";
export const CONTROLLER_ID = "self::operator";
export const CONTROLLER_TOPIC = "usp/v1/controller/operator";

export interface DemoAgent {
  /** Ends with the capture, or at the signal. */
  run(signal: AbortSignal): Promise<void>;
  /** Milliseconds since 1970, of the capture. */
  now(): number;
  /** Whether the capture has come to its end. */
  readonly ended: boolean;
}

export function demoAgent(options: { capture: string; speed: number; port: number; log: Log }): DemoAgent {
  const config = parseConfig(`
config agent
	option endpoint_id '${AGENT_ID}'
	option oui '02AA00'
	option serial_number 'DEMO'
	option privacy_level 'Destinations'
	option privacy_ceiling 'Destinations'
config mqtt 'demo'
	option host '127.0.0.1'
	option port '${options.port}'
	option version '3.1.1'
	option tls '0'
config controller 'operator'
	option endpoint_id '${CONTROLLER_ID}'
	option mqtt 'demo'
	option topic '${CONTROLLER_TOPIC}'
	option secured '1'
config socket 'resident'
	option enable '0'
`);
  const store = memoryStore();
  const clock = new ManualClock();
  const judge = new Judge({ clock });
  const source = new PcapSource({ source: options.capture, speed: options.speed, clock, judge: replayJudge(judge) });
  const vendorOf = vendorsIn(findPart("vendors.bin"), options.log);
  const home = new Spin({ clock, log: options.log, store, enforcer: judge, sources: [source], vendorOf });
  const capture = captureControl({
    sources: [source],
    setRunning: (running) => home.setEnabled(running),
    setInterfaces: () => undefined,
    setCounterInterval: () => undefined,
  });
  const identity = identityOf(config, VERSION, store);
  const { agent } = northbound({
    home,
    capture,
    config,
    identity,
    store,
    version: VERSION,
    clock: systemClock,
    log: options.log,
  });
  let ended = false;
  return {
    now: () => clock.now(),
    get ended() {
      return ended;
    },
    run: async (signal) => {
      const control = new AbortController();
      const stop = () => control.abort();
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      const serves = agent.run(control.signal);
      await home.run(control.signal);
      ended = true;
      await serves;
    },
  };
}
