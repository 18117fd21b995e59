import fc from "fast-check";
import { SpinDevice } from "../../datamodel/spin.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { DEVICE_TYPES, guessType, type Clues } from "../../src/spin/device-types.ts";
import { cleanHostName, cleanText, Identity, validMudUrl } from "../../src/spin/identity.ts";
import type { IdentityObservation, IdentitySource } from "../../src/spin/identity.ts";
import { mac, START, TestHome } from "./home.ts";

const says = (test: TestHome, index: number, source: IdentitySource, said: Partial<IdentityObservation>) =>
  test.tell({ kind: "identity", time: test.clock.now(), mac: mac(index), source, ...said });

describe("the host name of a device", () => {
  it("is the best source's, whichever spoke last", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    const heard: string[] = [];
    for (const [source, hostName] of [
      ["lldp", "of-lldp"],
      ["mdns", "of-mdns"],
      ["dhcpv6", "of-dhcpv6"],
      ["dhcp", "of-dhcp"],
      ["ethers", "of-ethers"],
      ["hosts", "of-hosts"],
      ["mdns", "again-of-mdns"],
      ["dhcp", "again-of-dhcp"],
    ] as const) {
      says(test, 1, source, { hostName });
      heard.push(test.device(1).hostName);
    }
    expect(heard).toEqual([
      "of-lldp",
      "of-mdns",
      "of-dhcpv6",
      "of-dhcp",
      "of-ethers",
      ...Array<string>(3).fill("of-hosts"),
    ]);
  });

  it("is the lease's when the line of a file is gone, and none of what says nothing", () => {
    const test = new TestHome().network().lease(1, "192.0.2.10", "camera");
    says(test, 1, "hosts", { hostName: "front-door" });
    expect(test.device(1).hostName).toBe("front-door");
    says(test, 1, "hosts", { hostName: "" });
    expect(test.device(1).hostName).toBe("camera");
    says(test, 1, "dhcp", { hostName: "*" });
    says(test, 1, "dhcp", { hostName: "localhost" });
    says(test, 1, "dhcp", { vendorClass: "udhcp 1.36" });
    expect(test.device(1).hostName).toBe("camera");
  });

  it("is known with the first notice of a device, though it was heard before, and again after it was forgotten", async () => {
    const test = new TestHome();
    says(test, 1, "ethers", { hostName: "printer" });
    says(test, 2, "dhcp", { hostName: "phone" });
    says(test, 2, "dhcp", { vendorClass: "android-dhcp-14" });
    const told: string[] = [];
    test.spin.subscribe((notice) => {
      if (notice.kind === "device-added") told.push(`${notice.device.hostName} ${notice.device.type}`);
    });
    test.network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.11");
    expect(told).toEqual(["printer Printer", "phone Phone"]);
    await test.spin.forget(1);
    test.neighbour(1, "192.0.2.10");
    expect(test.device(1).hostName).toBe("printer");
  });

  it.each([
    ["camera.local.", "camera"],
    ["camera.home.example.", "camera.home.example"],
    [" cam\u0000era\u001b[2J ", "cam era [2J"],
    ["\u202eevil\u2066", "evil"],
    ["Küche 📷", "Küche 📷"],
    ["*", ""],
    [".local", ""],
    ["a".repeat(500), "a".repeat(253)],
    [`${"a".repeat(252)}📷`, "a".repeat(252)],
    [undefined, ""],
    [42, ""],
  ])("%j is %j", (said, name) => expect(cleanHostName(said)).toBe(name));
});

describe("what a device says of itself", () => {
  it("is kept over a restart, with the name that an older state file had", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = new TestHome({ store, clock }).network().lease(1, "192.0.2.10", "camera").neighbour(2, "192.0.2.11");
    says(first, 1, "mdns", { services: ["_axis-video._tcp"], model: "P1375" });
    says(first, 1, "dhcp", { mudUrl: "https://mud.example/p1375.json", parameterList: [1, 3, 6] });
    await first.spin.save();
    const second = new TestHome({ store, clock }).network();
    expect(second.device(1)).toMatchObject({
      hostName: "camera",
      type: "Camera",
      typeReason: "offers _axis-video._tcp",
      mudUrl: "https://mud.example/p1375.json",
    });
    const document = store.load("home") as { devices: { mac: string; identity?: unknown; hostName: string }[] };
    for (const device of document.devices) delete device.identity;
    await store.save("home", document);
    expect(new TestHome({ store, clock }).device(1)).toMatchObject({ hostName: "camera", mudUrl: "" });
  });

  it("is told at once, but no more than now and then of who changes it all the time; the last word stands", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    let told = 0;
    test.spin.subscribe((notice) => {
      if (notice.kind === "device-changed" && notice.field === "HostName") told++;
    });
    says(test, 1, "mdns", { hostName: "name-0" });
    expect([told, test.device(1).hostName]).toEqual([1, "name-0"]);
    for (let i = 1; i <= 5000; i++) {
      says(test, 1, "mdns", { hostName: `name-${i}` });
      test.after(10);
    }
    expect(told).toBeLessThanOrEqual(8 + 5 + 1);
    for (let second = 0; second < 11; second++) test.after(1000).spin.tick();
    expect(test.device(1).hostName).toBe("name-5000");
  });

  it("is bounded, whatever it is, and is never thrown over", () => {
    const anything = fc.anything({ withNullPrototype: true, maxDepth: 2 });
    const said = fc.record({
      hostName: anything,
      vendorClass: anything,
      parameterList: anything,
      services: fc.oneof(fc.array(anything), fc.array(fc.constantFrom("_ipp._tcp", "_HAP._TCP.local", "x"))),
      model: fc.oneof(anything, fc.string({ maxLength: 2000 })),
      mudUrl: fc.oneof(anything, fc.webUrl()),
    });
    fc.assert(
      fc.property(fc.array(said, { maxLength: 5 }), (all) => {
        const identity = new Identity();
        for (const each of all) identity.learn("mdns", each as Partial<IdentityObservation>);
        const known = identity.knownAs("Example");
        expect(known.hostName.length).toBeLessThanOrEqual(253);
        expect(known.typeReason.length).toBeLessThanOrEqual(256);
        expect(known.typeReason === "").toBe(known.type === "");
        expect(`${known.hostName}${known.typeReason}${known.mudUrl}`).not.toMatch(/\p{Cc}/u);
        expect(JSON.stringify(identity.save() ?? "").length).toBeLessThan(4000);
        const again = new Identity();
        again.load(JSON.parse(JSON.stringify(identity.save() ?? null)));
        expect(again.knownAs("Example")).toEqual(known);
      }),
      { numRuns: 300 },
    );
  });

  it("of devices that never come is not kept without end", () => {
    const test = new TestHome().network();
    for (let index = 1; index <= 5000; index++) says(test, index, "dhcp", { hostName: `host-${index}` });
    says(test, 5000, "mdns", { model: "Example" });
    test.neighbour(1, "192.0.2.10").neighbour(5000, "192.0.2.11");
    expect([test.device(1).hostName, test.device(5000).hostName]).toEqual(["", "host-5000"]);
  });

  it("is text that can act on nothing", () => {
    expect(cleanText("a\r\nb\u2028c\u0085d\ud800e", 64)).toBe("a b c d e");
    expect(cleanText("x".repeat(1e6), 64)).toHaveLength(64);
  });
});

