/** What doctor looks at: each check says what is, whether that is fine, and the remedy if not. Nothing is changed. */
import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Config } from "../config.ts";
import { silentLog } from "../lib/log.ts";
import { NetfilterHelper } from "../netlink/helper.ts";
import { findPart } from "./files.ts";
import { lockOwner } from "./state-lock.ts";
import { STATUS_FILE, type AgentStatus } from "./status.ts";

export interface Check {
  readonly topic: string;
  readonly name: string;
  readonly state: "ok" | "warn" | "fail";
  /** What was found, in words. */
  readonly found: string;
  /** Empty if all is well. */
  readonly remedy: string;
}

const execute = promisify(execFile);

/** @param machineOnly Without state and agent, which only a configuration tells where to look for. */
export async function allChecks(config: Config, { machineOnly = false } = {}): Promise<Check[]> {
  const [privileges, tools, offload] = await Promise.all([privilegeChecks(config), toolChecks(), offloadChecks()]);
  return [
    ...platformChecks(),
    ...privileges,
    ...conntrackChecks(),
    ...offload,
    ...tools,
    ...(machineOnly ? [] : [...stateChecks(config), ...agentChecks(config)]),
  ];
}

export function configMissing(places: readonly string[]): Check {
  const remedy = "write one (docs/configuration.md lists all options), or name it with --config";
  return fail("configuration", "file", `there is none at ${places.join(" or ")}`, remedy);
}

const ok = (topic: string, name: string, found: string): Check => ({ topic, name, state: "ok", found, remedy: "" });
const warn = (topic: string, name: string, found: string, remedy: string): Check => ({
  topic,
  name,
  state: "warn",
  found,
  remedy,
});
const fail = (topic: string, name: string, found: string, remedy: string): Check => ({
  topic,
  name,
  state: "fail",
  found,
  remedy,
});

function platformChecks(): Check[] {
  const major = Number(process.versions.node.split(".")[0]);
  const memory = Number(/MemTotal:\s+(\d+)/.exec(read("/proc/meminfo"))?.[1] ?? 0) / 1024;
  return [
    major >= 20
      ? ok("platform", "node", process.version)
      : fail("platform", "node", process.version, "install Node 20 or newer"),
    ok("platform", "kernel", release()),
    memory >= 200
      ? ok("platform", "memory", `${Math.round(memory)} MB`)
      : warn(
          "platform",
          "memory",
          `${Math.round(memory)} MB`,
          "the agent takes about 75 MB: 256 MB of RAM are advised",
        ),
  ];
}

/** Bits of CapEff (linux/capability.h). */
const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

async function privilegeChecks({ capture }: Config): Promise<Check[]> {
  const effective = BigInt(`0x${/CapEff:\s+([0-9a-f]+)/.exec(read("/proc/self/status"))?.[1] ?? "0"}`);
  const own = (effective >> CAP_NET_ADMIN) & (effective >> CAP_NET_RAW) & 1n;
  const checks = [
    ok("privileges", "doctor itself", `user ${process.getuid?.() ?? "?"}${own ? ", may configure the network" : ""}`),
  ];
  if (capture.helper === "none")
    return [...checks, warn("privileges", "helper", "option helper is none", "remove option helper from capture")];
  const program = capture.helper === "" ? findPart("spin-usp-helper") : capture.helper;
  if (program === undefined || !existsSync(program)) {
    const remedy = "npm run helper builds it (a C compiler and the kernel's headers are needed)";
    return [
      ...checks,
      fail("privileges", "helper", program === undefined ? "not found" : `${program} does not exist`, remedy),
    ];
  }
  const control = new AbortController();
  const helper = new NetfilterHelper({ command: [program], log: silentLog });
  const runs = helper.run(control.signal);
  const reason = await helper.usable();
  const { mayReadFrames } = helper;
  let kernel = "";
  if (reason === undefined)
    kernel = await helper.dumpConntrack(() => undefined, { buffers: 1, pauseMs: 0 }).then(() => "", String);
  control.abort();
  await runs;
  const remedy = `setcap cap_net_admin,cap_net_raw+ep ${program}, or start the agent with these capabilities`;
  if (reason !== undefined) checks.push(fail("privileges", "helper", `${program}: ${reason}`, remedy));
  else if (kernel !== "")
    checks.push(fail("privileges", "helper", `${program} may not read conntrack: ${kernel}`, remedy));
  else checks.push(ok("privileges", "helper", `${program} works`));
  if (reason === undefined)
    checks.push(
      mayReadFrames
        ? ok("privileges", "frames", capture.frames ? "may be read" : "may be read; option frames is off")
        : warn(
            "privileges",
            "frames",
            "the helper lacks CAP_NET_RAW: no ARP scans, names, models and MUD URLs from the LAN, and no captures",
            remedy,
          ),
    );
  return checks;
}

