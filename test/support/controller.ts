/** The tests' controller: src/controller, which comes back by itself when the broker was away. */
import { connectController } from "../../src/controller/connect.ts";
import type { Controller, Notification } from "../../src/controller/controller.ts";
import { AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC } from "./agent.ts";
import { pause } from "./eventually.ts";

export type Notified = Notification & {
  /** Milliseconds since 1970. */
  readonly at: number;
};

export class Connection {
  /** What came since the first connection. */
  readonly notifications: Notified[] = [];
  readonly #broker: { readonly host: string; readonly port: number };
  readonly #ending = new AbortController();
  #controller: Controller | undefined;
  #answers = true;
  readonly #running: Promise<void>;
  #connected: (() => void) | undefined;

  private constructor(broker: { host: string; port: number }) {
    this.#broker = broker;
    this.#running = this.#run();
  }

  /** Resolves once it is subscribed. */
  static async open(broker: { host: string; port: number }): Promise<Connection> {
    const connection = new Connection(broker);
    await new Promise<void>((done) => (connection.#connected = done));
    return connection;
  }

  /** While false, notifications are kept but not answered. */
  set answersNotifications(answers: boolean) {
    this.#answers = answers;
    if (this.#controller) this.#controller.answersNotifications = answers;
  }

  /** Parameters by full path. */
  get(paths: readonly string[], timeoutMs?: number): Promise<Map<string, string>> {
    return this.#now.read(paths, timeoutMs === undefined ? {} : { timeoutMs });
  }

  set(path: string, values: Readonly<Record<string, string>>): Promise<void> {
    return this.#now.write(path, values);
  }

  /** The path of the new row. */
  add(path: string, values: Readonly<Record<string, string>>): Promise<string> {
    return this.#now.create(path, values);
  }

  async delete(path: string): Promise<void> {
    await this.#now.remove(path);
  }

  async operate(command: string, input: Readonly<Record<string, string>> = {}): Promise<ReadonlyMap<string, string>> {
    return this.#now.run(command, input);
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#controller?.close().catch(() => undefined);
    await this.#running;
  }

  get #now(): Controller {
    if (!this.#controller) throw new Error("the test's controller is not connected to the broker");
    return this.#controller;
  }

  async #run(): Promise<void> {
    const url = `mqtt://${this.#broker.host}:${this.#broker.port}`;
    while (!this.#ending.signal.aborted) {
      try {
        const { controller } = await connectController(
          {
            controllerId: CONTROLLER_ID,
            agentId: AGENT_ID,
            agentTopic: AGENT_TOPIC,
            controllerTopic: CONTROLLER_TOPIC,
            mqtt: { url, version: "5", publishQos: 1 },
          },
          this.#ending.signal,
        );
        controller.answersNotifications = this.#answers;
        this.#controller = controller;
        this.#connected?.();
        for await (const notification of controller.notifications())
          this.notifications.push({ ...notification, at: performance.timeOrigin + performance.now() });
      } catch {
        // The broker is away, which is what some tests are about.
      }
      this.#controller = undefined;
      if (!this.#ending.signal.aborted) await pause(100);
    }
  }
}
