/** What lists may take of the kernel's memory, whoever makes them; that they work is tried in a kernel (test/e2e/lists.test.ts). */
import { KernelLists } from "../../src/enforce/lists.ts";
import type { Transport } from "../../src/enforce/transport.ts";
import { silentLog } from "../../src/lib/log.ts";
import { ListRefusal } from "../../src/spin/ruleset.ts";

/** So many single addresses, none beside another. */
const ranges = (count: number) => ({
  v4: Uint32Array.from({ length: 2 * count }, (_, i) => 0x0b000000 + 2 * (i >> 1)),
  v6: new Uint32Array(0),
});

test("lists in rules share a bound of the kernel's memory, and what one gives back another can have", async () => {
  const nothing = () => Promise.resolve();
  const lists = new KernelLists({
    transport: {
      bulk: { transact: nothing, dump: nothing },
      change: () => Promise.resolve(new Map()),
    } as unknown as Transport,
    log: silentLog,
    now: () => 0,
    heldBy: () => [],
    useLevels: () => undefined,
    turn: (work) => work(),
  });
  lists.setNetwork({ lanInterfaces: [], lanPrefixes: [], gatewayAddresses: [], management: [] });
  await lists.set(1, ranges(300_000));
  await expect(lists.set(2, ranges(250_000))).rejects.toThrow(ListRefusal);
  await lists.set(2, ranges(150_000));
  await lists.set(1, ranges(350_000));
  await expect(lists.set(1, ranges(350_001))).rejects.toThrow("together");
  await lists.set(1, ranges(1000));
  await lists.set(2, ranges(400_000));
});
