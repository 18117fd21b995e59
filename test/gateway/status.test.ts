/** The file that doctor reads: news at once, and no wear of flash by records that merely come and go. */
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STATUS_FILE, writeStatus, type AgentStatus } from "../../src/gateway/status.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import type { Northbound } from "../../src/gateway/northbound.ts";
import { Gateway } from "../objects/support.ts";
import { START } from "../spin/home.ts";

test.each([
  ["in memory, with a link to it in the state directory", "run/spin-usp"],
  ["in the state directory, where the runtime directory can't be made", "a-file/spin-usp"],
])("is written at once for news, and for later records once a minute: %s", async (_, runtime) => {
  const directory = mkdtempSync(join(tmpdir(), "spin-usp-status-"));
  writeFileSync(join(directory, "a-file"), "");
  const runtimeDirectory = join(directory, runtime);
  let parts: Northbound | undefined;
  const gateway = await Gateway.start({ before: (northbound) => (parts = northbound) });
  const { tree, mtpStates, mqttStates, stompStates } = parts as Northbound;
  const clock = new ManualClock(START);
  jest.useFakeTimers({
    doNotFake: ["performance", "Date", "setImmediate", "setTimeout", "queueMicrotask", "nextTick"],
  });
  const status = writeStatus({
    directory,
    runtimeDirectory,
    tree,
    mtpStates,
    mqttStates,
    stompStates,
    home: gateway.spin,
    sources: [],
    clock,
    identity: { endpointId: "os::02AA00-1", oui: "02AA00", productClass: "", serialNumber: "1" } as never,
  });
  try {
    const state = mqttStates.of(tree.text(tree.at("Device.LocalAgent.MTP.1.MQTT.")!, "Reference") ?? "");
    const after = (ms: number) => {
      clock.advance(ms);
      jest.advanceTimersByTime(2000);
      const said = JSON.parse(readFileSync(join(directory, STATUS_FILE), "utf8")) as AgentStatus;
      return said.mtps[0]?.lastRecordIn;
    };
    const at = (ms: number) => new Date(START + ms).toISOString();
    expect(after(2000)).toBe("never");
    const { controllers } = JSON.parse(readFileSync(join(directory, STATUS_FILE), "utf8")) as AgentStatus;
    expect(controllers.find(({ endpointId }) => endpointId === "self::operator")?.topic).toBe("to/self::operator");
    expect(controllers.find(({ endpointId }) => endpointId === "self::resident")?.topic).toBe(
      "its socket, while it is connected",
    );
    state.lastReceived = START + 1;
    expect(after(2000)).toBe(at(1));
    state.lastReceived = START + 2;
    expect(after(2000)).toBe(at(1));
    state.lastReceived = START + 3;
    expect(after(60_000)).toBe(at(3));
    state.lastReceived = START + 4;
    state.reason = "the broker closed the connection";
    expect(after(2000)).toBe(at(4));
    state.lastReceived = START + 5;
    status.stop();
    expect(after(0)).toBe(at(5));
    expect(lstatSync(join(directory, STATUS_FILE)).isSymbolicLink()).toBe(existsSync(runtimeDirectory));
    expect(existsSync(runtimeDirectory)).toBe(runtime.startsWith("run"));
  } finally {
    status.stop();
    jest.useRealTimers();
    await gateway.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});
