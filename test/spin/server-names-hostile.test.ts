/** What a device says of itself must not open or keep open an exception, however it mixes that with answers. */
import { newRule } from "../../src/spin/rules.ts";
import type { Spin } from "../../src/spin/spin.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { TestHome } from "./home.ts";

const DEVICE = "192.0.2.10";
const PEER = "198.51.100.7";

async function excepted() {
  const enforcer = new WritingEnforcer();
  const home = new TestHome({ enforcer }).network().neighbour(1, DEVICE);
  put(home.spin, "Allow", ["good.example"]);
  put(home.spin, "Block", ["example"]);
  await home.spin.settled();
  const said = () =>
    home.tell({
      kind: "server-name",
      time: home.clock.now(),
      client: DEVICE,
      address: PEER,
      port: 443,
      protocol: 6,
      name: "good.example",
      ech: false,
    });
  /** What counts is told anew when the policy is applied again. */
  const toldAgain = async () => {
    enforcer.take();
    put(home.spin, "Block", [`else${numbers}.test`]);
    await home.spin.settled();
    return enforcer.take().filter((call) => call.startsWith("+"));
  };
  return { home, said, toldAgain };
}
const HOLDS = [`+ 01 good.example ${PEER}`, `+ 01 example ${PEER}`];

test("an exception by an answer ends with the answer, whatever the device goes on saying", async () => {
  const { home, said, toldAgain } = await excepted();
  home.answer(DEVICE, ["good.example"], [PEER], 60);
  said();
  expect(await toldAgain()).toEqual(HOLDS);
  for (let minute = 0; minute < 30; minute++) {
    home.after(60_000);
    said();
  }
  expect(await toldAgain()).toEqual([]);
  home.answer(DEVICE, ["good.example"], [PEER], 60);
  expect(await toldAgain()).toEqual(HOLDS);
});

test("an exception lasts no longer than the answer because the device said the name before", async () => {
  const { home, said, toldAgain } = await excepted();
  said();
  home.answer(DEVICE, ["good.example"], [PEER], 60);
  expect(await toldAgain()).toEqual(HOLDS);
  home.after(120_000);
  expect(await toldAgain()).toEqual([]);
});

let numbers = 0;
function put(spin: Spin, action: "Block" | "Allow", domains: string[]): void {
  const destinations = { prefixes: [], domains, lists: [] };
  spin.rules.put(newRule({ id: ++numbers, enable: true, action, macs: "*", destinations }));
}
