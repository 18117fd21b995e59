/** Whom the agent talks to, as the enforcer is told: while it dials and a while after, bounded. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { Connections, type Endpoint } from "../../src/gateway/connections.ts";
import { observeDials, openSocket } from "../../src/mtp/socket.ts";
import { eventually } from "../support/eventually.ts";

let told: (readonly Endpoint[])[];
let connections: Connections;
beforeEach(() => {
  // What lingers of one test does not count in the next.
  const mine: (readonly Endpoint[])[] = (told = []);
  connections = new Connections((endpoints) => mine.push(endpoints), 30);
});
afterEach(() => observeDials(undefined));
const turn = () => new Promise((resolve) => setImmediate(resolve));
const never = new AbortController().signal;

test("a connection is told before it stands, by where its name leads, and forgotten a while after it ended", async () => {
  observeDials(connections);
  const server = createServer((socket) => socket.on("error", () => undefined)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = await openSocket({ host: "localhost", port, tls: undefined }, never);
  expect(told.at(-1)).toContainEqual({ address: "127.0.0.1", port });
  socket.destroy();
  await eventually(
    async () => told.at(-1)?.length,
    (count) => count === 0,
    { what: "the endpoint goes" },
  );
  server.close();
});

test("one that can't be had is told all the same: the rule may be what keeps it away", async () => {
  observeDials(connections);
  await expect(openSocket({ host: "127.0.0.1", port: 1, tls: undefined }, never)).rejects.toThrow(/nothing listens/);
  expect(told).toEqual([[{ address: "127.0.0.1", port: 1 }]]);
});

test("two of the same are one, and a retry changes nothing", async () => {
  const first = connections.dialled(["198.51.100.7"], 8883);
  const second = connections.dialled(["198.51.100.7"], 8883);
  await turn();
  first();
  second();
  connections.dialled(["198.51.100.7"], 8883);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(told).toEqual([[{ address: "198.51.100.7", port: 8883 }]]);
});

test("rows that dial everywhere make no more than 32 holes", async () => {
  for (let i = 1; i <= 40; i++) connections.dialled([`198.51.100.${i}`], 443);
  await turn();
  expect(told).toHaveLength(1);
  expect(told[0]).toHaveLength(32);
});
