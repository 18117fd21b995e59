/** Notices to the resident, against a real HTTP server and a real mosquitto. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import { ROOT } from "../../../datamodel/spin-root.ts";
import { parseConfig } from "../../../src/config.ts";
import { runNotifier, type NotifierOptions } from "../../../src/gateway/notices/notifier.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { systemZone, namedZone } from "../../../src/lib/local-time.ts";
import { connectMqtt } from "../../../src/mtp/mqtt.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort, hasMosquitto, startMosquitto } from "../../support/mosquitto.ts";
import { parseMac } from "../../../src/lib/address.ts";
import { Gateway, PHONE, trySet } from "../../objects/support.ts";
import { blockedUntil, shown } from "../../../src/gateway/notices/sentence.ts";

interface Posted {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}
type Handler = (request: IncomingMessage, response: ServerResponse, post: Posted) => void;

const posts: Posted[] = [];
let handler: Handler = (_request, response) => response.end();
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    const post = { headers: request.headers, body };
    posts.push(post);
    handler(request, response, post);
  });
});
let base = "";
let folder = "";
let gateway: Gateway;
let stopping: AbortController;
let running: Promise<void> | undefined;

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = mkdtempSync(join(tmpdir(), "spin-notices-"));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  posts.length = 0;
  handler = (_request, response) => void response.end();
  stopping = new AbortController();
  gateway = await Gateway.start();
  gateway.home.neighbour(1, "192.0.2.10").lease(1, "192.0.2.10", "hall-cam");
});
afterEach(async () => {
  stopping.abort();
  await running;
  running = undefined;
  await gateway.stop();
});

const PACE = { burst: 3, everyMs: 400, retryMs: 20, retryMaximumMs: 60, attempts: 50 };

function start(options: string, over: Partial<NotifierOptions> = {}, broker = ""): string[] {
  const said: string[] = [];
  const config = parseConfig(
    `config agent\n\toption endpoint_id 'os::02AA00-1'\nconfig notice\n${options}\nconfig local_broker\n${broker}`,
  );
  const note = (text: string) => void said.push(text);
  running = runNotifier(
    {
      tree: gateway.tree,
      notice: config.notice,
      broker: config.localBroker,
      zone: systemZone,
      log: { ...silentLog, info: note, warn: note },
      connect: connectMqtt,
      pace: PACE,
      timeoutMs: 300,
      namingMs: 1,
      ...over,
    },
    stopping.signal,
  );
  return said;
}

/** As the objects tell it: the row is there, the event follows. */
function incident(number: number, severity = "Medium", name = "IncidentOpened!"): void {
  gateway.tree.changes.emit({
    kind: "event",
    path: ROOT,
    name,
    args: {
      Incident: `${ROOT}Incident.${number}`,
      Type: "HostScan",
      Severity: severity,
      Device: `${ROOT}Device.1`,
      Summary: "hall-cam tried to reach 198.51.100.7",
    },
  });
}

const bodies = () => posts.map(({ body }) => body);

