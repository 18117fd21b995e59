/**
 * A virtual machine with Debian's stock kernel, for what this machine's kernel lacks: an initramfs of busybox, nft, ip,
 * conntrack, Node and the agent as it is built, run by QEMU without hardware help. Some ten seconds to start, a minute or
 * two in all.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { bundle } from "../agent.ts";
import { missing, programPath } from "../needs.ts";
import { trafficTool } from "../traffic.ts";

/** Where the package lies: Debian's linux-image-…-amd64 as `apt-get download` leaves it. */
const KERNEL_PACKAGE = process.env["SPIN_KERNEL_DEB"];
const PROGRAMS = ["nft", "ip", "conntrack"];
const MODULES = ["net", "lib", "crypto", "arch/x86/crypto", "drivers/net/veth.ko"];
const MEMORY_MB = 900;

/** Why no such machine can be had here, in words; `undefined` if it can. */
export function machineMissing(): string | undefined {
  if (KERNEL_PACKAGE === undefined)
    return "needs SPIN_KERNEL_DEB, a package of Debian's kernel (apt-get download linux-image-6.1.0-…-amd64)";
  if (!existsSync(KERNEL_PACKAGE)) return `needs ${KERNEL_PACKAGE}, which SPIN_KERNEL_DEB names`;
  if (process.arch !== "x64") return "needs an x86-64 machine";
  return missing("qemu-system-x86_64", "busybox", "cpio", "dpkg-deb", "cc", ...PROGRAMS);
}

/** Runs the script as the machine's first process; resolves with what it printed. */
export async function runMachine(script: string, timeoutMs: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "spin-machine-"));
  try {
    const { kernel, initramfs } = build(folder, script);
    return await boot(kernel, initramfs, timeoutMs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function build(folder: string, script: string): { kernel: string; initramfs: string } {
  const [unpacked, root] = [join(folder, "package"), join(folder, "root")];
  execFileSync("dpkg-deb", ["-x", KERNEL_PACKAGE as string, unpacked]);
  const [version] = readdirSync(join(unpacked, "lib/modules"));
  if (version === undefined) throw new Error(`${KERNEL_PACKAGE} holds no modules`);
  for (const part of ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "etc", "lib64"])
    mkdirSync(join(root, part), { recursive: true });
  const busybox = programPath("busybox") as string;
  const from = join(unpacked, "lib/modules", version, "kernel");
  for (const part of MODULES.filter((path) => existsSync(join(from, path))))
    cpSync(join(from, part), join(root, "lib/modules", version, "kernel", part), { recursive: true });
  for (const name of ["modules.builtin", "modules.order"])
    copyFileSync(join(unpacked, "lib/modules", version, name), join(root, "lib/modules", version, name));
  put(busybox, root, "bin/busybox");
  execFileSync(busybox, ["depmod", "-b", root, version]);
  for (const applet of execFileSync(busybox, ["--list"], { encoding: "utf8" }).split("\n"))
    if (applet !== "" && !PROGRAMS.includes(applet) && !existsSync(join(root, "bin", applet)))
      symlinkSync("/bin/busybox", join(root, "bin", applet));
  symlinkSync("/bin/busybox", join(root, "sbin/modprobe"));
  for (const name of PROGRAMS) put(programPath(name) as string, root, join("usr/sbin", name));
  put(process.execPath, root, "usr/bin/node");
  put(trafficTool(), root, "spin/traffic");
  const dist = dirname(bundle());
  cpSync(dist, join(root, "spin/dist"), { recursive: true });
  for (const part of ["bin", "src/enforce"]) cpSync(resolve(part), join(root, "spin", part), { recursive: true });
  put(resolve("build/spin-usp-helper"), root, "spin/build/spin-usp-helper");
  copyFileSync(script, join(root, "init"));
  chmodSync(join(root, "init"), 0o755);
  const initramfs = join(folder, "initramfs");
  execFileSync("sh", ["-c", 'cd "$1" && find . | cpio -o -H newc --quiet > "$2"', "sh", root, initramfs]);
  return { kernel: join(unpacked, `boot/vmlinuz-${version}`), initramfs };
}

/** Copies a program and the libraries that it loads. */
function put(program: string, root: string, path: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  copyFileSync(program, join(root, path));
  chmodSync(join(root, path), 0o755);
  let libraries = "";
  try {
    libraries = execFileSync("ldd", [program], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return; // linked statically
  }
  for (const [, library] of libraries.matchAll(/(?:=> |^\s*)(\/\S+) \(/gm)) {
    if (library === undefined || existsSync(join(root, library))) continue;
    mkdirSync(dirname(join(root, library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
}

function boot(kernel: string, initramfs: string, timeoutMs: number): Promise<string> {
  const args = ["-m", String(MEMORY_MB), "-nographic", "-no-reboot", "-nic", "none", "-kernel", kernel];
  args.push("-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1");
  return new Promise((resolve, reject) => {
    const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    let text = "";
    const read = (chunk: Buffer) => (text = (text + chunk.toString()).slice(-1_000_000));
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("close", () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}
