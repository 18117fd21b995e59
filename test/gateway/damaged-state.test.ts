/** Each file of the state, lost or damaged alone: the agent starts, says so, and the resident's door stands. */
import { Gateway } from "../objects/support.ts";
import { memoryStore, type Store } from "../../src/lib/store.ts";

/** A store that has lost one document, or finds something else in its place. */
async function without(store: Store, name: string, instead?: unknown): Promise<Store> {
  const copy = memoryStore();
  for (const document of DOCUMENTS) {
    const kept = store.load(document);
    if (document !== name && kept !== undefined) await copy.save(document, kept);
  }
  if (instead !== undefined) await copy.save(name, instead);
  return copy;
}

const DOCUMENTS = [
  "seeded",
  "identity",
  "home",
  "model-device-localagent",
  "model-device-mqtt-client",
  "model-device-x_spin",
  "model-device-bulkdata",
  "model-device-stomp-connection",
  "model-device-unixdomainsockets-unixdomainsocket",
];

test.each(DOCUMENTS.flatMap((name) => [[name, undefined] as const, [name, { version: 99 }] as const]))(
  "%s, with %j in its place",
  async (name, instead) => {
    const first = await Gateway.start({ residentSocket: "/nowhere/resident.sock" });
    await first.stop();
    await first.store.flush();
    const store = await without(first.store, name, instead);
    for (let start = 0; start < 2; start++) {
      const gateway = await Gateway.start({ store, residentSocket: "/nowhere/resident.sock" });
      const table = gateway.tree.object("Device.LocalAgent.MTP.");
      const doors = [...gateway.tree.all(table!)].filter((row) => gateway.tree.text(row, "Protocol") === "UDS");
      expect(doors).toHaveLength(1);
      expect(gateway.controllerRow("self::resident")).toMatch(/^Device\.LocalAgent\.Controller\.\d+$/);
      await gateway.stop();
      await store.flush();
    }
  },
);
