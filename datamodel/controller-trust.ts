/** TR-181 2.19: who may do what. */
import { argument, command, object, readWrite, writeOnce } from "./schema.ts";
import { CERTIFICATE, ROLE, seconds } from "./standard.ts";
import { alias, base64, boolean, enumeration, int, list, reference, string, unsignedInt } from "./values.ts";

const CHALLENGE = "Device.LocalAgent.ControllerTrust.Challenge.{i}.";

export const ControllerTrust = object("Device.LocalAgent.ControllerTrust.", {
  description: "Who may do what.",
  params: {
    UntrustedRole: readWrite(list(reference(ROLE)), "Roles of a controller that has none."),
    BannedRole: readWrite(reference(ROLE), "Role of a controller whose credential was revoked."),
    SecuredRoles: readWrite(list(reference(ROLE)), "Roles that may read secured parameters."),
    TOFUAllowed: readWrite(
      boolean,
      "Whether a controller that is not known may come, by a certificate of its own or a trusted broker. It gets UntrustedRole.",
    ),
    TOFUInactivityTimer: readWrite(
      seconds(),
      "How long one that came so, and has no role yet, may be silent before it is forgotten; 0: for ever.",
    ),
  },
  commands: {
    "RequestChallenge()": command("sync", "Asks for a challenge, by which a controller gets its roles.", {
      input: {
        ChallengeRef: argument(reference(CHALLENGE, { strong: false }), "Row of the challenge.", { mandatory: true }),
        RequestExpiration: argument(
          int({ min: 0, units: "seconds" }),
          "How long the answer may take; 0 or absent: five minutes.",
        ),
      },
      output: {
        Instruction: argument(base64(), "What a person is to do."),
        InstructionType: argument(string(), "What kind of text that is."),
        ValueType: argument(string(), "What kind of answer is wanted."),
        ChallengeID: argument(string(), "Goes into ChallengeResponse()."),
      },
    }),
    "ChallengeResponse()": command(
      "sync",
      "Answers it. If the answer is right, the caller gets the challenge's roles.",
      {
        input: {
          ChallengeID: argument(string(), "Of RequestChallenge().", { mandatory: true }),
          Value: argument(base64(), "The answer.", { mandatory: true }),
        },
      },
    ),
  },
});

export const Role = object(ROLE, {
  description: "A set of permissions.",
  keys: [["Alias"]],
  functionalKeys: [["Name"]],
  rows: "add-delete",
  maxRows: 32,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it gives its permissions."),
    Name: readWrite(string({ maxLength: 64 }), "Its name."),
  },
});

const rights = string({ maxLength: 4, pattern: "[r-][w-][x-][n-]" });

export const Permission = object(`${ROLE}Permission.{i}.`, {
  description:
    "What the role may do to some paths. Of several that match, the one with the highest Order decides alone.",
  keys: [["Alias"]],
  functionalKeys: [["Order"]],
  rows: "add-delete",
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it counts."),
    Order: readWrite(unsignedInt(), "Higher decides over lower."),
    Targets: readWrite(list(string({ maxLength: 256 })), "Partial paths, instances, or search paths to parameters."),
    Param: readWrite(rights, "Of parameters: r Get and GetSupportedDM, w Add and Set, n ValueChange.", {
      default: "----",
    }),
    Obj: readWrite(rights, "Of objects: r use in paths and GetSupportedDM, w Add, n ObjectCreation.", {
      default: "----",
    }),
    InstantiatedObj: readWrite(rights, "Of rows: r GetInstances, w Delete, n ObjectDeletion.", { default: "----" }),
    CommandEvent: readWrite(
      rights,
      "Of commands and events: r GetSupportedDM, x Operate, n Event and OperationComplete.",
      {
        default: "----",
      },
    ),
  },
});

export const Credential = object("Device.LocalAgent.ControllerTrust.Credential.{i}.", {
  description: "What a certificate brings to those whom it vouches for. The nearest in their chain counts.",
  keys: [["Alias"]],
  functionalKeys: [["Credential"]],
  rows: "add-delete",
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether the certificate vouches. One without a row does, and brings no role."),
    Role: readWrite(list(reference(ROLE)), "Roles that it brings (InheritedRole)."),
    Credential: readWrite(reference(CERTIFICATE), "The certificate, an authority's or a controller's."),
    AllowedUses: readWrite(
      enumeration("MTP-only", "MTP-and-USP", "MTP-and-broker"),
      "For what: connections alone; also for who a controller is; or for a broker, whose word on its clients is taken.",
    ),
  },
});

export const Challenge = object(CHALLENGE, {
  description: "A question whose answer gives a controller roles.",
  keys: [["Alias"]],
  rows: "add-delete",
  maxRows: 16,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Description: readWrite(string({ maxLength: 256 }), "What it is for."),
    Role: readWrite(list(reference(ROLE)), "Roles that the right answer gives."),
    Enable: readWrite(boolean, "Whether it may be asked for."),
    Type: readWrite(enumeration("Passphrase"), "What is asked for."),
    Value: readWrite(base64(), "The right answer. It is read back by nobody.", { secured: true, hidden: true }),
    ValueType: readWrite(enumeration("text/plain", "image/jpeg"), "What kind of answer is wanted."),
    Instruction: readWrite(base64(), "What a person is to do, for a page to show."),
    InstructionType: readWrite(enumeration("text/plain", "image/jpeg", "text/html"), "What kind of text that is."),
    Retries: readWrite(unsignedInt(), "Wrong answers of one controller, after the first, until it is locked out."),
    LockoutPeriod: readWrite(int({ min: 0, units: "seconds" }), "For how long.", { default: 30 }),
  },
});
