/** What the kernel refuses of a list that it holds already. */
import { silentLog } from "../../../src/lib/log.ts";
import { ListBook } from "../../../src/spin/lists/book.ts";
import { parseList } from "../../../src/spin/lists/parse.ts";
import { Placing } from "../../../src/spin/lists/placing.ts";
import { newRule } from "../../../src/spin/rules.ts";
import { ListRefusal, type Enforcer } from "../../../src/spin/ruleset.ts";
import { eventually } from "../../support/eventually.ts";

test("an update that the kernel has no room for leaves rules on the list what they had", async () => {
  const book = new ListBook();
  const calls: string[] = [];
  const enforcer = {
    list: (number: number, ranges: { v4: Uint32Array } | undefined) => {
      calls.push(`${number} ${ranges ? ranges.v4.length / 2 : "gone"}`);
      return ranges && ranges.v4.length / 2 > 2 ? Promise.reject(new ListRefusal("too big")) : Promise.resolve();
    },
  } as unknown as Enforcer;
  const destinations = { prefixes: [], domains: [], lists: ["Device.X_SPIN.List.1."] };
  const rules = [newRule({ id: 1, enable: true, action: "Block", macs: "*", destinations })];
  const placing = new Placing({
    book,
    enforcer,
    rules: () => rules,
    settled: () => Promise.resolve(),
    log: silentLog,
  });
  book.onChange(() => placing.changed());
  const fill = async (...addresses: string[]) => {
    const content = await parseList([Buffer.from(addresses.join("\n"))], { format: "Plain", excluded: [] });
    book.fill(1, content);
  };
  const state = () => Promise.resolve(book.resolve("Device.X_SPIN.List.1.")?.state ?? "none");
  const called = (count: number) =>
    eventually(
      () => Promise.resolve(calls.length),
      (length) => length >= count,
      { what: "calls" },
    );
  await placing.start();
  book.put({ number: 1, enable: true });
  await fill("198.51.100.1", "198.51.100.3", "198.51.100.5");
  await called(1);
  await eventually(state, (is) => is === "refused", { what: "its refusal" });
  await fill("198.51.100.1");
  await eventually(state, (is) => is === "ready", { what: "its place" });
  await fill("198.51.100.1", "198.51.100.3", "198.51.100.5");
  await called(3);
  await placing.close();
  expect(await state()).toBe("ready");
  expect(calls).toEqual(["1 3", "1 1", "1 3"]);
});
