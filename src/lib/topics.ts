/**
 * Topics as they are found in the wild: where an agent listens, and where a controller does. `{eid}` is the agent's
 * endpoint id, `{ceid}` the controller's. Ours is `bbf`; `spin` is an older name of it.
 */
export interface TopicPreset {
  readonly agent: string;
  readonly controller: string;
  /** Where the agent sends what answers no request, if not there. */
  readonly notices?: string;
}

export const TOPIC_PRESETS = {
  bbf: { agent: "usp/v1/agent/{eid}", controller: "usp/v1/controller/{ceid}" },
  spin: { agent: "usp/v1/agent/{eid}", controller: "usp/v1/controller/{ceid}" },
  // Its controller takes whatever comes to its own topic for the answer to its first Get, and breaks on anything else.
  oktopus: {
    agent: "oktopus/usp/v1/agent/{eid}",
    controller: "oktopus/usp/v1/controller/{eid}",
    notices: "oktopus/usp/v1/controller",
  },
  obuspa: { agent: "/usp/agent", controller: "/usp/controller" },
  iopsys: { agent: "/usp/endpoint", controller: "/usp/controller" },
  kmp: { agent: "{eid}", controller: "{ceid}" },
} as const satisfies { readonly [name: string]: TopicPreset };

export type TopicPresetName = keyof typeof TOPIC_PRESETS;

export const TOPIC_PRESET_NAMES = Object.keys(TOPIC_PRESETS) as readonly TopicPresetName[];

/** The topic that a template names; what an endpoint id may hold and a topic level may not is percent-encoded. */
export function topicOf(template: string, ids: { readonly eid?: string; readonly ceid?: string }): string {
  const encode = (id: string) => id.replace(/[/+#]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return template.replace(/\{(eid|ceid)\}/g, (_, name: "eid" | "ceid") => encode(ids[name] ?? ""));
}
