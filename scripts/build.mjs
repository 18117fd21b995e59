// The gateway's bundle: one file that needs Node alone. Beside it a file for each of the operator's tools, which only
// their own subcommand loads. Prints their sizes and fails past the gateway's bound.
import { build } from "esbuild";
import { readFileSync, statSync } from "node:fs";
import { root } from "./setup.mjs";
import { basename, join } from "node:path";
import { writeVendors } from "./vendors.mjs";

const LIMIT = 700_000;
const GATEWAY = "dist/spin-usp.cjs";
const TOOLS = { ctl: "dist/spin-usp-ctl.cjs", replay: "dist/spin-usp-replay.cjs" };
/** Read by the gateway itself when the first WebSocket is to be opened. */
const WEBSOCKET = { module: "src/mtp/websocket-ends.ts", file: "dist/spin-usp-websocket.cjs" };
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

// mqtt.js can also speak through WebSockets and SOCKS proxies; we hand it our own sockets, so neither is carried for it.
const EMPTY = ["ws", "socks", "worker-timers"];
// `ws` for our own WebSockets does without compression, which we never ask for, its streams, and its events for browsers.
const WS_STUBS = {
  "permessage-deflate": 'module.exports = { extensionName: "permessage-deflate" };',
  "event-target": "module.exports = { EventTarget: {} };",
  extension: "module.exports = {};",
  stream: "module.exports = {};",
};
const SMALL_CACHE = `
class LRUCache extends Map {
  constructor({ max }) { super(); this.max = max; }
  get(key) { const value = super.get(key); if (super.delete(key)) super.set(key, value); return value; }
  set(key, value) { super.delete(key); if (this.size >= this.max) super.delete(this.keys().next().value); return super.set(key, value); }
}
module.exports = { LRUCache };`;
const leaveOut = {
  name: "leave-out",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: new RegExp(`^(?:${EMPTY.join("|")})$`) }, ({ path, importer }) =>
      importer.includes("/node_modules/mqtt/") ? { path, namespace: "left-out" } : undefined,
    );
    onResolve(
      { filter: /^\.\/(?:lib\/)?(?:permessage-deflate|event-target|extension|stream)(?:\.js)?$/ },
      ({ path, importer }) =>
        importer.includes("/node_modules/ws/") ? { path: basename(path, ".js"), namespace: "ws" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "ws" }, ({ path }) => ({ contents: WS_STUBS[path] }));
    onLoad({ filter: /.*/, namespace: "left-out" }, () => ({ contents: "module.exports = {};" }));
    // mqtt.js formats what nobody reads.
    onResolve({ filter: /^debug$/ }, ({ path }) => ({ path, namespace: "silent" }));
    onLoad({ filter: /.*/, namespace: "silent" }, () => ({
      contents: "const say = () => {}; say.enabled = false; say.extend = () => say; module.exports = () => say;",
    }));
    // mqtt.js keeps at most so many topics as the broker's Topic Alias Maximum, and we never name one: a Map will do.
    onResolve({ filter: /^lru-cache$/ }, ({ path }) => ({ path, namespace: "small-cache" }));
    onLoad({ filter: /.*/, namespace: "small-cache" }, () => ({ contents: SMALL_CACHE }));
    onResolve({ filter: /^readable-stream$/ }, () => ({ path: "stream", external: true }));
  },
};
// What main loads for `ctl` or `replay` alone stays a file of its own.
const toolsApart = {
  name: "tools-apart",
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`/cli/(?:${Object.keys(TOOLS).join("|")})\\.ts$`) }, ({ path, kind }) =>
      kind === "dynamic-import"
        ? { path: `./${basename(TOOLS[basename(path, ".ts")])}`, external: true }
        : { errors: [{ text: "the gateway's bundle may not import an operator's tool" }] },
    );
    onResolve({ filter: new RegExp(`/${basename(WEBSOCKET.module)}$`) }, () => ({
      path: `./${basename(WEBSOCKET.file)}`,
      external: true,
    }));
  },
};

const options = {
  bundle: true,
  minify: true,
  legalComments: "external",
  charset: "utf8",
  platform: "node",
  format: "cjs",
  target: "node20",
  define: {
    __SPIN_USP_VERSION__: JSON.stringify(version),
    // `ws` would take two native packages where they happen to be installed.
    "process.env.WS_NO_BUFFER_UTIL": '"1"',
    "process.env.WS_NO_UTF_8_VALIDATE": '"1"',
  },
  // `import()` of a CommonJS file has Node search it for the names it exports: `require` it.
  supported: { "dynamic-import": false },
  metafile: true,
  logLevel: "warning",
};
const { metafile } = await build({
  ...options,
  entryPoints: [join(root, "src/main.ts")],
  outfile: join(root, GATEWAY),
  plugins: [leaveOut, toolsApart],
});
const apart = [...Object.entries(TOOLS).map(([name, file]) => ({ module: `src/cli/${name}.ts`, file })), WEBSOCKET];
for (const { module, file } of apart)
  await build({
    ...options,
    entryPoints: [join(root, module)],
    outfile: join(root, file),
    plugins: [leaveOut],
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
