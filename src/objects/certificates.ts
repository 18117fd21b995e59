/** `Device.LocalAgent.Certificate.{i}.` and `Device.Security.`: certificates that the agent knows, and those it shows. */
import { createHash } from "node:crypto";
import { Certificate, Security, SecurityCertificate } from "../../datamodel/certificates.ts";
import { readCertificate, readCertificates, type Certificate as X509 } from "../lib/certificate.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { CommandCall, Implementation, ModelTree } from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";
import {
  CERTIFICATE_TABLE,
  addCertificate,
  type CertificateBook,
  type KnownCertificate,
} from "../usp/trust/certificate-book.ts";

/** Longest PEM or base64 that is read. */
const MAX_TEXT = 32_768;
const MAX_NAME = 256;

export function certificateObjects(book: CertificateBook): Implementation[] {
  const rows = (isShown: (row: KnownCertificate) => boolean) => ({
    instances: () => book.all().flatMap((row) => (isShown(row) ? [row.instance] : [])),
    row: (_: unknown, instance: number) => {
      const row = book.get(instance);
      return row && isShown(row) ? row : undefined;
    },
    remove: (_: unknown, instance: number) => book.remove(instance),
  });
  const common = {
    set: { Enable: (row: KnownCertificate, enabled: boolean) => book.enable(row, enabled) },
    validate: (row: KnownCertificate) => {
      if (row.enabled || row.source === "given") return;
      throw new UspError(UspErrorCode.InvalidValue, "Enable: the configuration names this certificate", "Enable");
    },
    committed: ({ kind, row }: { kind: string; row: KnownCertificate }) =>
      book.committed(kind === "changed" ? row : undefined),
  };
  const facts = {
    Enable: (row: KnownCertificate) => row.enabled,
    SerialNumber: ({ certificate }: KnownCertificate) => certificate.serial.slice(0, 64),
    Issuer: ({ certificate }: KnownCertificate) => certificate.issuer.slice(0, MAX_NAME),
  };
  return [
    bind(Certificate, {
      ...common,
      rows: rows(({ source }) => source !== "own"),
      get: { ...facts, Alias: (row: KnownCertificate) => row.alias },
      commands: {
        "Delete()": (row: KnownCertificate, _, call: CommandCall) => forget(row, call),
        "GetFingerprint()": ({ certificate }: KnownCertificate, { FingerprintAlgorithm }) => {
          const algorithm = (FingerprintAlgorithm as string).toLowerCase().replace("-", "");
          return { Fingerprint: createHash(algorithm).update(certificate.der).digest("hex") };
        },
      },
    }),
    bind(Security, { get: {} }),
    bind(SecurityCertificate, {
      ...common,
      rows: rows(() => true),
      get: {
        ...facts,
        LastModif: ({ changed }: KnownCertificate) => changed,
        NotBefore: ({ certificate }: KnownCertificate) => certificate.notBefore,
        NotAfter: ({ certificate }: KnownCertificate) => certificate.notAfter,
        Subject: ({ certificate }: KnownCertificate) => certificate.subject.slice(0, MAX_NAME),
        SubjectAlt: ({ certificate: { dnsNames, uris } }: KnownCertificate) =>
          [...dnsNames, ...uris].filter((name) => /^[\x21-\x2b\x2d-\x7e]+$/.test(name)),
        SignatureAlgorithm: ({ certificate }: KnownCertificate) => certificate.signatureAlgorithm,
      },
    }),
  ];
}

/** LocalAgent.AddCertificate() */
export function add(
  book: CertificateBook,
  { Alias, Certificate: text }: Given,
  { tree }: CommandCall,
): KnownCertificate {
  return addCertificate(tree, book, certificateOf(text ?? ""), Alias ?? "");
}

/** Controller.{i}.AddMyCertificate(): for the caller's own row alone, and under its own endpoint id. */
export function addMine(
  book: CertificateBook,
  endpointId: string,
  { Alias, Certificate: text }: Given,
  { tree, caller, objectPath }: CommandCall,
): void {
  if (`${caller.controller}.` !== objectPath)
    throw new UspError(UspErrorCode.PermissionDenied, `${objectPath} is another controller's`);
  const certificate = certificateOf(text ?? "");
  if (!certificate.endpointIds.includes(endpointId))
    throw argument(`it is of ${certificate.endpointIds.join(", ") || "no endpoint id"}, not of ${endpointId}`);
  const known = book
    .all()
    .find((row) => row.source !== "own" && row.certificate.fingerprint === certificate.fingerprint);
  const { instance } = known ?? addCertificate(tree, book, certificate, Alias ?? "");
  const node = mustBe(tree, objectPath);
  const transaction = new Transaction(tree);
  const before = node.object.params.get("Credential")?.read(node.row) as readonly string[];
  transaction.write(node, "Credential", [...new Set([...before, `${CERTIFICATE_TABLE}${instance}`])]);
  transaction.commit();
}

interface Given {
  readonly Alias: string | undefined;
  readonly Certificate: string | undefined;
}

/** @throws UspError 7027 */
function certificateOf(text: string): X509 {
  if (text.length > MAX_TEXT) throw argument(`it is longer than ${MAX_TEXT} characters`);
  try {
    if (!text.includes("-----BEGIN")) return readCertificate(Buffer.from(text, "base64"));
    const [certificate, another] = readCertificates(text);
    if (another) throw new Error("there is more than one in it");
    return certificate as X509;
  } catch (error) {
    throw argument((error as Error).message);
  }
}

function forget({ source }: KnownCertificate, { tree, caller, objectPath }: CommandCall): Record<string, never> {
  if (source !== "given")
    throw new UspError(UspErrorCode.CommandFailed, `${objectPath} is named by the configuration: it stays`);
  const transaction = new Transaction(tree, caller);
  transaction.remove(mustBe(tree, objectPath));
  transaction.commit();
  return {};
}

function mustBe(tree: ModelTree, path: string) {
  const node = tree.at(path);
  if (!node) throw new UspError(UspErrorCode.ObjectDoesNotExist, `${path} is not there`, path);
  return node;
}

const argument = (why: string) =>
  new UspError(UspErrorCode.InvalidCommandArguments, `Certificate: ${why}`, "Certificate");