describe("a MUD URL", () => {
  it.each([
    "https://mud.example/lamp.json",
    "https://mud.example:8443/a/b?version=1",
    `https://mud.example/${"a".repeat(235)}`,
    "HTTPS://mud.example/x",
  ])("%s is one", (url) => expect(validMudUrl(url)).toBe(url));

  it.each([
    "http://mud.example/lamp.json",
    "https://",
    "https://user:secret@mud.example/x",
    "https://mud.example/a b",
    "https://mud.example/\u0007",
    'https://mud.example/"><script>',
    "https://mud.example:99999/",
    `https://mud.example/${"a".repeat(300)}`,
    "file:///etc/passwd",
    "javascript:alert(1)",
    "",
    undefined,
    7,
  ])("%s is none", (url) => expect(validMudUrl(url)).toBe(""));
});

describe("the type of a device", () => {
  const nothing: Clues = { hostName: "", vendorClass: "", model: "", services: [], parameterList: [], vendor: "" };
  it.each<[Partial<Clues>, string, string]>([
    [{ services: ["_http._tcp", "_ipp._tcp"] }, "Printer", "offers _ipp._tcp"],
    [{ services: ["_ipp._tcp", "_ssh._tcp"] }, "Computer", "offers _ssh._tcp"],
    [{ services: ["_hap._tcp"] }, "SmartHome", "offers _hap._tcp"],
    [{ services: ["_hap._tcp", "_hue._tcp"] }, "Hub", "offers _hue._tcp"],
    [{ services: ["_googlecast._tcp", "_androidtvremote2._tcp"] }, "Television", "offers _androidtvremote2._tcp"],
    [{ vendorClass: "android-dhcp-14" }, "Phone", 'gives DHCP the vendor class "android-dhcp-14"'],
    [{ vendorClass: "android-dhcp-12", services: ["_googlecast._tcp"] }, "MediaPlayer", "offers _googlecast._tcp"],
    [{ vendorClass: "MSFT 5.0" }, "Computer", 'gives DHCP the vendor class "MSFT 5.0"'],
    [{ hostName: "DESKTOP-AB12CD3" }, "Computer", 'calls itself "DESKTOP-AB12CD3"'],
    [{ hostName: "Annas-iPhone" }, "Phone", 'calls itself "Annas-iPhone"'],
    [{ hostName: "garden-cam-2", vendor: "Example" }, "Camera", 'calls itself "garden-cam-2"'],
    [{ model: "MacBookPro18,3", hostName: "annas-iphone" }, "Computer", 'calls its model "MacBookPro18,3"'],
    [{ parameterList: [1, 121, 3, 6, 15, 119, 252] }, "Phone", "asks DHCP for the options 1,121,3,6,15,119,252"],
    [{ vendor: "Sonos, Inc." }, "Speaker", 'has an address of "Sonos, Inc."'],
    [{ vendor: "Hangzhou Hikvision Digital" }, "Camera", 'has an address of "Hangzhou Hikvision Digital"'],
  ])("by %j is %s", (clues, type, reason) => {
    expect(guessType({ ...nothing, ...clues })).toEqual({ type, reason });
  });

  it.each<[Partial<Clues>]>([
    [{}],
    [{ vendorClass: "udhcp 1.36.1", parameterList: [1, 3, 6, 12, 15, 28, 42] }],
    [{ hostName: "camembert" }],
    [{ hostName: "anna", vendor: "Intel Corporate" }],
    [{ services: ["_http._tcp"] }],
  ])("is not guessed where nothing speaks for any: %j", (clues) => {
    expect(guessType({ ...nothing, ...clues })).toEqual({ type: "", reason: "" });
  });

  it("is one of those that the model names", () => {
    const words =
      SpinDevice.params.Type.description
        .split(":")[1]
        ?.split(".")[0]
        ?.split(/, | or /) ?? [];
    expect(words.map((word) => word.trim())).toEqual([...DEVICE_TYPES]);
    expect(Math.max(...DEVICE_TYPES.map(({ length }) => length))).toBeLessThanOrEqual(32);
  });
});
