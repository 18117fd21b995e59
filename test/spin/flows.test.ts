import { TestHome } from "./home.ts";

const home = () => new TestHome().network().neighbour(1, "192.0.2.10").neighbour(1, "2001:db8:1::10");

describe("what a device is credited with", () => {
  it("is what it sent towards the Internet and got from there, through masquerade", () => {
    const test = home().flows({ event: "New", from: "192.0.2.10", to: "198.51.100.7" });
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [10, 1000, 20, 30_000] });
    expect(test.traffic(1)).toEqual([1000, 30_000, 10, 20]);
    expect(test.device(1).stats.flowsOpened).toBe(1);
    expect(test.device(1).stats.activeFlowCount).toBe(1);
    expect(test.spin.summary.bytesReceived).toBe(30_000);
  });

  it("is the reply's side of a flow that a peer began, through port forwarding and over IPv6", () => {
    const test = home().flows(
      {
        id: 1,
        from: "198.51.100.7",
        to: "203.0.113.2",
        replyFrom: "192.0.2.10",
        replyTo: "198.51.100.7",
        counters: [1, 60, 2, 3000],
      },
      { id: 2, from: "2001:db8:ffff::7", to: "2001:db8:1::10", counters: [5, 500, 1, 80] },
    );
    expect(test.traffic(1)).toEqual([3080, 560, 3, 6]);
    expect(test.device(1).stats.flowsOpened).toBe(0);
  });

  it("is local with the gateway and with other devices, for both of them", () => {
    const test = home().neighbour(2, "192.0.2.20");
    test.flows(
      { id: 1, protocol: 17, from: "192.0.2.10", to: "192.0.2.1", port: 53, counters: [1, 70, 1, 150] },
      { id: 2, from: "192.0.2.10", to: "192.0.2.20", replyTo: "192.0.2.10", counters: [2, 200, 3, 400] },
      {
        id: 3,
        protocol: 17,
        from: "192.0.2.10",
        to: "198.51.100.53",
        replyFrom: "192.0.2.1",
        port: 53,
        counters: [1, 5, 1, 7],
      },
    );
    expect(test.traffic(1)).toEqual([0, 0, 0, 0]);
    expect(test.device(1).stats.localBytesSent).toBe(275);
    expect(test.device(1).stats.localBytesReceived).toBe(557);
    expect(test.device(2).stats.localBytesSent).toBe(400);
    expect(test.device(2).stats.localBytesReceived).toBe(200);
    expect(test.device(1).stats.activeFlowCount).toBe(0);
  });

  it("is nothing of the gateway's own traffic", () => {
    const test = home().flows({ from: "203.0.113.2", to: "198.51.100.7", counters: [10, 1000, 10, 1000] });
    expect(test.spin.summary.bytesSent).toBe(0);
    expect(test.spin.capture.flowCount).toBe(0);
  });

  it("is not counted twice by a repeated dump, an older reading or a repeated end", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home().flows({ ...flow, event: "New" });
    const early = { ...flow, counters: [1, 100, 1, 200] as const, time: test.clock.now() };
    test
      .after(5000)
      .flows({ ...flow, counters: [3, 300, 3, 600] })
      .flows({ ...flow, counters: [3, 300, 3, 600] });
    test.flows(early).after(1000);
    const end = { ...flow, event: "End", counters: [4, 400, 4, 800], time: test.clock.now() } as const;
    test
      .flows(end)
      .flows(end)
      .after(500)
      .flows({ ...end, time: test.clock.now() });
    test.flows({ ...flow, counters: [3, 300, 3, 600], time: test.clock.now() });
    expect(test.traffic(1)).toEqual([400, 800, 4, 4]);
    expect(test.device(1).stats.flowsOpened).toBe(1);
    expect(test.device(1).stats.activeFlowCount).toBe(0);
  });

  it("counts another flow that has the id, or the id and the tuple, of one that ended", () => {
    const flow = { id: 9, from: "192.0.2.10", to: "198.51.100.7" };
    const test = home()
      .flows({ ...flow, event: "New" })
      .after(10);
    test.flows({ ...flow, event: "End", counters: [2, 200, 0, 0] }).after(10);
    test
      .flows({ ...flow, event: "New" })
      .after(10)
      .flows({ ...flow, event: "End", counters: [2, 200, 0, 0] });
    test.flows({ ...flow, to: "198.51.100.8", event: "End", counters: [1, 50, 0, 0] });
    expect(test.traffic(1)).toEqual([450, 0, 5, 0]);
    expect(test.device(1).stats.flowsOpened).toBe(3);
  });

  it("counts two living flows with the same id apart", () => {
    const test = home().flows(
      { id: 9, from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 0, 0] },
      { id: 9, from: "192.0.2.10", to: "198.51.100.8", counters: [1, 10, 0, 0] },
    );
    test
      .after(1000)
      .flows(
        { id: 9, from: "192.0.2.10", to: "198.51.100.7", counters: [2, 200, 0, 0] },
        { id: 9, from: "192.0.2.10", to: "198.51.100.8", counters: [2, 20, 0, 0] },
      );
    expect(test.traffic(1)).toEqual([220, 0, 4, 0]);
  });

  it("counts a refused connection, which lives for microseconds", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7", port: 23 };
    const test = home().flows({ ...flow, event: "New" }, { ...flow, event: "End", counters: [1, 60, 1, 40] });
    expect(test.traffic(1)).toEqual([60, 40, 1, 1]);
    expect(test.device(1).stats.flowsOpened).toBe(1);
  });

  it("counts a flow once whose end overtakes its beginning", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7", port: 23 };
    const test = home().flows({ ...flow, event: "End", counters: [1, 60, 1, 40] });
    test.after(20).flows({ ...flow, event: "New" });
    expect(test.traffic(1)).toEqual([60, 40, 1, 1]);
    expect([test.device(1).stats.flowsOpened, test.device(1).stats.activeFlowCount]).toEqual([1, 0]);
    test
      .after(20)
      .flows({ ...flow, event: "New" })
      .after(20)
      .flows({ ...flow, event: "End", counters: [1, 60, 1, 40] });
    expect(test.device(1).stats.flowsOpened).toBe(2);
  });

  it("counts whole what came after somebody zeroed the kernel's counters", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home().flows({ ...flow, counters: [10, 1000, 10, 1000] });
    test.after(5000).flows({ ...flow, counters: [1, 70, 2, 80] });
    expect(test.traffic(1)).toEqual([1070, 1080, 11, 12]);
  });

  it("is no less for an update that says nothing of counters", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home().flows({ ...flow, counters: [10, 1000, 10, 1000] });
    test.after(1000).flows({ ...flow, flags: 1 });
    test.after(1000).flows({ ...flow, counters: [11, 1100, 10, 1000] });
    test.after(1000).flows({ ...flow, event: "End" });
    expect(test.traffic(1)).toEqual([1100, 1000, 11, 10]);
  });

  it("is right when the clock is set back by an hour", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home().flows({ ...flow, event: "New" });
    const hourAgo = test.clock.now() - 3_600_000;
    test.flows({ ...flow, counters: [10, 1000, 10, 1000], time: hourAgo + 5000 });
    expect(test.traffic(1)).toEqual([1000, 1000, 10, 10]);
  });

  it("tells lives apart by the kernel's stamps though dumps are stamped later", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home();
    const at = test.clock.now();
    test.flows({ ...flow, event: "New", time: at }, { ...flow, counters: [1, 100, 0, 0], time: at + 50 });
    test.flows({ ...flow, event: "End", counters: [1, 100, 0, 0], time: at + 20.25 });
    test.flows(
      { ...flow, event: "New", time: at + 20.5 },
      { ...flow, event: "End", counters: [1, 70, 0, 0], time: at + 21 },
    );
    expect(test.traffic(1)).toEqual([170, 0, 2, 0]);
    expect(test.device(1).stats.flowsOpened).toBe(2);
  });

  it("goes on for a flow that a dump had missed", () => {
    const flow = { from: "192.0.2.10", to: "198.51.100.7" };
    const test = home()
      .flows({ ...flow, counters: [10, 1000, 0, 0] })
      .after(5000);
    test.dumped().after(1000);
    expect(test.device(1).stats.activeFlowCount).toBe(0);
    test.flows({ ...flow, counters: [12, 1200, 0, 0] });
    expect(test.traffic(1)).toEqual([1200, 0, 12, 0]);
    expect(test.device(1).stats.activeFlowCount).toBe(1);
    expect(test.device(1).stats.flowsOpened).toBe(1);
  });
});

