/** The helper's packet socket at a live home's bridge, and the double that other tests use in its place. */
import { helperTap } from "../../../src/capture/live/frame-tap.ts";
import { parseMac } from "../../../src/lib/address.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { NetfilterHelper } from "../../../src/netlink/helper.ts";
import { frameTapContract, type TapBed } from "../../contracts/frame-tap.ts";
import { buildHelper } from "../../netlink/helper-fixture.ts";
import { GATEWAY4 } from "../../support/home-network.ts";
import { Home, homeMissing } from "../../support/home.ts";
import { describeUnless } from "../../support/needs.ts";
import { ScriptedTap } from "../../support/scripted-tap.ts";

describe("the double", () => {
  const tap = new ScriptedTap();
  const macs = [0x020000000001, 0x020000000002] as const;
  const frame = (to: number, from: number) => {
    const bytes = Buffer.alloc(300, 1);
    bytes.writeUIntBE(to, 0, 6);
    bytes.writeUIntBE(from, 6, 6);
    return bytes;
  };
  frameTapContract(() => ({
    tap,
    interface: "br-lan",
    macs,
    speak: (device) => {
      tap.pass(frame(0x02000000ffff, macs[device]));
      tap.pass(frame(macs[device], 0x02000000ffff));
      return Promise.resolve();
    },
  }));
});

describe("without a helper", () => {
  it("says why nothing can be captured", () => {
    expect(helperTap(undefined).unusable()).toMatch(/there is none/);
    const idle = new NetfilterHelper({ command: ["/bin/false"], log: silentLog });
    expect(helperTap(idle).unusable()).toMatch(/does not run/);
  });
});

describeUnless(homeMissing(), "the helper at a bridge", () => {
  let home: Home;
  let bed: TapBed;
  const stop = new AbortController();
  let running: Promise<void>;
  beforeAll(async () => {
    home = await Home.up({ devices: 2 });
    const helper = new NetfilterHelper({
      command: ["ip", "netns", "exec", home.gateway, buildHelper(true)],
      log: silentLog,
    });
    running = helper.run(stop.signal);
    expect(await helper.usable()).toBeUndefined();
    bed = {
      tap: helperTap(helper),
      interface: "br-lan",
      macs: [1, 2].map((each) => parseMac(home.device(each).mac) as number) as [number, number],
      speak: async (device) => void (await home.device(device + 1).ping(GATEWAY4, { count: 2, size: 200 })),
    };
  }, 30_000);
  afterAll(async () => {
    stop.abort();
    await running;
    await home?.down();
  });
  frameTapContract(() => bed);
});
