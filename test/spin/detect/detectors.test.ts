import { ArpScan } from "../../../src/spin/detect/arp-scan.ts";
import { baseDomain } from "../../../src/spin/detect/base-domain.ts";
import { DnsTunnel } from "../../../src/spin/detect/dns-tunnel.ts";
import { FanOut, type FailedAttempt } from "../../../src/spin/detect/fan-out.ts";
import type { Finding } from "../../../src/spin/detect/finding.ts";
import { Flood } from "../../../src/spin/detect/flood.ts";
import { hashText } from "../../../src/spin/detect/hash.ts";
import { NewDestination } from "../../../src/spin/detect/new-destination.ts";
import { TrafficPeak } from "../../../src/spin/detect/traffic-peak.ts";
import { WanGate } from "../../../src/spin/detect/wan-gate.ts";

const SLOTS = 4;
const START = Date.UTC(2026, 0, 1);

function findings() {
  const found: Finding[] = [];
  return { found, report: (finding: Finding) => void found.push(finding), types: () => found.map(({ type }) => type) };
}

function attempt(host: string, port: number, time: number, slot = 0): FailedAttempt {
  return { slot, hostHash: hashText(host), host: () => host, protocol: 6, port, time, isNamed: false };
}

describe("scans", () => {
  const bed = () => {
    const heard = findings();
    return { ...heard, fanOut: new FanOut(SLOTS, heard.report) };
  };

  it("are ten hosts that fail on a service's port within a minute, and five on a worm's", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 9; host++) fanOut.failed(attempt(`203.0.113.${host}`, 22, START + host * 1000));
    expect(found).toEqual([]);
    fanOut.failed(attempt("203.0.113.9", 8080, START + 9000));
    expect(found).toMatchObject([{ type: "HostScan", slot: 0, severity: "Medium", measured: 10, threshold: 10 }]);
    for (let host = 0; host < 5; host++) fanOut.failed(attempt(`198.51.100.${host}`, 23, START, 1));
    expect(found.at(-1)).toMatchObject({
      type: "HostScan",
      slot: 1,
      severity: "High",
      peers: ["198.51.100.4 port 23"],
    });
  });

  it("are none while the hosts are spread over hours, or the same host fails again and again", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 60; host++) fanOut.failed(attempt(`203.0.113.${host}`, 22, START + host * 150_000));
    for (let again = 0; again < 1000; again++) fanOut.failed(attempt("203.0.113.7", 22, START + again, 1));
    expect(found).toEqual([]);
  });

  it("are none where an application retries its servers, or the device had looked the names up", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 200; host++) {
      fanOut.failed(attempt(`203.0.113.${host % 50}`, 443, START + host * 100));
      fanOut.failed({ ...attempt(`198.51.100.${host}`, 9000, START + host * 100, 1), isNamed: true });
    }
    expect(found).toEqual([]);
  });

  it("are none where a peer-to-peer program fails at hosts on ports as different", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 5000; host++)
      fanOut.failed(attempt(`203.0.${host >> 8}.${host & 255}`, 10_007 + ((host * 7919) % 50_000), START + host * 100));
    expect(found).toEqual([]);
  });

  it("are twenty hosts on any other port, if it is one", () => {
    const { fanOut, types } = bed();
    for (let host = 0; host < 20; host++) fanOut.failed(attempt(`203.0.113.${host}`, 34_567, START + host));
    expect(types()).toEqual(["HostScan"]);
  });

  it("are ten ports of one host, though others fail in between", () => {
    const { fanOut, found } = bed();
    for (let port = 1; port <= 10; port++) {
      fanOut.failed(attempt("192.0.2.9", port, START + port * 10));
      fanOut.failed(attempt(`192.0.2.${100 + (port % 3)}`, 443, START + port * 10));
    }
    expect(found).toMatchObject([{ type: "PortScan", measured: 10, peers: ["192.0.2.9"] }]);
  });

  it("are slow ones, too: thirty hosts, or ports of one host, in an hour", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 30; host++) fanOut.failed(attempt(`203.0.113.${host}`, 22, START + host * 110_000));
    expect(found).toMatchObject([{ type: "HostScan", measured: 30, threshold: 30, windowMs: 3_600_000 }]);
    for (let port = 1; port <= 30; port++) fanOut.failed(attempt("192.0.2.9", port, START + port * 110_000, 1));
    expect(found.at(-1)).toMatchObject({ type: "PortScan", slot: 1, measured: 30, windowMs: 3_600_000 });
  });

  it("are sixty hosts in a minute on a port that applications retry", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 59; host++) fanOut.failed(attempt(`203.0.113.${host}`, 443, START + host * 100));
    expect(found).toEqual([]);
    fanOut.failed(attempt("203.0.113.59", 80, START + 6000));
    expect(found).toMatchObject([{ type: "HostScan", severity: "Medium", measured: 60 }]);
  });

  it("are ports of twenty hosts in turn", () => {
    const { fanOut, types } = bed();
    for (let n = 0; n < 20 * 10; n++)
      fanOut.failed({ ...attempt(`203.0.113.${n % 20}`, 1 + Math.floor(n / 20), START + n * 100), isNamed: true });
    expect(types()).toContain("PortScan");
  });

  it("are none where a list of game servers is asked, most of which answer", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 500; host++) {
      const time = START + host * 30;
      if (host % 3 === 0) fanOut.failed({ ...attempt(`203.0.${host >> 8}.${host & 255}`, 27_015, time), protocol: 17 });
      else fanOut.answered(0, 27_015, time);
    }
    expect(found).toEqual([]);
  });

  it("are none where one in a hundred of a swarm's peers has a service's port", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 2000; host++) {
      const port = host % 100 === 0 ? 8080 : 10_007 + ((host * 7919) % 50_000);
      fanOut.failed(attempt(`203.0.${host >> 8}.${host & 255}`, port, START + host * 30));
    }
    expect(found).toEqual([]);
  });

  it("are none where a path is traced", () => {
    const { fanOut, found } = bed();
    for (let probe = 0; probe < 60; probe++)
      fanOut.failed({ ...attempt("203.0.113.7", 33_434 + probe, START + probe * 50), protocol: 17 });
    expect(found).toEqual([]);
  });

  it("begin anew for another device in the slot", () => {
    const { fanOut, found } = bed();
    for (let host = 0; host < 9; host++) fanOut.failed(attempt(`203.0.113.${host}`, 22, START));
    fanOut.clear(0);
    fanOut.failed(attempt("203.0.113.9", 22, START));
    expect(found).toEqual([]);
  });
});

