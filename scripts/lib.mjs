// What the scripts share: running a TypeScript module of the project without a build step.
import { build } from "esbuild";
import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** Bundles the module to a temporary file inside the project (so that packages resolve) and imports it. */
export async function runTypeScript(entry) {
  const directory = mkdtempSync(join(resolve("node_modules"), ".run-"));
  const outfile = join(directory, "module.mjs");
  try {
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      packages: "external",
      logLevel: "error",
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
