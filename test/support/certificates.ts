/** Certificates of an authority of the test's own, made by openssl: good, expired, for another host, of a stranger. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Authority {
  /** PEM file of its certificate. */
  readonly file: string;
  /** Issues a certificate for a host name or an address; PEM files, which anybody may read. */
  issue(name: string, options?: { readonly host?: string; readonly expired?: boolean }): { cert: string; key: string };
}

const CONFIG = `
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
email_in_dn = no
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
`;

/** Makes one in a folder, which must be there. */
export function authority(folder: string, name: string): Authority {
  const home = join(folder, name);
  mkdirSync(home);
  chmodSync(home, 0o755);
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync("openssl", args, { cwd: home, encoding: "utf8" });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  writeFileSync(join(home, "ca.conf"), CONFIG);
  writeFileSync(join(home, "index"), "");
  writeFileSync(join(home, "serial"), "1000\n");
  openssl(...request, "-x509", "-days", "30", "-subj", `/CN=${name}`, "-keyout", "ca.key", "-out", "ca.pem");
  return {
    file: join(home, "ca.pem"),
    issue: (file, { host = "localhost", expired = false } = {}) => {
      const kind = /^[\d.]+$|:/.test(host) ? "IP" : "DNS";
      const [key, csr, cert] = [`${file}.key`, `${file}.csr`, `${file}.pem`];
      openssl(
        ...request,
        "-subj",
        `/CN=${host}`,
        "-addext",
        `subjectAltName=${kind}:${host}`,
        "-keyout",
        key,
        "-out",
        csr,
      );
      const dates = expired
        ? ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
        : ["-startdate", "20200101000000Z", "-enddate", "20991231235959Z"];
      openssl(
        "ca",
        "-batch",
        "-notext",
        "-config",
        "ca.conf",
        "-cert",
        "ca.pem",
        "-keyfile",
        "ca.key",
        ...dates,
        "-in",
        csr,
        "-out",
        cert,
      );
      chmodSync(join(home, key), 0o644);
      return { cert: join(home, cert), key: join(home, key) };
    },
  };
}