describe("the gate of the line", () => {
  it("closes when what should work fails and nobody answers, and opens with the first answer", () => {
    const gate = new WanGate();
    expect(gate.isOpen(START)).toBe(true);
    gate.answered(START);
    for (let again = 0; again < 9; again++) gate.failedExpected(7);
    expect(gate.isOpen(START + 11_000)).toBe(true);
    for (let host = 0; host < 3; host++) gate.failedExpected(host);
    expect(gate.isOpen(START + 9_000)).toBe(true);
    expect(gate.isOpen(START + 11_000)).toBe(false);
    gate.answered(START + 12_000);
    expect(gate.isOpen(START + 30_000)).toBe(true);
  });
});

describe("an ARP scan", () => {
  it("is twenty addresses in half a minute, not a router's eleven", () => {
    const { found, report } = findings();
    const scan = new ArpScan(SLOTS, report);
    for (let host = 0; host < 11; host++) scan.asked(0, 0xc0000200 + host, START);
    for (let host = 0; host < 255; host++) scan.asked(1, 0xc0000200 + host, START + host * 10);
    expect(found).toMatchObject([{ type: "ARPScan", slot: 1, measured: 20 }]);
  });
});

describe("a flood", () => {
  function run(perSecond: (second: number) => { opened: number; packets: number }, seconds: number): Finding[] {
    const { found, report } = findings();
    const flood = new Flood(SLOTS, report);
    for (let second = 0; second < seconds; second++) {
      const { opened, packets } = perSecond(second);
      for (let n = 0; n < opened; n++) flood.connected(2);
      if (packets > 0) flood.unanswered(2, packets);
      flood.tick(START + second * 1000, second * 1000, true);
    }
    return found;
  }

  it("is a hundred connections a second, or five hundred unanswered packets, for ten seconds", () => {
    expect(run(() => ({ opened: 100, packets: 0 }), 12)[0]).toMatchObject({ type: "Flood", slot: 2, severity: "High" });
    expect(run(() => ({ opened: 0, packets: 500 }), 12)[0]).toMatchObject({ type: "Flood", threshold: 300 });
  });

  it("is not a page with two hundred connections once a minute, where the seconds between go by untold", () => {
    const { found, report } = findings();
    const flood = new Flood(SLOTS, report);
    for (let minute = 0; minute < 30; minute++) {
      for (let n = 0; n < 200; n++) flood.connected(2);
      flood.tick(START + minute * 60_000, minute * 60_000, true);
    }
    expect(found).toEqual([]);
  });

  it("takes ten times as much while the line is down", () => {
    for (const [packets, expected] of [
      [2000, 0],
      [4000, 1],
    ] as const) {
      const { found, report } = findings();
      const flood = new Flood(SLOTS, report);
      for (let second = 0; second < 10; second++) {
        flood.unanswered(1, packets);
        flood.tick(START + second * 1000, second * 1000, false);
      }
      expect(found).toHaveLength(expected);
    }
  });

  it("is not a page with two hundred connections, nor a call whose other side is late", () => {
    expect(run((second) => ({ opened: second === 20 ? 200 : 2, packets: 0 }), 60)).toEqual([]);
    expect(run((second) => ({ opened: 0, packets: second < 4 ? 400 : 0 }), 60)).toEqual([]);
  });
});

