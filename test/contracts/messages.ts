/**
 * Every USP Message over one transport: the rows of the manual's table message × transport. The agent is the real one,
 * run with `--bench-model 50`; the controller is one of its, with the role Admin. Each case leaves the agent as it was.
 */
import type { Controller, Notification, NotificationKind, Subscription } from "../../src/controller/controller.ts";
import { UspError } from "../../src/lib/usp-error.ts";

export interface MessageBench {
  /** A new connection of one and the same controller of the agent. The suite closes it. */
  connect(): Promise<Controller>;
}

/** Rows of `Device.X_BENCH.Row.` that the agent has to have. */
export const BENCH_ROWS = 50;

const BENCH = "Device.X_BENCH.";
const OBJ = `${BENCH}Obj.`;
const RETRY = "USPNotifRetryMinimumWaitInterval";

/** What is carried → how it is seen. */
export const MESSAGES: { readonly [name: string]: (controller: Controller, bench: MessageBench) => Promise<void> } = {
  Get: async (controller) => {
    const values = await controller.read(["Device.LocalAgent.EndpointID", `${BENCH}Row.3.P2`]);
    expect([...values.values()]).toEqual([expect.stringContaining("::"), "value 2 of row 3"]);
    expect((await controller.read([`${BENCH}Row.`])).size).toBe(10 * BENCH_ROWS);
    const [nowhere] = await controller.get(["Device.Nowhere."]);
    expect(nowhere?.error).toMatchObject({ code: 7026 });
  },

  Set: async (controller) => {
    const text = 'ä\0\n"<&:\\ …'.repeat(100);
    await controller.write(BENCH, { Mem: text });
    expect((await controller.read([`${BENCH}Mem`])).get(`${BENCH}Mem`)).toBe(text);
    await controller.write(BENCH, { Db: "kept" });
    expect((await controller.read([`${BENCH}Db`])).get(`${BENCH}Db`)).toBe("kept");
    await controller.write(BENCH, { Mem: "", Db: "" });
  },

  Add: async (controller) => {
    const made = await controller.create(OBJ, { Name: "added", Value: "1" });
    try {
      expect(made).toMatch(/^Device\.X_BENCH\.Obj\.\d+\.$/);
      expect((await controller.read([`${OBJ}[Name=="added"].Value`])).get(`${made}Value`)).toBe("1");
      await expect(controller.create(OBJ, { Name: "added" })).rejects.toBeInstanceOf(UspError);
    } finally {
      await controller.remove(made);
    }
  },

  Delete: async (controller) => {
    const made = await Promise.all(["x", "y", "z"].map((name) => controller.create(OBJ, { Name: `gone-${name}` })));
    expect((await controller.remove(made[0] as string)).map(String)).toEqual([made[0]]);
    expect([...(await controller.remove(`${OBJ}*.`))].sort()).toEqual(made.slice(1).sort());
    expect(await controller.read([OBJ])).toEqual(new Map());
  },

  "Operate, synchronous": async (controller) => {
    const output = await controller.run(`${BENCH}Echo()`, { Text: "hello", Times: "3" });
    expect(output.get("Text")).toBe("hellohellohello");
    await expect(controller.run(`${BENCH}Echo()`)).rejects.toMatchObject({ code: 7027 });
  },

  "Operate, asynchronous": async (controller) => {
    const [started] = await controller.operate(`${BENCH}Wait()`, { Seconds: "1" });
    expect(started).toMatchObject({ command: `${BENCH}Wait()` });
    expect(started?.error).toBeUndefined();
    expect(Number(started?.output.get("Waited"))).toBeGreaterThanOrEqual(900);
  },

  "Operate, cancelled": async (controller) => {
    const completions = await controller.subscribe({ kind: "OperationComplete", references: [`${BENCH}Wait()`] });
    const [started] = await controller.operate(`${BENCH}Wait()`, { Seconds: "600" }, { wait: false });
    const request = started?.request as string;
    expect(request).toMatch(/^Device\.LocalAgent\.Request\.\d+/);
    await controller.run(`${request.replace(/\.$/, "")}.Cancel()`);
    const end = (await next(completions)) as Notification & { kind: "OperationComplete" };
    expect(end.error).toMatchObject({ code: 7023 });
    await completions.close();
  },

  GetInstances: async (controller) => {
    const [rows] = await controller.instances([`${BENCH}Row.`]);
    expect(rows?.instances.map(({ path }) => path)).toEqual(
      Array.from({ length: BENCH_ROWS }, (_, index) => `${BENCH}Row.${index + 1}.`),
    );
    const [keyed] = await controller.instances(["Device.LocalAgent.Controller."], { firstLevelOnly: true });
    expect(keyed?.instances[0]?.uniqueKeys.get("EndpointID")).toContain(":");
  },

  GetSupportedDM: async (controller) => {
    const [supported] = await controller.supported([BENCH]);
    expect(supported?.objects.map(({ path }) => path)).toContain(`${OBJ.replace(/\.$/, "")}.{i}.`);
    expect(supported?.objects[0]?.commands.find(({ name }) => name === "Wait()")?.type).toBe("async");
    const [whole] = await controller.supported(["Device."]);
    expect(whole?.objects.length).toBeGreaterThan(20);
  },

  GetSupportedProtocol: async (controller) => {
    expect(await controller.protocols()).toEqual(expect.arrayContaining(["1.0", "1.3", "1.4"]));
  },

  "Register and Deregister": async (controller) => {
    const value = { allowPartial: false, regPaths: [{ path: "Device.X_OTHER." }] };
    const registered = controller.request({ $case: "register", value });
    await expect(registered).rejects.toBeInstanceOf(UspError);
    const deregistered = controller.request({ $case: "deregister", value: { paths: ["Device.X_OTHER."] } }).then(
      (response) => JSON.stringify(response),
      (error: unknown) => {
        expect(error).toBeInstanceOf(UspError);
        return "operFailure";
      },
    );
    expect(await deregistered).toContain("operFailure");
  },

  Error: async (controller) => {
    const objects = [{ path: BENCH, values: { NoSuch: "1" } }];
    await expect(controller.set(objects)).rejects.toMatchObject({ name: "UspError", path: `${BENCH}NoSuch` });
  },

  "Notify of ValueChange": async (controller) => {
    const value = `changed ${Math.random()}`;
    await notified(controller, "ValueChange", [`${BENCH}Mem`], () => controller.write(BENCH, { Mem: value }), {
      path: `${BENCH}Mem`,
      value,
    });
  },

  "Notify of ObjectCreation": async (controller) => {
    let made = "";
    const act = async () => void (made = await controller.create(OBJ, { Name: "seen" }));
    const { path, uniqueKeys } = (await notified(controller, "ObjectCreation", [OBJ], act)) as Notification & {
      kind: "ObjectCreation";
    };
    expect([path, uniqueKeys.get("Name")]).toEqual([made, "seen"]);
    await controller.remove(made);
  },

  "Notify of ObjectDeletion": async (controller) => {
    const made = await controller.create(OBJ, { Name: "gone" });
    await notified(controller, "ObjectDeletion", [OBJ], () => controller.remove(made), { path: made });
  },

  "Notify of Event": async (controller) => {
    const act = () => controller.run(`${BENCH}Fire()`, { Text: "fired" });
    const event = (await notified(controller, "Event", [`${BENCH}Fired!`], act, {
      path: `${BENCH}Fired!`,
    })) as Notification & { kind: "Event" };
    expect(event.params.get("Text")).toBe("fired");
  },

  "Notify of OperationComplete": async (controller) => {
    const act = () => controller.operate(`${BENCH}Wait()`, { Seconds: "0" }, { wait: false, commandKey: "key-1" });
    await notified(controller, "OperationComplete", [BENCH], act, { path: `${BENCH}Wait()`, commandKey: "key-1" });
  },

  "Notify of OnBoardRequest": async (controller) => {
    const own = await controllerRow(controller);
    const notifications = controller.notifications();
    await controller.run(`${own}SendOnBoardRequest()`);
    const told = await within(
      20_000,
      nextOf(notifications, ({ kind }) => kind === "OnBoardRequest"),
    );
    expect(told).toMatchObject({ subscriptionId: "", oui: expect.stringMatching(/^[0-9A-F]{6}$/) });
    expect(told).toMatchObject({ versions: expect.arrayContaining(["1.4"]) });
    await notifications.close();
  },

  "Notify again until NotifyResp": async (controller, bench) => {
    const own = await controllerRow(controller);
    const before = [...(await controller.read([`${own}${RETRY}`])).values()][0] as string;
    await controller.write(own, { [RETRY]: "1" });
    const subscription = await controller.subscribe({ kind: "Event", references: [`${BENCH}Fired!`], retry: true });
    controller.answersNotifications = false;
    await controller.run(`${BENCH}Fire()`, { Text: "again" });
    const first = await next(subscription);
    // Another connection does not know that the Message is the same, and answers it.
    await controller.close();
    const other = await bench.connect();
    try {
      const notifications = other.notifications();
      const again = await within(
        30_000,
        nextOf(notifications, ({ subscriptionId }) => subscriptionId === subscription.id),
      );
      expect(again.msgId).toBe(first.msgId);
      await other.write(own, { [RETRY]: before });
      await other.remove(subscription.path);
    } finally {
      await other.close();
    }
  },

  "a request and an answer of 60 kB each": async (controller) => {
    const text = "0123456789abcdef".repeat(4_000);
    expect((await controller.run(`${BENCH}Echo()`, { Text: text })).get("Text")).toBe(text);
  },

  "200 requests at one time, each with its answer": async (controller) => {
    const texts = Array.from({ length: 200 }, (_, index) => `number ${index}`);
    const answers = await Promise.all(texts.map((text) => controller.run(`${BENCH}Echo()`, { Text: text })));
    expect(answers.map((answer) => answer.get("Text"))).toEqual(texts);
  },
};

