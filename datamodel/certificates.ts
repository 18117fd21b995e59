/** TR-181 2.19: certificates that the agent knows, and those of the gateway. */
import { argument, command, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { CERTIFICATE } from "./standard.ts";
import { alias, boolean, dateTime, enumeration, hexBinary, list, string } from "./values.ts";

export const Certificate = object(CERTIFICATE, {
  description: "A certificate that the agent knows: an authority's that it trusts, or a controller's.",
  keys: [["Alias"]],
  functionalKeys: [["SerialNumber", "Issuer"]],
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is trusted. What shows one that is not is banned."),
    SerialNumber: readOnly(string({ maxLength: 64 }), "Serial number, hexadecimal."),
    Issuer: readOnly(string({ maxLength: 256 }), "Who issued it."),
  },
  commands: {
    "Delete()": command("sync", "Forgets it. One that the configuration names stays."),
    "GetFingerprint()": command("sync", "Tells its fingerprint.", {
      input: {
        FingerprintAlgorithm: argument(enumeration("SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"), "By what.", {
          mandatory: true,
        }),
      },
      output: { Fingerprint: argument(hexBinary(), "The hash of its DER.") },
    }),
  },
});

export const Security = object("Device.Security.", { description: "Certificates of the gateway." });

export const SecurityCertificate = object("Device.Security.Certificate.{i}.", {
  description: "A certificate that the agent knows, or shows as its own.",
  functionalKeys: [["SerialNumber", "Issuer"]],
  params: {
    Enable: readWrite(
      boolean,
      "Whether it is trusted. The agent's own, and those that the configuration names, always.",
    ),
    LastModif: readOnly(dateTime, "When it came, or was last enabled or disabled."),
    SerialNumber: readOnly(string({ maxLength: 64 }), "Serial number, hexadecimal."),
    Issuer: readOnly(string({ maxLength: 256 }), "Who issued it."),
    NotBefore: readOnly(dateTime, "From when it is valid."),
    NotAfter: readOnly(dateTime, "Until when."),
    Subject: readOnly(string({ maxLength: 256 }), "Whose it is."),
    SubjectAlt: readOnly(list(string()), "Names of its owner: hosts, and endpoint ids as urn:bbf:usp:id:."),
    SignatureAlgorithm: readOnly(string({ maxLength: 256 }), "Object identifier of the signature, DER in hexadecimal."),
  },
});