const SETTINGS = [
  ["nf_conntrack_acct", "bytes and packets are not counted"],
  ["nf_conntrack_events", "the ends of flows are missed"],
  ["nf_conntrack_timestamp", "starts of flows are known only roughly"],
] as const;

function conntrackChecks(): Check[] {
  const folder = "/proc/sys/net/netfilter";
  if (!existsSync(`${folder}/nf_conntrack_max`)) {
    return [
      fail(
        "kernel",
        "conntrack",
        "the kernel has no connection tracking",
        "load nf_conntrack, or install kmod-nf-conntrack",
      ),
    ];
  }
  const checks = SETTINGS.map(([name, cost]) => {
    const value = read(`${folder}/${name}`).trim() || "absent";
    return value === "1"
      ? ok("kernel", name, value)
      : warn(
          "kernel",
          name,
          `${value}: ${cost}`,
          `the agent sets it through the helper; by hand: sysctl -w net.netfilter.${name}=1`,
        );
  });
  const most = Number(read(`${folder}/nf_conntrack_max`));
  const now = Number(read(`${folder}/nf_conntrack_count`));
  const room = `${now} of ${most} entries`;
  checks.push(
    now < 0.9 * most
      ? ok("kernel", "conntrack table", room)
      : warn(
          "kernel",
          "conntrack table",
          room,
          "raise net.netfilter.nf_conntrack_max: past it connections fail, and are not seen",
        ),
  );
  return checks;
}

async function toolChecks(): Promise<Check[]> {
  const version = (program: string, args: string[]) =>
    execute(program, args, { timeout: 3000 }).then(
      ({ stdout, stderr }) => (stdout + stderr).trim().split("\n")[0] ?? "",
      () => undefined,
    );
  const nft = await version("nft", ["--version"]);
  const conntrack = await version("conntrack", ["--version"]);
  return [
    nft === undefined
      ? fail("tools", "nft", "not found", "install nftables: without it no rule can be enforced")
      : ok("tools", "nft", nft),
    conntrack === undefined
      ? ok("tools", "conntrack", "not found: needed only without the helper")
      : ok("tools", "conntrack", conntrack),
    findPart("spin.nft") === undefined
      ? fail("tools", "ruleset", "spin.nft was not found", "install spin-usp whole")
      : ok("tools", "ruleset", findPart("spin.nft") as string),
  ];
}

async function offloadChecks(): Promise<Check[]> {
  const listed = await execute("nft", ["-j", "list", "flowtables"], { timeout: 3000 }).then(
    ({ stdout }) =>
      JSON.parse(stdout) as { nftables: { flowtable?: { name: string; table: string; flags?: unknown } }[] },
    () => undefined,
  );
  if (!listed)
    return [warn("kernel", "flow offload", "can't be told: nft does not list flowtables here", "run doctor as root")];
  const tables = listed.nftables.flatMap(({ flowtable }) =>
    flowtable ? [`${flowtable.table} ${flowtable.name}`] : [],
  );
  if (tables.length === 0) return [ok("kernel", "flow offload", "none")];
  return [
    warn(
      "kernel",
      "flow offload",
      `flowtable ${tables.join(", ")}`,
      "counters of offloaded flows may be partial; blocks delete their entries, so that they stop",
    ),
  ];
}