describe("a DNS tunnel that takes its time", () => {
  it("is ten thousand letters of very long names in an hour, with what people ask in between", () => {
    const { found, report } = findings();
    const tunnel = new DnsTunnel(SLOTS, report);
    for (let n = 0; n < 220; n++) {
      const time = START + n * 15_000;
      tunnel.asked(0, `${"abcdefghij".repeat(5)}${n}.t.example.net`, "A", time);
      for (let other = 0; other < 12; other++)
        tunnel.asked(0, `h${n}.site${(n * 7 + other) % 300}.example`, "A", time + other);
    }
    expect(found[0]).toMatchObject({
      type: "DNSTunnel",
      severity: "Medium",
      windowMs: 3_600_000,
      peers: ["example.net"],
    });
  });

  it("is not a hundred frames of advertisements an hour, nor a virus scanner", () => {
    const { found, report } = findings();
    const tunnel = new DnsTunnel(SLOTS, report);
    for (let n = 0; n < 100; n++) {
      const time = START + n * 36_000;
      tunnel.asked(0, `${"0123456789abcdef".repeat(2)}${n}.frame.ads.example`, "A", time);
      tunnel.asked(0, "page.ads.example", "A", time + 1);
      for (let k = 0; k < 30; k++)
        tunnel.asked(1, `${n}-${k}-0123456789abcdefghijklm.avqs.mcafee.com`, "A", time + k * 1000);
    }
    expect(found.filter(({ severity }) => severity !== "Info")).toEqual([]);
  });
});

describe("a DNS tunnel", () => {
  const bed = () => {
    const heard = findings();
    return { ...heard, tunnel: new DnsTunnel(SLOTS, heard.report) };
  };
  const label = (n: number) => `${"abcdefghijklmnop".repeat(3)}${n}`;

  it("is many long names under one domain", () => {
    const { tunnel, found } = bed();
    for (let n = 0; n < 20; n++) tunnel.asked(0, `${label(n)}.t.example.net`, "NULL", START + n * 200);
    expect(found).toMatchObject([{ type: "DNSTunnel", severity: "High", measured: 20, peers: ["example.net"] }]);
  });

  it("is one long name of a carrier's type asked for a hundred times a minute", () => {
    const { tunnel, found } = bed();
    for (let n = 0; n < 100; n++) tunnel.asked(0, `${label(1)}.t.example.net`, "TXT", START + n * 400);
    expect(found.at(-1)).toMatchObject({ type: "DNSTunnel", severity: "High", measured: 100 });
  });

  it("is only worth a note where short names are many, or one name is retried", () => {
    const { tunnel, found } = bed();
    for (let n = 0; n < 40; n++) tunnel.asked(0, `r${n}---sn-4g5e6nez.videos.example`, "A", START + n * 100);
    for (let n = 0; n < 130; n++) tunnel.asked(1, "time.maker.example", n % 2 ? "A" : "AAAA", START + n * 400);
    expect(found.map(({ severity }) => severity)).toEqual(["Info", "Info", "Info", "Info"].slice(0, found.length));
    expect(found.length).toBeGreaterThan(0);
  });

  it("is not told from names spread over domains, or asked over hours, or of the home", () => {
    const { tunnel, found } = bed();
    for (let n = 0; n < 500; n++) {
      tunnel.asked(0, `www.site${n}.example`, "A", START + n * 10);
      tunnel.asked(1, `${label(n)}.example.net`, "A", START + n * 60_000);
      tunnel.asked(2, `${n}.2.0.192.in-addr.arpa`, "PTR", START + n * 10);
    }
    expect(found).toEqual([]);
  });

  it("counts by what somebody registered", () => {
    const cases = ["a.b.example.com", "x.shop.co.uk", "x.y.com.au", "video.example.nl", "nas.local", "router", "de"];
    expect(cases.map(baseDomain)).toEqual(["example.com", "shop.co.uk", "y.com.au", "example.nl", "", "", ""]);
  });
});

