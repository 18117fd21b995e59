import { DnsSource } from "../../src/capture/dns.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";
import { buildHelper } from "../netlink/helper-fixture.ts";
import { Home, homeMissing } from "../support/home.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";

/** As in src/enforce/spin.nft. */
const LOG = `
table inet dnslog {
  chain questions { type filter hook prerouting priority raw
    iifname "br-lan" udp dport 53 log group 5 snaplen 4096
    iifname "br-lan" tcp dport 53 log group 5 snaplen 4096
  }
  chain answers { type filter hook postrouting priority srcnat + 200
    oifname "br-lan" udp sport 53 log group 5 snaplen 4096
    oifname "br-lan" tcp sport 53 log group 5 snaplen 4096
  }
}
`;
const GATEWAY4 = "192.168.77.1";
const GATEWAY6 = "2001:db8:1::1";
const RESOLVER4 = "198.51.100.53";
const RESOLVER6 = "2001:db8:100::53";

type Query = Extract<Observation, { kind: "query" }>;
type Answer = Extract<Observation, { kind: "answer" }>;

/** Asks over TCP, sending and reading in small pieces. */
const ASK_TCP = `
import socket, struct, sys
server, name = sys.argv[1], sys.argv[2]
question = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\0" + struct.pack(">HH", 1, 1)
message = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question
stream = struct.pack(">H", len(message)) + message
s = socket.create_connection((server, 53), timeout=3)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for i in range(0, len(stream), 5): s.sendall(stream[i:i + 5])
s.recv(4096)
`;