function stateChecks({ agent }: Config): Check[] {
  const directory = agent.state_dir;
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (isAbsent)
      return [
        warn(
          "state",
          "directory",
          `${directory} is not there yet`,
          "the first start makes it; the user that runs the agent must be allowed to",
        ),
      ];
    return [
      fail(
        "state",
        "directory",
        (error as Error).message,
        `run doctor as root, or as the user that runs the agent, who must own ${directory}`,
      ),
    ];
  }
  const { bavail, bsize } = statfsSync(directory);
  const free = (bavail * bsize) / 1e6;
  return [
    free > 10
      ? ok("state", "directory", `${directory}, ${Math.round(free)} MB free`)
      : warn(
          "state",
          "directory",
          `${directory}, ${free.toFixed(1)} MB free`,
          "make room: rules are kept in memory but not over a restart",
        ),
  ];
}

function agentChecks({ agent, mqtt, stomp, websockets, sockets, service, controllers }: Config): Check[] {
  const path = join(agent.state_dir, STATUS_FILE);
  const checks: Check[] = [];
  const hasDoor = service.enable || sockets.some(({ enable, role }) => enable && role !== "Resident");
  const isReachable = hasDoor || mqtt.length + stomp.length + websockets.length > 0;
  if (!isReachable && controllers.every(({ websocket_url }) => websocket_url === ""))
    checks.push(
      fail("agent", "brokers", "the configuration names none", "add a section: config mqtt, stomp or websocket"),
    );
  if (controllers.length === 0 && !hasDoor)
    checks.push(fail("agent", "controllers", "the configuration names none", "add a section: config controller"));
  const status = readStatus(path);
  if (typeof status === "string") return [...checks, warn("agent", "process", status, "spin-usp run")];
  const owner = lockOwner(agent.state_dir);
  checks.push(
    owner === undefined
      ? warn("agent", "process", "does not run; what follows is its last word", "spin-usp run")
      : ok("agent", "process", `runs as ${owner}`),
  );
  checks.push(ok("agent", "endpoint id", status.endpointId));
  checks.push(
    status.spin.status === "Running"
      ? ok("agent", "SPIN", `${status.spin.status}, counters ${status.spin.accuracy}`)
      : warn("agent", "SPIN", `${status.spin.status}: ${status.spin.reason}`, "see the sources below"),
  );
  for (const source of status.sources) {
    const found = `${source.status}${source.backend ? ` by ${source.backend}` : ""}`;
    checks.push(
      source.status === "Running"
        ? ok("agent", `source ${source.name}`, found)
        : warn(
            "agent",
            `source ${source.name}`,
            `${found}${source.lastError ? `: ${source.lastError}` : ""}`,
            "see privileges and kernel above",
          ),
    );
  }
  for (const { path: row, broker, topic, status: state, reason, lastRecordIn, lastRecordOut } of status.mtps) {
    const found = `${broker} ${state}, listens on ${topic || "nothing"}; last Record in ${lastRecordIn}, out ${lastRecordOut}`;
    checks.push(
      state === "Up"
        ? ok("agent", row, found)
        : fail("agent", row, `${found}: ${reason}`, "check host, port, credentials and TLS of its section"),
    );
  }
  for (const { endpointId, enabled, topic } of status.controllers) {
    checks.push(
      enabled === "true"
        ? ok(
            "agent",
            `controller ${endpointId}`,
            topic === "" ? "no topic: it gets no notifications" : `notified at ${topic}`,
          )
        : warn("agent", `controller ${endpointId}`, "disabled", "set Enable of its row"),
    );
  }
  return checks;
}

/** What the agent wrote last, or in words why it can't be told. */
function readStatus(path: string): AgentStatus | string {
  try {
    const status = JSON.parse(readFileSync(path, "utf8")) as AgentStatus | null;
    return Array.isArray(status?.mtps) ? status : "what it said last can't be read: another version's";
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return "it has not run with this state directory";
    return `what it said last can't be read: ${message}`;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
