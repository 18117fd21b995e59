/** What a broker's section of the configuration names as files: the password and what TLS needs. */
import { readFileSync } from "node:fs";
import type { Config } from "../config.ts";
import type { InstanceNode } from "../model/tree.ts";
import { MtpError } from "../mtp/error.ts";
import type { TlsOptions } from "../mtp/socket.ts";

export interface BrokerFiles {
  readonly password_file: string;
  readonly ca_file: string;
  readonly cert_file: string;
  readonly key_file: string;
}

/** What a controller wrote, else what the configured file holds. */
export function passwordOf(client: InstanceNode, files: BrokerFiles | undefined): string {
  const written = client.object.params.get("Password")?.read(client.row) as string | undefined;
  if (written !== undefined && written !== "") return written;
  return files && files.password_file !== ""
    ? readFile(files.password_file, "password_file")
        .toString("utf8")
        .replace(/\r?\n$/, "")
    : "";
}

/** @throws MtpError address: a file can't be read */
export function tlsOptions(files: BrokerFiles | undefined): TlsOptions {
  const file = (option: "ca_file" | "cert_file" | "key_file", key: string) =>
    files && files[option] !== "" ? { [key]: readFile(files[option], option) } : {};
  return { ...file("ca_file", "ca"), ...file("cert_file", "cert"), ...file("key_file", "key") };
}

/** Revocation lists, for all connections alike. @throws MtpError address: a file can't be read */
export function revocationLists({ agent }: Config): Pick<TlsOptions, "crl"> {
  return agent.crl_file.length === 0 ? {} : { crl: agent.crl_file.map((path) => readFile(path, "crl_file")) };
}

function readFile(path: string, option: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new MtpError("address", `option ${option}: ${(error as Error).message}`);
  }
}