describeUnless(homeMissing() ?? missing("python3"), "DNS by NFLOG", () => {
  let home: Home;
  let helper: NetfilterHelper;
  let helperDone: Promise<void>;
  const stopHelper = new AbortController();
  beforeAll(async () => {
    home = await Home.up({
      devices: 2,
      ttl: 77,
      names: [
        "host-record=plain.example,198.51.100.30,2001:db8:100::30",
        "cname=alias.example,middle.example",
        "cname=middle.example,plain.example",
      ],
    });
    await home.nft(LOG);
    helper = new NetfilterHelper({ command: ["ip", "netns", "exec", home.gateway, buildHelper()], log: silentLog });
    helperDone = helper.run(stopHelper.signal);
    expect(await helper.usable()).toBeUndefined();
  });
  afterAll(async () => {
    stopHelper.abort();
    await helperDone;
    await home.down();
  });

  const make = () => new DnsSource({ helper, clock: systemClock, log: silentLog });
  const recorded = async (body: (queries: Query[], answers: Answer[], source: DnsSource) => Promise<void>) => {
    const source = make();
    const stop = new AbortController();
    const queries: Query[] = [];
    const answers: Answer[] = [];
    const running = source.run(stop.signal, (observation) => {
      if (observation.kind === "query") queries.push(observation);
      if (observation.kind === "answer") answers.push(observation);
    });
    try {
      await waitFor("it listens", () => source.health.status === "Running");
      await body(queries, answers, source);
      expect(source.health).toMatchObject({ decodeErrors: 0, lost: 0 });
    } finally {
      stop.abort();
      await running;
    }
  };

  sourceContract("dns", () => ({
    source: make(),
    kinds: ["query", "answer"],
    poke: async () => void (await home.device(1).resolve("plain.example")),
  }));

  test.each([
    ["the gateway over IPv4", GATEWAY4],
    ["the gateway over IPv6", GATEWAY6],
    ["a resolver outside over IPv4", RESOLVER4],
    ["a resolver outside over IPv6", RESOLVER6],
  ])("questions to %s and their answers carry the device's own address", async (_where, server) => {
    const device = home.device(1);
    const client = server.includes(":") ? device.ipv6 : device.ipv4;
    await recorded(async (queries, answers) => {
      expect(await device.resolve("Plain.Example", "A", server)).toBe("198.51.100.30");
      expect(await device.resolve("plain.example", "AAAA", server)).toBe("2001:db8:100::30");
      await waitFor("both answers", () => answers.length >= 2);
      const mac = Number.parseInt(device.mac.replaceAll(":", ""), 16);
      expect(queries).toEqual([
        { kind: "query", time: expect.any(Number), client, mac, name: "plain.example", type: "A" },
        { kind: "query", time: expect.any(Number), client, mac, name: "plain.example", type: "AAAA" },
      ]);
      expect(answers[0]).toMatchObject({ client, names: ["plain.example"], type: "A", rcode: 0 });
      expect(answers[0]?.addresses).toEqual([{ address: "198.51.100.30", ttl: expect.any(Number) }]);
      expect(answers[1]?.addresses).toEqual([{ address: "2001:db8:100::30", ttl: expect.any(Number) }]);
    });
  });

  test("the TTL is the answer's own", async () => {
    await recorded(async (_queries, answers) => {
      await home.device(1).resolve("plain.example", "A", RESOLVER4);
      await waitFor("the answer", () => answers.length > 0);
      expect(answers[0]?.addresses[0]?.ttl).toBe(77);
    });
  });

  test("an alias comes with its whole chain", async () => {
    await recorded(async (_queries, answers) => {
      await home.device(2).resolve("alias.example", "A", RESOLVER4);
      await waitFor("the answer", () => answers.length > 0);
      expect(answers[0]).toMatchObject({
        client: home.device(2).ipv4,
        names: ["alias.example", "middle.example", "plain.example"],
      });
      expect(answers[0]?.addresses[0]?.address).toBe("198.51.100.30");
    });
  });

  test("a name that is not there is told with its rcode", async () => {
    await recorded(async (_queries, answers) => {
      await home.device(1).resolve("nowhere.invalid", "A", RESOLVER4);
      await waitFor("the answer", () => answers.length > 0);
      expect(answers[0]).toMatchObject({ names: ["nowhere.invalid"], addresses: [] });
      expect(answers[0]?.rcode).not.toBe(0);
    });
  });

  test.each([
    ["IPv4", RESOLVER4],
    ["IPv6", RESOLVER6],
  ])("over TCP and %s, in small segments", async (_family, server) => {
    await recorded(async (queries, answers) => {
      await exec(home.device(1).namespace, "python3", ["-c", ASK_TCP, server, "alias.example"]);
      await waitFor("the answer", () => answers.length > 0);
      expect(queries.map(({ name, type }) => [name, type])).toEqual([["alias.example", "A"]]);
      expect(answers[0]?.addresses[0]?.address).toBe("198.51.100.30");
    });
  });

  test("a burst of questions loses none", async () => {
    await recorded(async (queries, answers) => {
      const { asked, answered } = await home.device(1).askNames("n%d.load.example", 400, 2000);
      await waitFor("all", () => queries.length >= asked && answers.length >= answered);
      expect(queries).toHaveLength(asked);
    });
  });

  test("a group that somebody else listens to is an error in words, and is taken once it is free", async () => {
    const first = make();
    const second = make();
    const stopFirst = new AbortController();
    const stopSecond = new AbortController();
    const one = first.run(stopFirst.signal, () => undefined);
    await waitFor("the first listens", () => first.health.status === "Running");
    const two = second.run(stopSecond.signal, () => undefined);
    await waitFor("the second is refused", () => second.health.status === "Error");
    expect(second.health.lastError).toMatch(/NFLOG group|EPERM|EBUSY/);
    stopFirst.abort();
    await one;
    await waitFor("the second has it", () => second.health.status === "Running");
    stopSecond.abort();
    await two;
  });

  test("without a helper says so", async () => {
    const source = new DnsSource({ clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const running = source.run(stop.signal, () => undefined);
    await waitFor("it says so", () => source.health.status === "Error");
    expect(source.health.lastError).toBe("there is no helper");
    stop.abort();
    await running;
  }, 20_000);
});

test("without a helper the source says so and names no backend", async () => {
  const source = new DnsSource({ clock: systemClock, log: silentLog });
  const stop = new AbortController();
  const running = source.run(stop.signal, () => undefined);
  await waitFor("its complaint", () => source.health.status === "Error");
  expect(source.health).toMatchObject({ backend: "", lastError: "there is no helper" });
  stop.abort();
  await running;
});
