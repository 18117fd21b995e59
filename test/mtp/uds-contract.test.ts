/** The Link contract over Unix domain sockets: our client and our server, with a relay between that can cut. */
import { connectUds, type UdsConnection } from "../../src/mtp/uds-client.ts";
import { listenUds } from "../../src/mtp/uds-server.ts";
import { linkContract } from "../contracts/link.ts";
import { Relay, socketFolder } from "../support/uds.ts";

const folder = socketFolder();
const stop = new AbortController();
const accepted: ((connection: UdsConnection) => void)[] = [];
let relay: Relay;
let running: Promise<void>;

beforeAll(async () => {
  await new Promise<void>((listening) => {
    const options = { path: folder.path("server"), endpointId: "self::b", limits: { incomingRecords: 64 } };
    running = listenUds(options, stop.signal, { listening, accept: (connection) => accepted.shift()?.(connection) });
  });
  relay = await Relay.open(folder.path("relay"), folder.path("server"));
});

afterAll(async () => {
  stop.abort();
  relay.close();
  await running;
  folder.remove();
});

linkContract("A Unix domain socket", () => ({
  connect: async () => {
    const other = new Promise<UdsConnection>((resolve) => accepted.push(resolve));
    const options = { path: folder.path("relay"), endpointId: "self::a", limits: { incomingRecords: 64 } };
    const a = await connectUds(options, stop.signal);
    return { a, b: await other };
  },
  cut: () => Promise.resolve(relay.cut()),
  restore: () => Promise.resolve(),
}));
