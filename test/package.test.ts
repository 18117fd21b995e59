/** What `npm pack` carries is what a gateway needs, and installing it never fails for want of a compiler. */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "./support/agent.ts";

const root = join(__dirname, "..");
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

describe("the package", () => {
  test("carries all that a gateway needs", () => {
    const { stdout, status } = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts", "--offline"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(status).toBe(0);
    const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const carried = files.map(({ path }) => path);
    const helper = readdirSync(join(root, "src/netlink/helper")).map((name) => `src/netlink/helper/${name}`);
    const docs = readdirSync(join(root, "docs")).map((name) => `docs/${name}`);
    expect(carried).toEqual(
      expect.arrayContaining([
        "bin/spin-usp",
        ...(existsSync(join(root, "dist/spin-usp.cjs"))
          ? ["", "-ctl", "-replay", "-doctor", "-websocket", "-stomp"]
              .map((part) => `dist/spin-usp${part}.cjs`)
              .concat("dist/vendors.bin")
          : []),
        ...helper,
        "src/enforce/spin.nft",
        "src/enforce/spin-bridge.nft",
        "src/enforce/boot.sh",
        "scripts/helper.mjs",
        ...docs,
        "datamodel/generated/data-model.md",
        "README.md",
        "LICENSE",
      ]),
    );
    // Scripts that it names and that a gateway runs are in it.
    for (const name of ["install", "helper"]) expect(carried).toContain(/node (\S+)/.exec(scripts[name] ?? "")?.[1]);
  }, 30_000);

  test("the gateway's bundle stands alone; the operator's tools say that they are not installed", () => {
    const folder = mkdtempSync(join(tmpdir(), "spin-usp-package-"));
    try {
      copyFileSync(bundle(), join(folder, "spin-usp.cjs"));
      const spin = (...args: string[]) => {
        const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, "spin-usp.cjs"), ...args], {
          encoding: "utf8",
        });
        return { code: status, out: stdout, err: stderr };
      };
      for (const command of ["run", "reset"])
        expect(spin(command, "--help")).toMatchObject({ code: 0, out: expect.stringContaining("Usage"), err: "" });
      for (const command of ["ctl", "replay", "doctor"])
        expect(spin(command, "--help")).toMatchObject({
          code: 69,
          out: "",
          err: expect.stringMatching(new RegExp(`^spin-usp: ${command} is not installed here: .*-${command}\\.cjs`)),
        });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("installs without a compiler: the helper's script says so and succeeds", () => {
    const folder = mkdtempSync(join(tmpdir(), "spin-usp-package-"));
    try {
      for (const output of [join(folder, "helper"), "/dev/null/helper"]) {
        const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts/helper.mjs"), output], {
          encoding: "utf8",
          env: { PATH: "/nowhere" },
        });
        expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining("npm run helper") });
        expect(existsSync(output)).toBe(false);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
