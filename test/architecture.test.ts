/** The house rules that a program can check: who may import whom, no cycles, no I/O habits where they do not belong. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(__dirname, "..");

/** Folder → folders of ours that it may import. `datamodel` takes pure text functions from lib, so that they stand once. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | "everything">> = {
  proto: [],
  datamodel: ["lib"],
  lib: [],
  model: ["datamodel", "lib"],
  session: ["proto", "lib"],
  usp: ["proto", "session", "model", "datamodel", "lib"],
  mtp: ["usp", "lib"],
  controller: ["proto", "session", "lib", "mtp", "usp"],
  spin: ["lib"],
  netlink: ["lib"],
  capture: ["spin", "netlink", "lib"],
  enforce: ["spin", "netlink", "lib"],
  objects: ["datamodel", "model", "usp", "spin", "lib"],
  gateway: "everything",
  cli: "everything",
  main: "everything",
};

/** Imports that cross a border for types or a port alone, file by file. */
const PORTS: Readonly<Record<string, readonly string[]>> = {
  mtp: ["src/usp/link.ts"],
  controller: ["src/usp/link.ts"],
};

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
  /** Those of them that the bundler follows: neither types alone nor what is loaded when it is wanted. */
  readonly bundled: readonly string[];
}

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return files(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

const sources: Source[] = ["datamodel", "proto", "src"].flatMap(files).map((path) => {
  const text = readFileSync(join(root, path), "utf8");
  const specifiers = [
    ...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^"';]*?from\s*"(\.[^"]+)"|import\("(\.[^"]+)"\)/g),
  ];
  const target = (match: RegExpMatchArray) =>
    relative(root, resolve(root, dirname(path), (match[1] ?? match[2]) as string));
  const bundled = specifiers.filter(
    (match) => match[1] !== undefined && !/^\s*(?:import|export) type\b/.test(match[0]),
  );
  return { path, text, imports: specifiers.map(target), bundled: bundled.map(target) };
});

function layer(path: string): string {
  const [first, second] = path.split("/") as [string, string | undefined];
  if (first !== "src") return first;
  if (second === "config") return "config";
  return path.split("/").length === 2
    ? ["src/config.ts", "src/config-manual.ts", "src/version.ts"].includes(path)
      ? "config"
      : "main"
    : (second as string);
}

describe("the architecture", () => {
  it("lets each folder import only what lies below it", () => {
    const wrong: string[] = [];
    for (const { path, imports } of sources) {
      const mine = layer(path);
      const allowed = mine === "config" ? ["lib"] : MAY_IMPORT[mine];
      if (!allowed) wrong.push(`${path} is in a folder without a rule`);
      if (!allowed || allowed === "everything") continue;
      for (const target of imports) {
        const theirs = layer(target);
        if (theirs === mine || theirs === "config") continue;
        const isPort = PORTS[mine]?.includes(target);
        if (!allowed.includes(theirs) || (PORTS[mine] && theirs === "usp" && !isPort))
          wrong.push(`${path} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("has no import cycles", () => {
    const graph = new Map(sources.map(({ path, imports }) => [path, imports]));
    const state = new Map<string, "open" | "done">();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (state.get(path) === "done") return;
      if (state.get(path) === "open") {
        cycles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
        return;
      }
      state.set(path, "open");
      for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
      state.set(path, "done");
    };
    for (const path of graph.keys()) visit(path, []);
    expect(cycles).toEqual([]);
  });

  it("ends the process in main alone", () => {
    const guilty = sources.filter(({ path, text }) => path !== "src/main.ts" && /process\.exit\(/.test(text));
    expect(guilty.map(({ path }) => path)).toEqual([]);
  });

  it("keeps what only the operator's tools use out of the gateway's commands", () => {
    const graph = new Map(sources.map(({ path, bundled }) => [path, bundled]));
    const reached = new Set(["src/main.ts", "src/cli/run.ts", "src/cli/doctor.ts", "src/cli/reset.ts"]);
    for (const path of reached) for (const target of graph.get(path) ?? []) reached.add(target);
    expect(reached.size).toBeGreaterThan(100);
    const tools = /^src\/(?:controller\/|cli\/(?:ctl|replay)|capture\/(?:pcap-(?!format)|pcap\.|packet(?!-log)))/;
    expect([...reached].filter((path) => tools.test(path))).toEqual([]);
  });

  it("keeps wire types inside usp, controller and what is between them", () => {
    const guilty = sources.filter(
      ({ path, imports }) =>
        !/^(?:proto|src\/usp|src\/controller|src\/session)\//.test(path) &&
        imports.some((target) => target.startsWith("proto/")),
    );
    expect(guilty.map(({ path }) => path)).toEqual([]);
  });
});
