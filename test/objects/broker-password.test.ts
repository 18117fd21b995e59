/** What becomes of a password that was written for a broker, when the row is pointed at another. */
import type { InstanceNode } from "../../src/model/tree.ts";
import { setMany } from "../usp/support.ts";
import { Gateway, tryAdd, trySet } from "./support.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.start();
});
afterAll(() => gateway.stop());

const OLD = "old.example";
const NEW = "new.example";

describe.each([
  ["Device.MQTT.Client.", "BrokerAddress"],
  ["Device.STOMP.Connection.", "Host"],
])("a password in %s", (table, address) => {
  let row: string;
  const password = () => {
    const node = gateway.tree.at(row) as InstanceNode;
    return node.object.params.get("Password")?.read(node.row);
  };
  const set = (params: Record<string, string>) => trySet(gateway.as("Admin"), row, params);

  beforeEach(async () => {
    row = (await tryAdd(gateway.as("Admin"), table, { [address]: OLD, Username: `u${Math.random()}` })).path;
    await set({ Password: "secret" });
    expect(password()).toBe("secret");
  });

  test("stays while the address does", async () => {
    await set({ [address]: OLD, Username: `v${Math.random()}`, Enable: "false" });
    expect(password()).toBe("secret");
  });

  test("is cleared with the address, by whomever", async () => {
    expect((await set({ [address]: NEW })).code).toBe(0);
    expect(password()).toBe("");
    await set({ [address]: OLD });
    expect(password()).toBe("");
  });

  test.each([
    ["before", (secret: string) => ({ Password: secret, [address]: NEW })],
    ["after", (secret: string) => ({ [address]: NEW, Password: secret })],
  ])("comes along where it is given anew, %s the address", async (_, params) => {
    await set(params("secret"));
    expect(password()).toBe("secret");
    await set({ ...params("other"), [address]: OLD });
    expect(password()).toBe("other");
  });

  test("stays where the Set fails", async () => {
    expect((await set({ [address]: NEW, Enable: "perhaps" })).code).not.toBe(0);
    expect(password()).toBe("secret");
  });

  test("is not saved by a part of the Set that gives it and fails", async () => {
    const parts = [{ Password: "guess", Enable: "perhaps" }, { [address]: NEW }];
    await gateway.as("Admin").ask(
      setMany(
        parts.map((params) => ({ objPath: row, params })),
        { allowPartial: true },
      ),
    );
    expect(gateway.tree.text(gateway.tree.at(row) as InstanceNode, address)).toBe(NEW);
    expect(password()).toBe("");
  });
});