describe("by HTTP", () => {
  test("a plain sentence, as ntfy takes it, without whom it was about", async () => {
    writeFileSync(join(folder, "token"), "tk_secret\n");
    start(`\toption url '${base}/home'\n\toption token_file '${join(folder, "token")}'`);
    incident(1, "High");
    await eventually(bodies, (all) => all.length === 1);
    expect(posts[0]).toMatchObject({
      body: "The camera (hall-cam) is trying to reach many addresses in the Internet, as an infected device does.",
      headers: {
        title: "Something looks wrong",
        priority: "5",
        tags: "rotating_light,HostScan",
        authorization: "Bearer tk_secret",
        "content-type": "text/plain; charset=utf-8",
      },
    });
  });

  test("a real incident: below min_severity not told, then as it grew and was blocked, once, and at its end", async () => {
    const { incidents } = gateway.spin.detection;
    const mac = parseMac(PHONE) as number;
    const finding = (severity: "Low" | "Medium") => ({
      ...{ type: "HostScan" as const, slot: 0, severity, time: Date.now(), measured: 60, threshold: 50 },
      ...{ windowMs: 60_000, summary: "tried to reach 60 addresses", peers: ["198.51.100.7"] },
    });
    start(`\toption url '${base}'\n\toption peers '1'`);
    const { incident: made } = incidents.report(finding("Low"), mac);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(posts).toHaveLength(0);
    for (let time = 0; time < 5; time++) incidents.report(finding("Medium"), mac);
    await eventually(bodies, (all) => all.length === 1);
    incidents.setState(made.number, "Closed");
    await eventually(bodies, (all) => all.length === 2);
    expect(posts[0]?.body).toContain(" It was about 198.51.100.7.");
    expect(posts[1]?.body).toMatch(/^The camera \(hall-cam\) is quiet again: that it is trying .* is over\.$/);
    expect(posts[1]?.body).not.toContain("198.51");
  });

  test("AutoBlock says until when", async () => {
    await trySet(gateway.as("Operator"), `${ROOT}Detection.Flood.`, { AutoBlock: "true", BlockDuration: "600" });
    const flooding = { type: "Flood" as const, slot: 0, severity: "High" as const, time: Date.now(), measured: 9000 };
    start(`\toption url '${base}'`);
    gateway.spin.detection.incidents.report(
      { ...flooding, threshold: 100, windowMs: 5000, summary: "sent much", peers: [] },
      parseMac(PHONE) as number,
    );
    await eventually(bodies, (all) => all.length === 1);
    expect(posts[0]?.body).toMatch(
      /as a device does that takes part in an attack\. It has been blocked until .*\d\d:\d\d\.$/,
    );
  });

  test("a new device, whose name is no line of its own", async () => {
    start(`\toption url '${base}'`);
    gateway.home.neighbour(7, "192.0.2.77").lease(7, "192.0.2.77", "kettle\nEvil: x");
    await eventually(bodies, (all) => all.length > 0);
    expect(posts[0]?.body).toMatch(/^A new device is in your home network: the device kettle/);
    expect(posts[0]?.body).not.toContain("\n");
  });

  test("a server that refuses, hangs or is busy is tried again; the newest state comes in the end", async () => {
    const answers: Handler[] = [
      (_request, response) => void response.writeHead(503).end(),
      () => undefined,
      (_request, response) => void response.writeHead(429, { "Retry-After": "0" }).end(),
    ];
    let at = 0;
    handler = (request, response, post) => (answers[at++] ?? ((_a, ok) => void ok.end()))(request, response, post);
    const said = start(`\toption url '${base}'`);
    incident(1);
    await eventually(
      () => at,
      (count) => count >= 2,
    );
    incident(1, "Medium", "IncidentClosed!");
    await eventually(bodies, (all) => all.some((body) => body.includes("quiet again")));
    await eventually(
      () => said.length,
      (count) => count >= 2,
    );
    expect(said).toEqual([expect.stringMatching(/answered 503/), "notices reach their place again"]);
  });

  test("what is wrong for good is not tried again", async () => {
    handler = (_request, response) => void response.writeHead(404).end();
    const said = start(`\toption url '${base}'`);
    incident(1);
    await eventually(
      () => said.length,
      (count) => count === 1,
    );
    handler = (_request, response) => void response.end();
    incident(2);
    await eventually(bodies, (all) => all.length === 2);
    expect(posts[1]?.body).toContain("(1 notice before this one was left out.)");
  });

  test("redirections are not followed, with or without a token", async () => {
    handler = (_request, response) => void response.writeHead(307, { Location: `${base}/elsewhere` }).end();
    const said = start(`\toption url '${base}/home'`);
    incident(1);
    await eventually(
      () => said.length,
      (count) => count === 1,
    );
    expect(posts).toHaveLength(1);
  });

  test("a storm is slowed down, and what was left out is counted", async () => {
    start(`\toption url '${base}'`, { pace: { ...PACE, everyMs: 100 } });
    for (let number = 1; number <= 500; number++) incident(number);
    await eventually(
      () => posts.length,
      (count) => count >= 4,
      { timeoutMs: 5000 },
    );
    expect(posts.length).toBeLessThan(60);
    expect(bodies().join()).toContain("notices before this one were left out");
  });

  test("a server that is down is reached when it is back; the secret is in no log", async () => {
    writeFileSync(join(folder, "token"), "tk_secret\n");
    const port = await freePort();
    const said = start(`\toption url 'http://127.0.0.1:${port}'\n\toption token_file '${join(folder, "token")}'`);
    incident(1);
    await eventually(
      () => said.length,
      (count) => count === 1,
    );
    const late = createServer((request, response) => {
      request.resume();
      response.end();
    }).listen(port, "127.0.0.1");
    await eventually(
      () => said.length,
      (count) => count === 2,
    );
    late.closeAllConnections();
    late.close();
    expect(said.join()).not.toContain("tk_secret");
  });
});

