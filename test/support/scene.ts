/** A home with the agent on its gateway and an operator at the broker: where the end-to-end tests begin. */
import { Agent, type AgentOptions, agentMissing } from "./agent.ts";
import { Home, type HomeOptions, homeMissing } from "./home.ts";
import { BROKER4 } from "./home-network.ts";
import { Operator } from "./operator.ts";

export interface Scene {
  readonly home: Home;
  readonly agent: Agent;
  readonly operator: Operator;
  end(): Promise<void>;
}

export type SceneOptions = HomeOptions & { readonly agent?: Partial<AgentOptions> };

/** Why no scene can be had here, in words; `undefined` if it can. */
export function sceneMissing(): string | undefined {
  return homeMissing() ?? agentMissing();
}

export async function scene(options: SceneOptions = {}): Promise<Scene> {
  const home = await Home.up({ ...options, broker: true });
  const parts: { agent?: Agent; operator?: Operator } = {};
  const end = async () => {
    await parts.operator?.close();
    if (parts.agent?.running) await parts.agent.kill();
    await home.down();
  };
  try {
    parts.agent = await startAgent(home, options.agent);
    parts.operator = await Operator.connect(parts.agent, home.broker);
    await parts.operator.running();
    return { home, agent: parts.agent, operator: parts.operator, end };
  } catch (error) {
    const log = parts.agent?.log.slice(-4000) ?? "";
    await end();
    throw new Error(`the scene did not stand: ${error instanceof Error ? error.message : String(error)}\n${log}`);
  }
}

/** The agent on the home's gateway. */
export function startAgent(home: Home, options: Partial<AgentOptions> = {}): Promise<Agent> {
  const broker = { host: BROKER4, port: 1883 };
  const capture = { leases: [home.leases], ...options.capture };
  return Agent.start({ folder: home.folder, namespace: home.gateway, broker, ...options, capture });
}
