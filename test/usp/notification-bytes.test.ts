/** What notifications hold in memory is bounded in bytes, whoever does not answer; how things stand is told all the same. */
import {
  addRow,
  buildWorld,
  removeRow,
  setParams,
  settle,
  subscribe,
  until,
  type Peer,
  type World,
} from "./support.ts";

const MIB = 2 ** 20;
const LARGE = 64_000;
const RETRY = { NotifRetry: "true" };

let world: World;
beforeEach(async () => {
  world = await buildWorld();
});
afterEach(() => world.stop());

/** As large as the greatest Push! of a bulk data profile. */
const ring = (who: number, size = LARGE) =>
  world.tree.changes.emit({
    kind: "event",
    path: "Device.House.",
    name: "Rang!",
    args: { Who: `${who}`, Why: "y".repeat(size) },
  });
const open = (path: string) => world.tree.changes.emit({ kind: "event", path, name: "Opened!", args: {} });
const counters = () => world.agent.counters.notifications;

/** Who rang, as far as the peer was told, each once. */
const rings = (peer: Peer) => [
  ...new Set(
    peer.notifies.flatMap(({ notification }) =>
      notification?.$case === "event" && notification.value.eventName === "Rang!"
        ? [Number(notification.value.params.get("Who"))]
        : [],
    ),
  ),
];
const values = (peer: Peer) =>
  peer.notifies.flatMap(({ notification }) =>
    notification?.$case === "valueChange"
      ? [[notification.value.paramPath, notification.value.paramValue] as const]
      : [],
  );

/** Answers all that was not answered, and what comes from now on. */
function answerAll(peer: Peer): void {
  peer.answers = true;
  for (const [i, { sendResp }] of peer.notifies.entries()) if (sendResp) peer.answer(peer.notifyIds[i] as string, "");
}

const silentPeer = (name: string) => {
  const peer = world.peer(`self::${name}`);
  peer.answers = false;
  return peer;
};

test("a controller that never answers holds 4 MiB; the oldest that wait give way, and values are told in the end", async () => {
  const silent = silentPeer("silent");
  await subscribe(silent, "Event", "Device.House.Rang!", RETRY);
  await subscribe(silent, "ValueChange", "Device.House.", RETRY);
  for (let i = 0; i < 1_000; i++) {
    ring(i);
    if (i % 50 === 0) {
      setParams(world.tree, "Device.House.", { Name: `${i}` });
      await settle();
    }
  }
  await settle();
  expect(counters().bytes).toBeLessThanOrEqual(4 * MIB);
  // What is out has half of it, what waits the other half.
  expect(counters().bytes).toBeGreaterThan(3.5 * MIB);
  expect(counters().dropped).toBeGreaterThan(900);
  expect(rings(silent).length).toBeLessThan(40);
  expect(values(silent).at(-1)).toEqual(["Device.House.Name", "950"]);
  answerAll(silent);
  await until(() => counters().waiting === 0);
  expect(counters().bytes).toBe(0);
  expect(rings(silent)).toHaveLength(1_000 - counters().dropped);
  expect(rings(silent).slice(-10)).toEqual(Array.from({ length: 10 }, (_, i) => 990 + i));
}, 30_000);

test("small happenings that want no answer are not lost to great ones that do", async () => {
  const silent = silentPeer("silent");
  await subscribe(silent, "Event", "Device.House.Rang!", RETRY);
  const { path } = addRow(world.tree, "Device.House.Room.");
  await subscribe(silent, "Event", `${path}Opened!`);
  world.network.isDown = true;
  world.network.cut();
  for (let i = 0; i < 200; i++) {
    ring(i);
    open(path);
  }
  expect(counters().bytes).toBeLessThanOrEqual(4 * MIB);
  world.network.isDown = false;
  const opened = () => silent.notifies.filter(({ sendResp }) => !sendResp);
  await until(() => opened().length === 200);
});

test("all together hold 16 MiB; the one who holds most gives way, and who holds little or answers loses nothing", async () => {
  const quiet = silentPeer("quiet");
  const { path } = addRow(world.tree, "Device.House.Room.");
  await subscribe(quiet, "Event", `${path}Opened!`, RETRY);
  open(path);
  await subscribe(world.admin, "Event", "Device.House.Rang!", RETRY);
  const silent = Array.from({ length: 10 }, (_, i) => silentPeer(`silent-${i}`));
  for (const peer of silent) {
    await subscribe(peer, "Event", "Device.House.Rang!", RETRY);
    await subscribe(peer, "ValueChange", "Device.House.Size", RETRY);
  }
  for (let i = 0; i < 150; i++) {
    ring(i);
    world.house.size = i;
    world.tree.changes.value("Device.House.", "Size");
    await settle();
    expect(counters().bytes).toBeLessThanOrEqual(16 * MIB);
  }
  await until(() => rings(world.admin).length === 150);
  for (const peer of silent) expect(values(peer).at(-1)).toEqual(["Device.House.Size", "149"]);
  world.network.cut();
  await until(() => quiet.notifies.length === 2);
  for (const peer of [quiet, ...silent]) answerAll(peer);
  await until(() => counters().waiting === 0);
  expect(counters().bytes).toBe(0);
  for (const peer of silent) expect(rings(peer).at(-1)).toBe(149);
}, 60_000);

test("a happening that is more than a controller may hold is dropped alone", async () => {
  const silent = silentPeer("silent");
  await subscribe(silent, "Event", "Device.House.Rang!", RETRY);
  ring(0);
  ring(1, 5 * MIB);
  ring(2);
  await until(() => rings(silent).length === 2);
  expect(rings(silent)).toEqual([0, 2]);
  expect(counters()).toMatchObject({ dropped: 1, waiting: 2 });
});

test("a link takes a mebibyte at a time; the rest waits, and is told", async () => {
  await subscribe(world.admin, "Event", "Device.House.Rang!");
  let openGate: () => void = () => undefined;
  world.network.gate = new Promise((resolve) => (openGate = resolve));
  for (let i = 0; i < 40; i++) ring(i);
  await settle();
  expect(counters().waiting).toBeGreaterThan(20);
  openGate();
  world.network.gate = undefined;
  await until(() => rings(world.admin).length === 40);
  expect(counters()).toMatchObject({ dropped: 0, waiting: 0, bytes: 0 });
});

test("a value that was not answered holds nothing: it is read again when it is said again, in the same Message", async () => {
  const silent = silentPeer("silent");
  await subscribe(silent, "ValueChange", "Device.House.Room.*.Secret", RETRY);
  const rows = Array.from({ length: 100 }, () => addRow(world.tree, "Device.House.Room."));
  for (const { path } of rows) setParams(world.tree, path, { Secret: path.padEnd(LARGE, "s") });
  await until(() => silent.notifies.length === 100);
  expect(counters()).toMatchObject({ waiting: 100, bytes: 0 });
  const [gone, ...kept] = rows;
  removeRow(world.tree, gone!.path);
  world.network.cut();
  await until(() => silent.notifies.length === 199);
  await settle();
  // Of a row that is gone there is nothing to say any more.
  expect(silent.notifies).toHaveLength(199);
  expect(silent.notifyIds.slice(100)).toEqual(silent.notifyIds.slice(1, 100));
  expect(values(silent).slice(100)).toEqual(
    kept.map(({ path }) => [`${path}Secret`, path.padEnd(LARGE, "s")] as const),
  );
  answerAll(silent);
  await until(() => counters().waiting === 0);
});
