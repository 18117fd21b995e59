/** What only a kernel can show: restarts, others' hands on the table, the boot script, and how devices move. */
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RULESET_VERSION } from "../../src/enforce/nftables.ts";
import { parseMac, parsePrefix } from "../../src/lib/address.ts";
import { fillers, ruleOf } from "../contracts/enforcer.ts";
import { helperMissing } from "../netlink/helper-fixture.ts";
import { NETWORK, RULESET_FILE, kernelBed, type Backend, type KernelBed } from "../support/enforcer-bed.ts";
import type { HomeDevice } from "../support/home-device.ts";
import { homeMissing } from "../support/home.ts";
import { describeUnless, missing } from "../support/needs.ts";

const WEB = "198.51.100.10";
const WEB6 = "2001:db8:100::10";
const OTHER = "198.51.100.13";
const BOOT = resolve("src/enforce/boot.sh");

const macOf = (device: HomeDevice) => parseMac(device.mac) as number;
const held = (device: HomeDevice, address: string) => ({ kind: "device" as const, mac: macOf(device), address });
const named = (device: HomeDevice, domain: string, address: string, ms = 60_000) => ({
  kind: "name" as const,
  mac: macOf(device),
  domain,
  address,
  expires: Date.now() + ms,
});
const everyone = (bed: KernelBed) =>
  bed.devices.flatMap((device) => [held(device, device.ipv4), held(device, device.ipv6)]);

async function started(backend: Backend, savedFile?: string): Promise<KernelBed> {
  const bed = await kernelBed(backend, savedFile === undefined ? {} : { savedFile });
  await bed.enforcer.start(bed.network);
  await bed.enforcer.addresses({ added: everyone(bed), removed: [] });
  return bed;
}