describe("a flow whose device is not known yet", () => {
  it("waits for the neighbour and is then credited in full, though it has ended", () => {
    const flow = { from: "192.0.2.30", to: "198.51.100.7" };
    const test = home()
      .flows({ ...flow, event: "New" })
      .flows({ ...flow, event: "End", counters: [3, 333, 2, 222] });
    test.after(100).neighbour(3, "192.0.2.30");
    expect(test.traffic(3)).toEqual([333, 222, 3, 2]);
    expect(test.device(3).stats.flowsOpened).toBe(1);
    expect(test.device(3).stats.activeFlowCount).toBe(0);
  });

  it("waits for the home's cut too", () => {
    const test = new TestHome().flows(
      { id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 1, 100] },
      { id: 2, from: "203.0.113.2", to: "198.51.100.7", counters: [1, 100, 1, 100] },
    );
    test.neighbour(1, "192.0.2.10").network();
    expect(test.traffic(1)).toEqual([100, 100, 1, 1]);
    expect(test.spin.capture.flowCount).toBe(1);
  });

  it("is given up and counted when nobody owns up to it", () => {
    const test = home().flows({ event: "End", from: "192.0.2.99", to: "198.51.100.7", counters: [1, 60, 0, 0] });
    for (let second = 0; second < 40; second++) test.after(1000).spin.tick();
    expect(test.spin.capture.flowsUnattributed).toBe(1);
    expect(test.spin.capture.flowCount).toBe(0);
  });
});