/** @param transport as the manual's table calls it: `STOMP over RabbitMQ`. */
export function messageContract(transport: string, bench: () => MessageBench): void {
  describe(`${transport} carries`, () => {
    let controller: Controller;
    beforeEach(async () => {
      controller = await bench().connect();
    }, 60_000);
    afterEach(() => controller?.close());

    test.each(Object.entries(MESSAGES))("%s", async (_, run) => run(controller, bench()), 60_000);
  });
}

/** Subscribes, acts, and gives what was told. */
async function notified(
  controller: Controller,
  kind: Exclude<NotificationKind, "OnBoardRequest">,
  references: readonly string[],
  act: () => Promise<unknown>,
  expected: object = {},
): Promise<Notification> {
  const subscription = await controller.subscribe({ kind, references, retry: true });
  try {
    await act();
    const told = await next(subscription);
    expect(told).toMatchObject({ kind, subscriptionId: subscription.id, ...expected });
    return told;
  } finally {
    await subscription.close();
  }
}

const next = (subscription: Subscription) =>
  within(
    20_000,
    nextOf(subscription, () => true),
  );

/** The next that fits; the iteration stays open for others. */
async function nextOf(
  notifications: AsyncIterable<Notification>,
  fits: (notification: Notification) => boolean,
): Promise<Notification> {
  const iterator = notifications[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) throw new Error("the notifications ended");
    if (fits(value)) return value;
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The row of the controller that the connection speaks as: that of its newest subscription. */
async function controllerRow(controller: Controller): Promise<string> {
  const subscription = await controller.subscribe({ kind: "Event", references: ["Device.Boot!"] });
  try {
    const path = `${subscription.path}Recipient`;
    return `${(await controller.read([path])).get(path) ?? ""}.`;
  } finally {
    await subscription.close();
  }
}
