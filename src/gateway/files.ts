/** Where the parts that are no JavaScript lie: beside the program as installed, or in the source tree. */
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";

/** The first of the usual places that holds the file; `undefined` if none does. */
export function findPart(
  name: "spin-usp-helper" | "spin.nft" | "spin-bridge.nft" | "boot.sh" | "vendors.bin",
): string | undefined {
  const program = programFolder();
  const places = [
    program,
    join(program, "../build"),
    join(program, "../dist"),
    join(program, "../src/enforce"),
    "/usr/lib/spin-usp",
    "/usr/libexec",
  ];
  return places.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function programFolder(): string {
  try {
    return dirname(realpathSync(process.argv[1] ?? "."));
  } catch {
    return ".";
  }
}
