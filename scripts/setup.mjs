/**
 * Brings a fresh clone to where it can build and test: npm's packages, and the Debian packages that the tests use when
 * we may install them. Says loudly what it could not do. Plain Node, nothing installed yet.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Program → the Debian package that holds it, and what goes untested without it. */
const PROGRAMS = {
  ip: ["iproute2", "everything on a live home"],
  nft: ["nftables", "blocking in the kernel"],
  conntrack: ["conntrack", "the source without our helper"],
  mosquitto: ["mosquitto", "MQTT against a real broker"],
  rabbitmqctl: ["rabbitmq-server", "STOMP, and MQTT 3.1.1 against a second broker"],
  activemq: ["activemq", "STOMP against a second broker"],
  tcpdump: ["tcpdump", "captures against tcpdump"],
  dnsmasq: ["dnsmasq-base", "names on a live home"],
  ping: ["iputils-ping", "ICMP on a live home"],
  setpriv: ["util-linux", "everything on a live home"],
  socat: ["socat", "blocking in the kernel"],
  nc: ["netcat-openbsd", "blocking in the kernel"],
  setcap: ["libcap2-bin", "the helper with file capabilities"],
  python3: ["python3", "the helper under hostile input"],
  softflowd: ["softflowd", "the replay's benchmark beside softflowd"],
  protoc: ["protobuf-compiler", "whether proto/generated is stale"],
  cc: ["gcc libc6-dev", "the capture helper and the traffic generator"],
};

/** Returns false when npm's packages could not be had: then nothing else works. */
export function setup() {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    say(`Node ${process.version} is too old: version 20 or newer is needed.`);
    return false;
  }
  return npmPackages() && (debianPackages(), true);
}

export function npmPackages() {
  const stale = staleness();
  if (!stale) return true;
  say(`npm ci (${stale})`);
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: root, stdio: "inherit" });
  if (status !== 0) say("npm ci failed: without its packages nothing can be built or tested.");
  return status === 0;
}

/** Why node_modules does not hold what package-lock.json names, in words; undefined if it does. */
function staleness() {
  const installed = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return "node_modules is missing";
  const have = JSON.parse(readFileSync(installed, "utf8")).packages;
  const want = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  for (const [path, { version, optional }] of Object.entries(want)) {
    if (path === "" || (optional && !have[path])) continue;
    if (have[path]?.version !== version) return `${path} should be ${version}`;
  }
  return undefined;
}

function debianPackages() {
  const missing = Object.keys(PROGRAMS).filter((name) => !onPath(name));
  if (missing.length === 0) return;
  const packages = missing.flatMap((name) => PROGRAMS[name][0].split(" "));
  if (process.getuid?.() === 0 && onPath("apt-get")) {
    say(`apt-get install ${packages.join(" ")}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const apt = (...args) =>
      spawnSync("apt-get", ["-q", ...args], { stdio: ["ignore", "inherit", "inherit"], env }).status;
    const install = ["install", "-y", "--no-install-recommends", ...packages];
    // The lists of a fresh image may be empty or old: update only if the first attempt fails.
    if (apt(...install) !== 0) (apt("update"), apt(...install));
  }
  for (const name of missing.filter((name) => !onPath(name))) {
    const [packageName, use] = PROGRAMS[name];
    say(`NOT INSTALLED: ${name} (apt-get install ${packageName}); without it this is not tested: ${use}.`);
  }
}

function onPath(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(join(folder, name)));
}

function say(text) {
  console.error(`setup: ${text}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = setup() ? 0 : 1;