describe("the ruleset", () => {
  const text = readFileSync(RULESET_FILE, "utf8");
  const chain = (name: string) => new RegExp(`chain ${name} \\{\\n([^}]*)\\}`).exec(text)?.[1] ?? "";

  it("has the version that the agent expects", () => {
    expect(/set version \{\s+type mark\s+elements = \{ (\d+) \}/.exec(text)?.[1]).toBe(String(RULESET_VERSION));
  });

  const LAYERS = ["pair", "network", "box", "device", "destination", "service"];
  const VERDICTS = ["accept", "goto blocked", "goto rejected"];

  it("says the same at each level, but for the level and its verdict", () => {
    for (const base of ["up4", "up6", "down4", "down6"])
      for (const [index, layer] of LAYERS.entries()) {
        const doubled = layer === "box" || layer === "service";
        const atLevel = (level: number) => {
          const verdict = level === 9 ? "" : ` ${VERDICTS[level % 3]}`;
          const lines = chain(`${base}_${level}_${layer}`).trimEnd().split("\n");
          for (const line of lines)
            expect([layer, level, line]).toEqual([layer, level, expect.stringMatching(`@\\w+${verdict}$`)]);
          return lines.map((line) =>
            line
              .slice(0, line.length - verdict.length)
              .replace(
                /mark & 0 \| (\d+)/,
                (_, code: string) => `LEVEL ${doubled ? Number(code) - 2 * level : Number(code) - level}`,
              )
              .replace(`${base.at(-1)}_${level}`, "_LEVEL"),
          );
        };
        for (let level = 0; level <= 9; level++) {
          expect(atLevel(level)).toEqual(atLevel(0));
          const code = 16 + LAYERS.length * level + index;
          expect(chain(`${base}_${level}`)).toContain(
            `meta mark & 0 | ${code} @used_${base} jump ${base}_${level}_${layer}\n`,
          );
          expect(chain(base)).toContain(`meta mark & 0 | ${level} @used_${base} jump ${base}_${level}\n`);
        }
      }
  });

  it("asks levels and layers in their order", () => {
    const jumps = (name: string) => [...chain(name).matchAll(/jump (\w+)/g)].map((match) => match[1]);
    expect(jumps("down6")).toEqual([9, 0, 1, 2, 3, 4, 5, 6, 7, 8].map((level) => `down6_${level}`));
    expect(jumps("up4_5")).toEqual([...LAYERS, "list"].map((layer) => `up4_5_${layer}`));
  });

  it("says the same for both families", () => {
    const asIPv6 = (name: string) =>
      chain(name)
        .replace(/\bip ([sd]addr)/g, "ip6 $1")
        .replace(/@(pair|network|box|service)((?:_up|_down)?)4\b/g, "@$1$26")
        .replace("@device_down4", "@device_down6")
        .replace("@destination4_", "@destination6_");
    for (const way of ["up", "down"])
      for (let level = 0; level <= 9; level++)
        for (const layer of LAYERS)
          expect(asIPv6(`${way}4_${level}_${layer}`)).toBe(chain(`${way}6_${level}_${layer}`));
  });
});

describeUnless(homeMissing() ?? helperMissing() ?? missing("socat", "nc"), "the rules in the kernel", () => {
  for (const backend of ["nft", "helper"] as const) {
    describe(`through ${backend}`, () => {
      let bed: KernelBed;
      beforeAll(async () => void (bed = await started(backend)), 30_000);
      afterAll(async () => await bed.down());
      afterEach(async () => void (await bed.enforcer.apply({ rules: [] })));

      it("follow a device that changes its IPv4 address and takes another IPv6 address", async () => {
        const [first] = bed.devices;
        await bed.enforcer.apply({ rules: [ruleOf({ macs: [first.mac], to: "*" })] });
        const old = first.ipv4;
        await first.changeIPv4("192.168.77.99");
        const fresh = await first.addPrivacyAddress();
        // Upwards the hardware address counts, at once.
        expect(await bed.ask(first, "udp", WEB)).toBe("silent");
        await bed.enforcer.addresses({
          added: [held(first, first.ipv4), held(first, fresh)],
          removed: [held(first, old)],
        });
        expect(await bed.askedBy(first, WEB6)).toBe("silent");
        await bed.enforcer.apply({ rules: [] });
        expect(await bed.askedBy(first, WEB6)).toBe("answered");
        await first.changeIPv4(old);
        await bed.enforcer.addresses({ added: [held(first, old)], removed: [held(first, "192.168.77.99")] });
      });

      it("cut nobody off whose address a blocked device claims and then loses again", async () => {
        const [first, second] = bed.devices;
        await bed.enforcer.apply({ rules: [ruleOf({ macs: [first.mac], to: "*" })] });
        await bed.enforcer.addresses({ added: [held(first, second.ipv4)], removed: [] });
        expect(await bed.ask(second, "udp", WEB)).toBe("silent");
        await bed.enforcer.addresses({ added: [held(second, second.ipv4)], removed: [] });
        expect(await bed.ask(second, "udp", WEB)).toBe("answered");
        expect(await bed.ask(first, "udp", WEB)).toBe("silent");
        // The loser's farewell takes nothing from the owner.
        await bed.enforcer.addresses({ added: [], removed: [held(first, second.ipv4)] });
        await bed.enforcer.apply({ rules: [ruleOf({ macs: [second.mac], to: "*" })] });
        expect(await bed.ask(second, "udp", WEB)).toBe("silent");
      });

      it("never cut the agent's connection to a broker in the home", async () => {
        const [first] = bed.devices;
        const broker = bed.home.spawn(first.namespace, "socat", ["TCP4-LISTEN:1883,fork,reuseaddr", "PIPE"]);
        const other = bed.home.spawn(first.namespace, "socat", ["TCP4-LISTEN:1884,fork,reuseaddr", "PIPE"]);
        const connects = async (port: string) =>
          (await bed.home.exec(bed.home.gateway, "nc", ["-z", "-w", "1", first.ipv4, port], { mayFail: true })).code ===
          0;
        for (let i = 0; i < 50 && !((await connects("1883")) && (await connects("1884"))); i++) await bed.wait(20);
        await bed.enforcer.start({ ...NETWORK, management: [{ address: first.ipv4, port: 1883 }] });
        await bed.enforcer.apply({
          rules: [ruleOf({ macs: [first.mac], to: "*" }), ruleOf({ id: 2, to: [first.ipv4] })],
        });
        expect(await connects("1883")).toBe(true);
        expect(await connects("1884")).toBe(false);
        await bed.enforcer.start(NETWORK);
        expect(await connects("1883")).toBe(false);
        broker.kill("SIGKILL");
        other.kill("SIGKILL");
      });

      it("never cut a connection that the agent has now, where it leads through the home, and lift nothing else", async () => {
        // Another box in the home leads there: every packet from there bears its hardware address.
        const [first] = bed.devices;
        const far = "203.0.113.9";
        await bed.home.exec(first.namespace, "ip", ["addr", "add", `${far}/32`, "dev", "lo"]);
        await bed.home.exec(bed.home.gateway, "ip", ["route", "add", `${far}/32`, "via", first.ipv4]);
        const servers = ["8883", "8884"].map((port) =>
          bed.home.spawn(first.namespace, "socat", [`TCP4-LISTEN:${port},fork,reuseaddr`, "PIPE"]),
        );
        const connects = async (port: string) =>
          (await bed.home.exec(bed.home.gateway, "nc", ["-z", "-w", "1", far, port], { mayFail: true })).code === 0;
        for (let i = 0; i < 50 && !((await connects("8883")) && (await connects("8884"))); i++) await bed.wait(20);
        await bed.enforcer.start(NETWORK);
        await bed.enforcer.apply({ rules: [ruleOf({ macs: [first.mac], to: "*" })] });
        expect([await connects("8883"), await connects("8884")]).toEqual([false, false]);
        await bed.enforcer.start({ ...NETWORK, connections: [{ address: far, port: 8883 }] });
        expect([await connects("8883"), await connects("8884")]).toEqual([true, false]);
        await bed.enforcer.start(NETWORK);
        expect(await connects("8883")).toBe(false);
        for (const server of servers) server.kill("SIGKILL");
        await bed.home.exec(bed.home.gateway, "ip", ["route", "del", `${far}/32`]);
        await bed.home.exec(first.namespace, "ip", ["addr", "del", `${far}/32`, "dev", "lo"]);
      });

      it("end established flows of a device in conntrack, and leave others' alone", async () => {
        const [first, second] = bed.devices;
        await first.udp(WEB);
        await first.udp(OTHER);
        await second.udp(WEB);
        const entries = async () => {
          const { stdout } = await bed.home.exec(bed.home.gateway, "conntrack", ["-L", "-p", "udp"]);
          const has = (device: HomeDevice, peer: string) => stdout.includes(`src=${device.ipv4} dst=${peer} `);
          return [has(first, WEB), has(first, OTHER), has(second, WEB)];
        };
        expect(await entries()).toEqual([true, true, true]);
        await bed.enforcer.cut([macOf(first)], [parsePrefix(WEB) as never]);
        expect(await entries()).toEqual([false, true, true]);
        await bed.enforcer.cut([], [parsePrefix("198.51.100.8/30") as never]);
        expect(await entries()).toEqual([false, true, false]);
        await bed.enforcer.cut([macOf(first)], []);
        expect(await entries()).toEqual([false, false, false]);
      });

      it("come back by themselves within two seconds when somebody flushes everything, and it is told", async () => {
        const [first] = bed.devices;
        await bed.enforcer.apply({
          rules: [...fillers(300), ruleOf({ macs: [first.mac], to: "*" }), ruleOf({ id: 2, domains: ["example"] })],
        });
        const lost = bed.enforcer.lost[Symbol.asyncIterator]();
        const told = lost.next();
        await bed.home.nft("flush ruleset");
        // The home's own firewall went as well; without it nothing is translated, so look at IPv6.
        const begun = performance.now();
        expect((await told).done).toBe(false);
        // What is asked of the enforcer now waits for the repair.
        await bed.enforcer.hits();
        expect(performance.now() - begun).toBeLessThan(2000);
        expect(await bed.ask(first, "icmp", WEB6)).toBe("silent");
        expect(await bed.ask(bed.devices[1], "icmp", WEB6)).toBe("answered");
        await bed.home.nft(
          'table inet fw4 { chain srcnat { type nat hook postrouting priority srcnat; oifname "wan" meta nfproto ipv4 masquerade; }; }',
        );
      });

      it("come back when somebody flushes a chain, or takes elements out", async () => {
        const [first] = bed.devices;
        await bed.enforcer.apply({ rules: [ruleOf({ macs: [first.mac], to: "*" })] });
        const lost = bed.enforcer.lost[Symbol.asyncIterator]();
        for (const harm of [
          "flush chain inet spin_usp forward_up",
          "flush set inet spin_usp device_up",
          "flush set inet spin_usp lan",
          "delete table inet spin_usp",
        ]) {
          const told = lost.next();
          await bed.home.nft(harm);
          const begun = performance.now();
          await told;
          await bed.enforcer.hits();
          expect([harm, performance.now() - begun < 2000]).toEqual([harm, true]);
          expect([harm, await bed.ask(first, "udp", WEB6)]).toEqual([harm, "silent"]);
        }
        // Another's reload of another table is nothing to us.
        await bed.wait(100);
        const before = bed.enforcer.health.lost;
        await bed.home.nft(
          "add table inet stranger; add chain inet stranger some; flush table inet stranger; delete table inet stranger",
        );
        await bed.wait(100);
        expect(bed.enforcer.health.lost).toBe(before);
      });
    });

    it(`stay over a restart without a packet through, through ${backend}`, async () => {
      const bed = await started(backend);
      try {
        const [first, second] = bed.devices;
        const rules = [
          ...fillers(30),
          ruleOf({ id: 1, macs: [first.mac], to: ["198.51.100.0/25"] }),
          ruleOf({ id: 2, domains: ["other.example"] }),
          ruleOf({ id: 3, to: ["198.51.100.77"] }),
        ];
        await bed.enforcer.apply({ rules });
        await bed.enforcer.addresses({
          added: [named(second, "other.example", "198.51.100.130", 600_000)],
          removed: [],
        });
        const streams = [
          first.stream("udp", WEB, { everyMs: 1 }),
          second.stream("udp", "198.51.100.130", { everyMs: 1 }),
          second.stream("udp", "198.51.100.77", { everyMs: 1 }),
        ];
        await bed.wait(100);
        // Closing leaves the kernel as it is, as a kill would.
        await bed.enforcer.close();
        const next = await bed.another();
        await next.start(bed.network);
        await bed.wait(100);
        await next.addresses({ added: everyone(bed), removed: [] });
        await next.apply({ rules });
        await bed.wait(300);
        for (const stream of streams)
          expect([stream.address, (await stream.stop()).received]).toEqual([stream.address, 0]);
        // The name that the new one has not heard of yet counts for its rule.
        const { rules: hits } = await next.hits();
        expect(hits.get(2)?.packets).toBeGreaterThan(50);
        expect(hits.get(1)?.packets).toBeGreaterThan(50);
        await next.apply({ rules: rules.filter((rule) => rule.id !== 2) });
        expect(await bed.ask(second, "udp", "198.51.100.130")).toBe("answered");
      } finally {
        await bed.down();
      }
    }, 30_000);
  }

  it("renew names on kernels that refresh no timeout in place, and keep their hits", async () => {
    const bed = await kernelBed("nft", { refreshInPlace: false });
    try {
      const [first] = bed.devices;
      await bed.enforcer.start(bed.network);
      await bed.enforcer.addresses({ added: everyone(bed), removed: [] });
      await bed.enforcer.apply({ rules: [ruleOf({ domains: ["example"] })] });
      await bed.enforcer.addresses({ added: [named(first, "web.example", WEB, 1500)], removed: [] });
      await bed.send(first, WEB, 5, 100);
      await bed.enforcer.addresses({ added: [named(first, "web.example", WEB, 60_000)], removed: [] });
      await bed.wait(1700);
      await bed.send(first, WEB, 7, 100);
      expect((await bed.enforcer.hits()).rules.get(1)).toEqual({ packets: 12, bytes: 12 * 128 });
    } finally {
      await bed.down();
    }
  }, 30_000);

  it("are put in force at boot by a shell script, from what was saved, before anything else runs", async () => {
    const bed = await kernelBed("nft");
    try {
      const [first, second] = bed.devices;
      const { gateway, folder } = bed.home;
      const saved = join(folder, "rules.nft");
      const enforcer = await bed.another({ savedFile: saved });
      await enforcer.start(bed.network);
      await enforcer.addresses({ added: everyone(bed), removed: [] });
      await enforcer.apply({
        rules: [
          ...fillers(999),
          ruleOf({ id: 1, macs: [first.mac], to: "*" }),
          ruleOf({ id: 2, domains: ["example"] }),
          ruleOf({ id: 3, to: ["198.51.100.64/26", "::/1"], protocol: 17, ports: [{ from: 0, to: 65535 }] }),
        ],
      });
      await enforcer.addresses({ added: [named(second, "web.example", OTHER)], removed: [] });
      await enforcer.close();
      const boot = (...args: string[]) => bed.home.exec(gateway, "sh", [BOOT, ...args], { mayFail: true });
      await bed.home.nft("delete table inet spin_usp");
      expect(await bed.ask(first, "udp", WEB)).toBe("answered");
      expect(await boot(RULESET_FILE, saved)).toMatchObject({ code: 0, stderr: "" });
      const inForce = async () => {
        for (const way of ["tcp", "udp", "icmp"] as const) expect(await bed.ask(first, way, WEB)).toBe("silent");
        expect(await bed.askedBy(first, WEB6)).toBe("silent");
        expect(await bed.ask(second, "udp", OTHER)).toBe("silent");
        expect(await bed.ask(second, "udp", "198.51.100.70")).toBe("silent");
        expect(await bed.ask(second, "udp", WEB)).toBe("answered");
      };
      await inForce();
      // Again is no change, and --replace is the same again.
      await boot(RULESET_FILE, saved);
      await boot("--replace", RULESET_FILE, saved);
      await inForce();

      // A damaged file gives what is whole in it.
      await bed.home.nft("delete table inet spin_usp");
      const lines = (await readFile(saved, "utf8")).split("\n");
      await writeFile(
        saved,
        [...lines, "add element inet spin_usp nosuch { 1 }", lines.at(-2)?.slice(0, 40)].join("\n"),
      );
      expect((await boot(RULESET_FILE, saved)).code).toBe(3);
      await inForce();

      // Who may write the file may add elements to our sets, and nothing else: not in one go, and not line by line.
      const home = join(folder, "included.nft");
      await writeFile(home, "add table inet theirs\n");
      await bed.home.nft("add table inet firewall");
      const hostile = [
        "delete table inet firewall",
        `include "${home}"`,
        `add element inet spin_usp lan { "x" }; delete table inet firewall`,
        `add element inet spin_usp lan { "x" } include "${home}"`,
        "add element inet spin_usp owner4 { localhost : 02:00:00:00:00:01 }",
        "add element inet spin_usp version { 1 }\0; delete table inet firewall",
        " add element inet spin_usp resident { 4444 }",
      ];
      for (const refusing of [[], ["add element inet spin_usp nosuch { 1 }"]]) {
        await writeFile(saved, [...lines.slice(0, -1), ...hostile, ...refusing, ""].join("\n"));
        const { code, stderr } = await boot("--replace", RULESET_FILE, saved);
        expect([code, stderr]).toEqual([3, expect.stringContaining(`left out ${hostile.length} lines`)]);
        const { stdout } = await bed.home.exec(gateway, "nft", ["list", "ruleset"]);
        expect(["table inet firewall", "table inet theirs", "4444"].map((text) => stdout.includes(text))).toEqual([
          true,
          false,
          false,
        ]);
        await inForce();
      }

      // Nothing saved yet: the table stands, and nothing is blocked.
      await bed.home.nft("delete table inet spin_usp");
      expect((await boot(RULESET_FILE, join(folder, "nothing"))).code).toBe(0);
      expect(await bed.ask(first, "udp", WEB)).toBe("answered");
      await bed.home.nft("delete table inet spin_usp");
      expect(await boot(join(folder, "no-ruleset"), saved)).toMatchObject({ code: 1 });
    } finally {
      await bed.down();
    }
  }, 60_000);
});