describe("a traffic peak", () => {
  /** Bytes a second, one call a second. */
  function run(rate: (second: number) => number, seconds: number, unanswered = 0): Finding[] {
    const { found, report } = findings();
    const peak = new TrafficPeak(1, report);
    let sent = 0;
    for (let second = 0; second < seconds; second++) {
      sent += rate(second);
      peak.tick(
        START + second * 1000,
        second * 1000,
        () => sent,
        () => unanswered,
      );
    }
    return found;
  }
  const HOUR = 3600;

  it("shows within half a minute, though nothing else opens a new minute", () => {
    const found = run((second) => (second >= HOUR && second < HOUR + 60 ? 2e6 : 200), HOUR + 120);
    expect(found[0]).toMatchObject({ type: "TrafficPeak", severity: "Info" });
    expect((found[0] as Finding).time - START).toBeLessThanOrEqual((HOUR + 30) * 1000);
  });

  it("is more than a note where nobody answers", () => {
    expect(run((second) => (second >= HOUR ? 2e6 : 200), HOUR + 120, 0.9)[0]).toMatchObject({ severity: "Medium" });
  });

  it("stays an alarm while it lasts, does not become normal in five minutes, and is accepted after an hour", () => {
    const found = run((second) => (second >= HOUR ? 2e6 : 200), 4 * HOUR);
    const last = ((found.at(-1) as Finding).time - START) / 1000;
    expect(found.length).toBeGreaterThan(300);
    expect(last).toBeGreaterThan(1.9 * HOUR);
    expect(last).toBeLessThan(2.2 * HOUR);
  });

  it("is not a device that always sends so, nor one below the floor", () => {
    expect(run((second) => 2e6 + (second % 7) * 1e5, 6 * HOUR)).toEqual([]);
    expect(run((second) => (second >= HOUR ? 100_000 : 10), 2 * HOUR)).toEqual([]);
  });

  it("is not a camera that uploads ten seconds of video every five minutes, once it is known", () => {
    const found = run((second) => (second % 300 < 10 ? 1e6 : 500), 24 * HOUR);
    expect(found.every(({ severity }) => severity === "Info")).toBe(true);
  });
});

describe("a new destination", () => {
  it("is told once, after the device has been known for a week", () => {
    const { found, report } = findings();
    const novelty = new NewDestination(SLOTS, report);
    const week = 7 * 86_400_000;
    const see = (name: string, known: number) => novelty.seen(0, hashText(name), () => name, known, START);
    see("cloud.example", 1000);
    see("cloud.example", week + 1);
    see("other.example", week + 2);
    see("other.example", week + 3);
    expect(found).toMatchObject([{ type: "NewDestination", severity: "Info", peers: ["other.example"] }]);
  });

  it("is remembered over a restart, and nothing else is taken for memory", () => {
    const { found, report } = findings();
    const before = new NewDestination(SLOTS, report);
    before.seen(1, hashText("cloud.example"), () => "", 0, START);
    const after = new NewDestination(SLOTS, report);
    after.load(1, before.save(1));
    for (const rubbish of [undefined, 7, "", "AAAA", "!".repeat(400)]) after.load(2, rubbish);
    after.seen(1, hashText("cloud.example"), () => "", Infinity, START);
    expect(found).toEqual([]);
    expect(after.save(2)).toBe("");
  });
});
