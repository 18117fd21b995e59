/** `Device.X_SPIN.Capture.` and its sources. */
import { SpinCapture, SpinCaptureSource } from "../../datamodel/spin.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { table } from "../model/table.ts";
import type { Health } from "../spin/observation.ts";
import type { SpinParts } from "./home.ts";

export function spinCapture({ home, capture, persistence }: SpinParts): Implementation {
  const figures = () => home.capture;
  return table(SpinCapture, {
    persistence,
    computed: {
      Status: ({ values }) =>
        values.Enable && home.enabled ? worst(capture.sources.map(({ health }) => health.status)) : "Disabled",
      FlowCount: () => figures().flowCount,
      EventsReceived: () => figures().eventsReceived,
      EventsLost: () => figures().eventsLost,
      Resyncs: () => figures().resyncs,
      DNSAnswers: () => figures().dnsAnswers,
      DecodeErrors: () => figures().decodeErrors,
    },
    committed: ({ row: { values }, params }) => {
      if (params.has("Enable")) capture.setEnabled(values.Enable);
      if (params.has("Interfaces")) capture.setInterfaces(values.Interfaces);
      if (params.has("CounterInterval")) capture.setCounterInterval(values.CounterInterval);
    },
  });
}

/** Rows by place in the list of sources, which is fixed while the agent runs. */
export function spinCaptureSource({ capture: { sources } }: SpinParts): Implementation {
  return bind(SpinCaptureSource, {
    rows: {
      instances: () => sources.map((_, index) => index + 1),
      row: (_parent: unknown, instance: number) => sources[instance - 1],
    },
    get: {
      Name: ({ name }) => name,
      Status: ({ health }) => health.status,
      Backend: ({ health }) => health.backend,
      Observations: ({ health }) => health.observations,
      Lost: ({ health }) => health.lost + (health.passedOver ?? 0),
      LastError: ({ health }) => health.lastError.slice(0, 1024),
    },
  });
}

/** From best to worst. */
const ORDER: readonly Health["status"][] = ["Running", "Starting", "Degraded", "Error"];

/**
 * The state of the worst source: one that fails makes the whole Degraded, all that fail make it Error. A source that has
 * nothing to read here (no DHCP server, so no leases) says nothing of the others.
 */
function worst(states: readonly Health["status"][]): Health["status"] {
  const active = states.filter((state) => state !== "Disabled");
  if (active.length === 0) return "Disabled";
  if (active.every((state) => state === "Error")) return "Error";
  const state = ORDER[Math.max(...active.map((one) => ORDER.indexOf(one)))] as Health["status"];
  return state === "Error" ? "Degraded" : state;
}
