/** A disk that refuses: what is asked is in force, and whoever asked is told in the same words whatever it was. */
import { memoryStore, type Store } from "../../src/lib/store.ts";
import { deletion, operation } from "../usp/support.ts";
import { Gateway, PHONE, print, refusal, ROOT, trySet, value } from "./support.ts";

const WORDS = "in force now, but could not be saved: ENOSPC: no space left on device";

class Disk {
  isFull = false;
  readonly #memory = memoryStore();
  readonly store: Store;

  constructor() {
    const refusal = () => (this.isFull ? "ENOSPC: no space left on device" : "");
    this.store = {
      ...this.#memory,
      save: (name, document) =>
        this.isFull
          ? Promise.reject(Object.assign(new Error(refusal()), { code: "ENOSPC" }))
          : this.#memory.save(name, document),
      get refusal() {
        return refusal();
      },
    };
  }
}

describe("a full disk", () => {
  const disk = new Disk();
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = (await Gateway.start({ store: disk.store })).withDevices();
    await gateway.settled();
    disk.isFull = true;
    gateway.spin.tick();
  });
  afterAll(async () => {
    disk.isFull = false;
    await gateway.stop();
  });

  test("shows in Status and StatusReason", async () => {
    const operator = gateway.as("Operator");
    expect(await value(operator, `${ROOT}Status`)).toBe("Degraded");
    expect(await value(operator, `${ROOT}StatusReason`)).toBe("state can't be saved: ENOSPC: no space left on device");
  });

  test("is told at a Set of a device's Name, which stands", async () => {
    const { code, text } = await trySet(gateway.as("Operator"), gateway.device(PHONE), { Name: "Phone" });
    expect({ code, text }).toEqual({ code: 7005, text: expect.stringContaining(WORDS) });
    expect(await value(gateway.as("Operator"), `${gateway.device(PHONE)}Name`)).toBe("Phone");
  });

  test("is told at Block(), which blocks, and at the Delete of its rule, which frees", async () => {
    const operator = gateway.as("Operator");
    expect(await refusal(operator, `${gateway.device(PHONE)}Block()`)).toMatchObject({ errCode: 7005, errMsg: WORDS });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    const [rule] = gateway.spin.rules.list();
    const answer = print(await operator.ask(deletion([`${ROOT}Rule.${rule?.id}.`])));
    expect(answer).toContain("7005");
    expect(answer).toContain(WORDS);
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
  });

  test("is over once there is room", async () => {
    disk.isFull = false;
    gateway.spin.tick();
    expect(await value(gateway.as("Operator"), `${ROOT}Status`)).toBe("Running");
    const answer = print(await gateway.as("Operator").ask(operation(`${gateway.device(PHONE)}Block()`)));
    expect(answer).not.toContain("7005");
  });
});
