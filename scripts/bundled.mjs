/** How esbuild makes one file that needs Node alone, and what of the libraries stays out of it. */
import { basename, join } from "node:path";
import { root } from "./setup.mjs";
import { withoutDescriptions } from "./without-descriptions.mjs";

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
    // We hand mqtt.js our own sockets: its client alone will do, without the ways by which it connects, and its manifest.
    onResolve({ filter: /^mqtt$/ }, ({ path, importer }) =>
      importer.startsWith(join(root, "src")) ? { path, namespace: "mqtt-client" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "mqtt-client" }, () => ({
      contents: 'exports.MqttClient = require("./node_modules/mqtt/build/lib/client.js").default;',
      resolveDir: root,
    }));
    onLoad({ filter: /\/node_modules\/mqtt\/package\.json$/ }, () => ({ contents: "{}", loader: "json" }));
    // mqtt.js formats what nobody reads.
    onResolve({ filter: /^debug$/ }, ({ path }) => ({ path, namespace: "silent" }));
    onLoad({ filter: /.*/, namespace: "silent" }, () => ({
      contents: "const say = () => {}; say.enabled = false; say.extend = () => say; module.exports = () => say;",
    }));
    // mqtt.js keeps at most so many topics as the broker's Topic Alias Maximum, and we never name one: a Map will do.
    onResolve({ filter: /^lru-cache$/ }, ({ path }) => ({ path, namespace: "small-cache" }));
    onLoad({ filter: /.*/, namespace: "small-cache" }, () => ({ contents: SMALL_CACHE }));
    // The parser keeps its bytes in a `bl`, and never uses that it is a stream as well.
    onResolve({ filter: /^bl$/ }, () => ({ path: join(root, "node_modules/bl/BufferList.js") }));
    // It is `process` in every Node that we run in.
    onResolve({ filter: /^process-nextick-args$/ }, ({ path }) => ({ path, namespace: "next-tick" }));
    onLoad({ filter: /.*/, namespace: "next-tick" }, () => ({ contents: "module.exports = process;" }));
    onResolve({ filter: /^readable-stream$/ }, () => ({ path: "stream", external: true }));
  },
};

/** Options of esbuild's `build`. */
export const BUNDLED = {
  bundle: true,
  minify: true,
  legalComments: "external",
  charset: "utf8",
  platform: "node",
  format: "cjs",
  target: "node20",
  define: {
    // `ws` would take two native packages where they happen to be installed.
    "process.env.WS_NO_BUFFER_UTIL": '"1"',
    "process.env.WS_NO_UTF_8_VALIDATE": '"1"',
  },
  // `import()` of a CommonJS file has Node search it for the names it exports: `require` it.
  supported: { "dynamic-import": false },
  plugins: [leaveOut, withoutDescriptions],
  logLevel: "warning",
};