describe("the table", () => {
  it("ends what neither a dump nor an event since its start showed, and only that", () => {
    const test = home().flows(
      { id: 1, from: "192.0.2.10", to: "198.51.100.1" },
      { id: 2, from: "192.0.2.10", to: "198.51.100.2" },
    );
    const startedAt = test.after(5000).clock.now();
    test.flows({ id: 1, from: "192.0.2.10", to: "198.51.100.1" });
    test.after(10).flows({ event: "New", id: 3, from: "192.0.2.10", to: "198.51.100.3" });
    test.dumped(startedAt);
    expect(test.device(1).stats.activeFlowCount).toBe(2);
  });

  it("counts flows that find no room when they begin, and their bytes when they end", () => {
    const test = new TestHome({ limits: { flows: 2048 } }).network().neighbour(1, "192.0.2.10");
    const flow = (id: number) => ({ id, from: "192.0.2.10", to: "198.51.100.7", sourcePort: id });
    for (let id = 0; id < 3000; id++) test.flows({ ...flow(id), event: "New" });
    expect(test.device(1).stats.flowsOpened).toBe(3000);
    for (let id = 0; id < 3000; id++) test.flows({ ...flow(id), counters: [1, 50, 1, 50] });
    for (let id = 0; id < 3000; id++) test.flows({ ...flow(id), event: "End", counters: [2, 100, 1, 50] });
    expect(test.traffic(1)).toEqual([300_000, 150_000, 6000, 3000]);
    expect(test.device(1).stats.flowsOpened).toBe(3000);
    expect(test.spin.capture.flowsUntracked).toBe(3000 - 1024);
  });

  it("leaves half of its room to the other devices", () => {
    const test = new TestHome({ limits: { flows: 2048 } })
      .network()
      .neighbour(1, "192.0.2.10")
      .neighbour(2, "192.0.2.20");
    for (let id = 0; id < 3000; id++)
      test.flows({ id, event: "New", from: "192.0.2.10", to: "198.51.100.7", sourcePort: id });
    expect(test.spin.capture.flowCount).toBe(1024);
    for (let id = 0; id < 1000; id++)
      test.flows({ id, event: "New", from: "192.0.2.20", to: "198.51.100.7", sourcePort: id });
    expect(test.device(2).stats.activeFlowCount).toBe(1000);
  });

  it("says Partial while a flow is offloaded", () => {
    const test = home().flows({ from: "192.0.2.10", to: "198.51.100.7", flags: 4 });
    test.spin.tick();
    expect(test.spin.accuracy).toBe("Partial");
    test.flows({ event: "End", from: "192.0.2.10", to: "198.51.100.7" });
    test.spin.tick();
    expect(test.spin.accuracy).toBe("Exact");
  });

  it("says Estimated for an hour after something was lost", () => {
    const test = home();
    test.tell({ kind: "loss", time: test.clock.now(), lost: 3 });
    expect([test.spin.accuracy, test.spin.capture.eventsLost]).toEqual(["Estimated", 3]);
    test.after(3_601_000).spin.tick();
    expect(test.spin.accuracy).toBe("Exact");
  });
});
