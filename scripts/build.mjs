// The gateway's bundle: one file that needs Node alone. Prints its size and fails past the bound.
import { build } from "esbuild";
import { readFileSync, statSync } from "node:fs";
import { root } from "./setup.mjs";
import { join } from "node:path";
import { writeVendors } from "./vendors.mjs";

const LIMIT = 700_000;
const outfile = join(root, "dist/spin-usp.cjs");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

// mqtt.js can also speak through WebSockets and SOCKS proxies; we hand it our own sockets, so neither is carried.
const EMPTY = ["ws", "socks", "worker-timers"];
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
    onResolve({ filter: new RegExp(`^(?:${EMPTY.join("|")})$`) }, ({ path }) => ({ path, namespace: "left-out" }));
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

const { metafile } = await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile,
  bundle: true,
  minify: true,
  legalComments: "external",
  charset: "utf8",
  platform: "node",
  format: "cjs",
  target: "node20",
  define: { __SPIN_USP_VERSION__: JSON.stringify(version) },
  plugins: [leaveOut],
  metafile: true,
  logLevel: "warning",
});

const bytes = statSync(outfile).size;
console.log(`dist/spin-usp.cjs: ${bytes} bytes of at most ${LIMIT}`);
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