(hasMosquitto ? describe : describe.skip)(`by MQTT${hasMosquitto ? "" : " (needs mosquitto)"}`, () => {
  test("an object with the sentence, once the broker is there", async () => {
    const broker = await startMosquitto();
    const got: string[] = [];
    try {
      await broker.kill();
      const said = start(
        `\toption topic 'home/notices'`,
        {},
        `\toption host '127.0.0.1'\n\toption port '${broker.port}'`,
      );
      incident(3);
      await eventually(
        () => said.length,
        (count) => count === 1,
      );
      await broker.start();
      const client = await connectAsync(broker.url);
      client.on("message", (_topic, payload) => got.push(payload.toString()));
      await client.subscribeAsync("home/notices");
      incident(4);
      await eventually(
        () => got.length,
        (count) => count >= 1,
      );
      await client.endAsync();
    } finally {
      await broker.stop();
    }
    const message = JSON.parse(got.at(-1) as string) as Record<string, unknown>;
    expect(message).toMatchObject({
      kind: "IncidentOpened",
      severity: "Medium",
      device: "hall-cam",
      physAddress: PHONE,
    });
    expect(message["text"]).toContain("The camera (hall-cam) is trying to reach many addresses");
  });
});

test("times are the home's", () => {
  const zone = namedZone("Europe/Amsterdam") ?? systemZone;
  const now = Date.UTC(2026, 0, 6, 12);
  expect(blockedUntil(Date.UTC(2026, 0, 6, 20), now, zone)).toBe(" It has been blocked until 21:00.");
  expect(shown(Date.UTC(2026, 0, 6, 23, 30), now, zone)).toBe("Wednesday 00:30");
  expect(shown(Date.UTC(2026, 2, 6, 20), now, zone)).toBe("2026-03-06 21:00");
});

describe("the configuration", () => {
  const parse = (options: string) => () => parseConfig(`config agent\n\toption endpoint_id 'os::02AA00-1'\n${options}`);

  test("is off as shipped", () => {
    const { notice, spin1 } = parse("")();
    expect([notice.url, notice.topic, spin1.socket, spin1.mqtt]).toEqual(["", "", "", false]);
  });

  test.each([
    ["http://203.0.113.9/home", /without TLS/],
    ["http://ntfy.example/home", /without TLS/],
    ["ftp://ntfy.example/home", /must match/],
  ])("refuses %s", (url, error) => {
    expect(parse(`config notice\n\toption url '${url}'`)).toThrow(error);
  });

  test("refuses a topic without a broker, and a broker in the open", () => {
    expect(parse("config notice\n\toption topic 'a'")).toThrow(/local_broker has no host/);
    expect(parse("config local_broker\n\toption host '192.0.2.9'")).toThrow(/allow_plaintext/);
  });
});
