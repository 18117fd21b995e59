/** Where `ctl` goes: to what it is told, else to the resident's own door, else to a broker on this machine. */
import { parseCtl } from "../../src/cli/ctl-options.ts";

const where = (args: string[], env: Record<string, string> = {}, mayConnect = true) => {
  const { url, mqtt, agentId } = parseCtl([...args, "devices"], { env, mayConnect: () => mayConnect }).connection();
  return { to: url ?? mqtt.url, agentId };
};

const AGENT = ["--agent", "os::00D09E-1"];

test.each([
  [[], {}, { to: "unix:/run/spin-usp/resident.sock", agentId: "" }],
  [AGENT, {}, { to: "unix:/run/spin-usp/resident.sock", agentId: "os::00D09E-1" }],
  [["--socket", "/tmp/s"], {}, { to: "unix:/tmp/s", agentId: "" }],
  [[], { SPIN_USP_SOCKET: "/tmp/s" }, { to: "unix:/tmp/s", agentId: "" }],
  [[...AGENT, "--broker", "mqtt://b"], {}, { to: "mqtt://b", agentId: "os::00D09E-1" }],
  [[...AGENT, "--broker", "mqtt://b"], { SPIN_USP_SOCKET: "/tmp/s" }, { to: "mqtt://b", agentId: "os::00D09E-1" }],
  [AGENT, { SPIN_USP_BROKER: "mqtt://b" }, { to: "mqtt://b", agentId: "os::00D09E-1" }],
  [AGENT, { SPIN_USP_URL: "wss://a/usp" }, { to: "wss://a/usp", agentId: "os::00D09E-1" }],
])("with %j and %j ctl goes to %j", (args, env, expected) => {
  expect(where(args, env)).toEqual(expected);
});

test("where the resident's door is not there, or not open to us, ctl goes to the broker and asks which agent", () => {
  expect(where(AGENT, {}, false).to).toBe("mqtt://127.0.0.1:1883");
  expect(() => where([], {}, false)).toThrow("--agent");
});
