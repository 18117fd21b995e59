/** TR-181 2.19: who may do what. */
import { object, readWrite, writeOnce } from "./schema.ts";
import { ROLE } from "./standard.ts";
import { alias, boolean, list, reference, string, unsignedInt } from "./values.ts";

export const ControllerTrust = object("Device.LocalAgent.ControllerTrust.", {
  description: "Who may do what.",
  params: {
    UntrustedRole: readWrite(list(reference(ROLE)), "Roles of a controller that has none."),
    BannedRole: readWrite(reference(ROLE), "Role of a controller whose credential was revoked."),
    SecuredRoles: readWrite(list(reference(ROLE)), "Roles that may read secured parameters."),
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
