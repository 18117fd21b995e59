/**
 * Flow offload: packets of established flows go round every hook of the firewall, so that a drop in a chain does not stop
 * them. A rule does, because the agent ends the flows in conntrack; and it says that counters may be partial.
 */
import { resolve } from "node:path";
import { machineMissing, runMachine } from "../support/offload/machine.ts";
import { describeUnless } from "../support/needs.ts";

const TIMEOUT_MS = 400_000;
/** Two seconds of a stream that sends each 10 ms. */
const MANY = 40;

describeUnless(machineMissing(), "flow offload, on a stock kernel in a virtual machine", () => {
  test(
    "is seen, and what a rule blocks stops though no hook sees its packets",
    async () => {
      const text = await runMachine(resolve("test/support/offload/guest.sh"), TIMEOUT_MS);
      const of = (name: string) => {
        const found = new RegExp(`SEEN ${name} (.*?)\\r?$`, "m").exec(text)?.[1];
        if (found === undefined) throw new Error(`no ${name} in what the machine said:\n${text.slice(-6000)}`);
        return found.split(" ");
      };
      const numbers = (name: string) => of(name).map(Number) as [number, number, number];
      expect(text.match(/SEEN (failed|missing).*/g)).toBeNull();
      expect(numbers("entries").every((count) => count >= 1)).toBe(true);
      const [tcp, udp, hook] = numbers("offloaded");
      expect([tcp > MANY, udp > MANY, hook < MANY / 4]).toEqual([true, true, true]);
      expect(of("accuracy")).toEqual(["Partial"]);
      expect(numbers("counted")[0]).toBeGreaterThan(MANY);
      const [tcpOn, udpOn] = numbers("dropped-in-forward");
      expect([tcpOn > MANY, udpOn > MANY]).toEqual([true, true]);
      expect(numbers("blocked").slice(0, 2)).toEqual([0, 0]);
      expect(of("entries-after")).toEqual(["0", "0"]);
      expect(of("bridge-table")).toEqual(["1"]);
    },
    TIMEOUT_MS + 20_000,
  );
});
