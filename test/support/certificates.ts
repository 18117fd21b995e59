/** Certificates of authorities of the test's own, made by openssl: good, expired, revoked, for another host, of a stranger. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface IssueOptions {
  readonly host?: string;
  readonly expired?: boolean;
  readonly notYetValid?: boolean;
  /** USP endpoint id in a URI of subjectAltName; without a `host` it is the only name. */
  readonly endpointId?: string;
  /** extendedKeyUsage: `serverAuth`, `clientAuth`. */
  readonly purpose?: string;
}

export interface Issued {
  /** PEM files, which anybody may read. */
  readonly cert: string;
  readonly key: string;
  /** The certificate and the intermediates above it. */
  readonly chain: string;
}

export interface Authority {
  /** PEM file of its certificate. */
  readonly file: string;
  /** Issues a certificate for a host name or an address. */
  issue(name: string, options?: IssueOptions): Issued;
  /** An authority below this one. */
  intermediate(name: string): Authority;
  /** Revokes what it issued. */
  revoke(cert: string): void;
  /** PEM file of its list of what it revoked. */
  revocationList(): string;
}

const CONFIG = `
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
serial = serial
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
policy = any
email_in_dn = no
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
`;

const REQUEST = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const AUTHORITY = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];

/** Makes one in a folder, which must be there. */
export function authority(folder: string, name: string): Authority {
  const home = newHome(folder, name);
  openssl(home, ...REQUEST, "-x509", "-days", "30", "-subj", `/CN=${name}`, "-keyout", "ca.key", "-out", "ca.pem");
  return authorityIn(home, "");
}

/** A certificate that nobody else vouches for. */
export function selfSigned(folder: string, name: string, { host, endpointId }: IssueOptions = {}): Issued {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const names = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=${namesOf(host ?? "", endpointId)}`];
  openssl(folder, ...REQUEST, "-x509", "-days", "30", ...names, "-keyout", key, "-out", cert);
  chmodSync(key, 0o644);
  return { cert, key, chain: cert };
}

/** @param above PEM of the authorities above it, but for the root */
function authorityIn(home: string, above: string): Authority {
  const sign = (csr: string, cert: string, ...dates: string[]) =>
    openssl(
      home,
      ...["ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key"],
      ...[...dates, "-in", csr, "-out", cert],
    );
  return {
    file: join(home, "ca.pem"),
    issue: (file, { host, expired = false, notYetValid = false, endpointId, purpose } = {}) => {
      const [key, csr, cert] = [`${file}.key`, `${file}.csr`, `${file}.pem`];
      const named = host ?? (endpointId === undefined ? "localhost" : "");
      const extensions = ["-addext", `subjectAltName=${namesOf(named, endpointId)}`];
      if (purpose !== undefined) extensions.push("-addext", `extendedKeyUsage=${purpose}`);
      const subject = `/CN=${named === "" ? file : named}`;
      openssl(home, ...REQUEST, "-subj", subject, ...extensions, "-keyout", key, "-out", csr);
      const from = notYetValid ? "20980101000000Z" : "20200101000000Z";
      sign(csr, cert, "-startdate", from, "-enddate", expired ? "20200201000000Z" : "20991231235959Z");
      chmodSync(join(home, key), 0o644);
      const chain = join(home, `${file}.chain.pem`);
      writeFileSync(chain, readFileSync(join(home, cert), "utf8") + above);
      return { cert: join(home, cert), key: join(home, key), chain };
    },
    intermediate: (name) => {
      const below = newHome(home, name);
      const csr = join(below, "ca.csr");
      openssl(below, ...REQUEST, "-subj", `/CN=${name}`, ...AUTHORITY, "-keyout", "ca.key", "-out", csr);
      sign(csr, join(below, "ca.pem"), "-startdate", "20200101000000Z", "-enddate", "20991231235959Z");
      return authorityIn(below, readFileSync(join(below, "ca.pem"), "utf8") + above);
    },
    revoke: (cert) =>
      openssl(home, "ca", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-revoke", cert),
    revocationList: () => {
      const file = ["ca", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out", "crl.pem"];
      openssl(home, ...file);
      return join(home, "crl.pem");
    },
  };
}

function newHome(folder: string, name: string): string {
  const home = join(folder, name);
  mkdirSync(home);
  chmodSync(home, 0o755);
  writeFileSync(join(home, "ca.conf"), CONFIG);
  writeFileSync(join(home, "index"), "");
  writeFileSync(join(home, "serial"), "1000\n");
  writeFileSync(join(home, "crlnumber"), "1000\n");
  return home;
}

function namesOf(host: string, endpointId: string | undefined): string {
  const names = endpointId === undefined ? [] : [`URI:urn:bbf:usp:id:${endpointId}`];
  if (host !== "") names.unshift(`${/^[\d.]+$|:/.test(host) ? "IP" : "DNS"}:${host}`);
  return names.join(",");
}

function openssl(home: string, ...args: string[]): void {
  const { status, stderr } = spawnSync("openssl", args, { cwd: home, encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}
