// The gateway's bundle: one file that needs Node alone. Beside it a file for each of the operator's tools, which only
// their own subcommand loads. Prints their sizes and fails past the gateway's bound.
import { build } from "esbuild";
import { readFileSync, statSync } from "node:fs";
import { agentsMessages } from "./agents-messages.mjs";
import { BUNDLED } from "./bundled.mjs";
import { root } from "./setup.mjs";
import { basename, join } from "node:path";
import { writeVendors } from "./vendors.mjs";

const LIMIT = 700_000;
const GATEWAY = "dist/spin-usp.cjs";
const TOOLS = {
  ctl: "dist/spin-usp-ctl.cjs",
  replay: "dist/spin-usp-replay.cjs",
  doctor: "dist/spin-usp-doctor.cjs",
  "import-spin": "dist/spin-usp-import-spin.cjs",
};
/** Read by the gateway itself when it needs them: the first connection of the kind, or a way round the helper. */
const APART_WHEN_USED = [
  { module: "src/mtp/mqtt.ts", file: "dist/spin-usp-mqtt.cjs" },
  { module: "src/mtp/websocket-ends.ts", file: "dist/spin-usp-websocket.cjs" },
  { module: "src/mtp/stomp.ts", file: "dist/spin-usp-stomp.cjs" },
  { module: "src/usp/bulk-data/http.ts", file: "dist/spin-usp-http.cjs" },
  { module: "src/gateway/live-capture.ts", file: "dist/spin-usp-capture.cjs" },
  { module: "src/spin/flow-log/open.ts", file: "dist/spin-usp-flow-log.cjs" },
  { module: "src/gateway/mdns.ts", file: "dist/spin-usp-mdns.cjs" },
  { module: "src/gateway/notices/notifier.ts", file: "dist/spin-usp-notices.cjs" },
  { module: "src/gateway/spin1/spin1.ts", file: "dist/spin-usp-spin1.cjs" },
  { module: "src/gateway/list-loader.ts", file: "dist/spin-usp-lists.cjs" },
  { module: "src/enforce/nft-transport.ts", file: "dist/spin-usp-nft.cjs" },
  { module: "src/capture/first-packet-reader.ts", file: "dist/spin-usp-names.cjs" },
  { module: "src/capture/frame-reader.ts", file: "dist/spin-usp-frames.cjs" },
  { module: "src/capture/without-helper.ts", file: "dist/spin-usp-tools.cjs" },
];
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

// What main loads for an operator's tool alone stays a file of its own.
const toolsApart = {
  name: "tools-apart",
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`/cli/(?:${Object.keys(TOOLS).join("|")})\\.ts$`) }, ({ path, kind }) =>
      kind === "dynamic-import"
        ? { path: `./${basename(TOOLS[basename(path, ".ts")])}`, external: true }
        : { errors: [{ text: "the gateway's bundle may not import an operator's tool" }] },
    );
    for (const { module, file } of APART_WHEN_USED)
      onResolve({ filter: new RegExp(`/${basename(module)}$`) }, ({ path, kind, resolveDir }) => {
        if (join(resolveDir, path) !== join(root, module)) return undefined;
        return kind === "dynamic-import"
          ? { path: `./${basename(file)}`, external: true }
          : { errors: [{ text: `${module} is a file of its own: import it when it is used` }] };
      });
  },
};

const options = {
  ...BUNDLED,
  define: { ...BUNDLED.define, __SPIN_USP_VERSION__: JSON.stringify(version) },
  metafile: true,
};
const { metafile } = await build({
  ...options,
  entryPoints: [join(root, "src/main.ts")],
  outfile: join(root, GATEWAY),
  plugins: [...BUNDLED.plugins, agentsMessages, toolsApart],
});
const apart = [
  ...Object.entries(TOOLS).map(([name, file]) => ({ module: `src/cli/${name}.ts`, file })),
  ...APART_WHEN_USED,
];
for (const { module, file } of apart)
  await build({
    ...options,
    entryPoints: [join(root, module)],
    outfile: join(root, file),
  });

const bytes = statSync(join(root, GATEWAY)).size;
console.log(`${GATEWAY}: ${bytes} bytes of at most ${LIMIT}`);
for (const { file } of apart) console.log(`${file}: ${statSync(join(root, file)).size} bytes`);
console.log(`dist/vendors.bin: ${writeVendors(join(root, "dist/vendors.bin"))} bytes`);
if (process.argv.includes("--analyse")) {
  const inputs = Object.entries(Object.values(metafile.outputs).find(({ entryPoint }) => entryPoint)?.inputs ?? {});
  const folders = new Map();
  for (const [path, { bytesInOutput }] of inputs) {
    const folder = /node_modules\/(@[^/]+\/[^/]+|[^/]+)/.exec(path)?.[1] ?? path.split("/").slice(0, 2).join("/");
    folders.set(folder, (folders.get(folder) ?? 0) + bytesInOutput);
  }
  for (const [folder, size] of [...folders].sort((a, b) => b[1] - a[1]).slice(0, 25))
    console.log(`${String(size).padStart(8)} ${folder}`);
}
if (bytes > LIMIT) {
  console.error(`the bundle is larger than ${LIMIT} bytes`);
  process.exitCode = 1;
}
