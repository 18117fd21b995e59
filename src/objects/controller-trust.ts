/** `Device.LocalAgent.ControllerTrust.`: roles and permissions, and the roles that are shipped. */
import { Challenge, ControllerTrust, Credential, Permission, Role } from "../../datamodel/controller-trust.ts";
import type { ObjectSchema } from "../../datamodel/schema.ts";
import { ROOT } from "../../datamodel/spin.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { table } from "../model/table.ts";
import type { Transaction } from "../model/transaction.ts";
import { checkTargets } from "../usp/permission-targets.ts";
import type { Challenges } from "../usp/trust/challenges.ts";

export function controllerTrustObjects(persistence: Persistence | undefined, challenges: Challenges): Implementation[] {
  return [
    table(ControllerTrust, {
      persistence,
      validate: ({ values }) => {
        if (values.UntrustedRole.length > 1)
          throw new UspError(UspErrorCode.InvalidValue, "UntrustedRole: one role at most", "UntrustedRole");
      },
      commands: {
        "RequestChallenge()": (_, { ChallengeRef, RequestExpiration }, call) =>
          challenges.request(ChallengeRef as string, RequestExpiration, call),
        "ChallengeResponse()": (_, { ChallengeID, Value }, call) => {
          challenges.respond(ChallengeID as string, Value as string, call);
          return {};
        },
      },
    }),
    table(Permission, { persistence, validate: ({ values }, { tree }) => checkTargets(tree, values.Targets) }),
    ...[Role, Credential, Challenge].map((schema) => table(schema as ObjectSchema, { persistence })),
  ];
}

const TRUST = "Device.LocalAgent.ControllerTrust.";
/** As long as somebody may take to find the passphrase. */
const TOFU_INACTIVITY_S = 3600;

interface ShippedPermission {
  readonly targets: readonly string[];
  /** Param, Obj, InstantiatedObj, CommandEvent. */
  readonly rights: readonly [string, string, string, string];
}

const NOTHING = ["----", "----", "----", "----"] as const;
const READ = ["r--n", "r--n", "r--n", "r--n"] as const;
const ALL = ["rw-n", "rw-n", "rw-n", "r-xn"] as const;

/** Who may do what, as far as paths say it; whose a row is and what is secured, privacy.ts says. */
const READING: readonly ShippedPermission[] = [
  { targets: ["Device."], rights: READ },
  { targets: [`${ROOT}Query()`], rights: ["----", "----", "----", "r-xn"] },
];
const OPERATING: readonly ShippedPermission[] = [
  ...READING,
  {
    targets: [
      ROOT,
      "Device.LocalAgent.Subscription.",
      "Device.LocalAgent.Threshold.",
      "Device.BulkData.Profile.",
      "Device.PacketCaptureDiagnostics()",
    ],
    rights: ALL,
  },
  { targets: ["Device.LocalAgent.Request."], rights: ["r--n", "r--n", "r--n", "r-xn"] },
  { targets: [`${ROOT}PrivacyCeiling`], rights: ["r--n", "----", "----", "----"] },
];
const SHIPPED: Readonly<Record<string, readonly ShippedPermission[]>> = {
  Monitor: READING,
  Operator: OPERATING,
  Support: OPERATING,
  Admin: [{ targets: ["Device."], rights: ALL }, ...OPERATING.slice(2)],
  Resident: [
    ...OPERATING.slice(0, -1),
    { targets: [`${ROOT}PrivacyCeiling`], rights: ["rw-n", "----", "----", "----"] },
  ],
  Untrusted: [
    { targets: ["Device."], rights: NOTHING },
    // What a challenge needs, and nothing else.
    {
      targets: [`${TRUST}RequestChallenge()`, `${TRUST}ChallengeResponse()`],
      rights: ["----", "----", "----", "r-x-"],
    },
    {
      targets: ["Alias", "Description", "Enable", "Type"].map((name) => `${TRUST}Challenge.{i}.${name}`),
      rights: ["r---", "----", "----", "----"],
    },
  ],
};

/** Adds the shipped roles. @returns their instance paths without final dot, by name */
export function seedRoles(transaction: Transaction): Map<string, string> {
  const { tree } = transaction;
  const trust = tree.at(TRUST);
  const roles = tree.object(`${TRUST}Role.`);
  const permissions = tree.object(`${TRUST}Role.{i}.Permission.`);
  if (!trust || !roles || !permissions) throw new TypeError("ControllerTrust is not in the tree");
  const paths = new Map<string, string>();
  for (const [name, shipped] of Object.entries(SHIPPED)) {
    const { node } = transaction.add(trust, roles, [setting("Name", name), setting("Enable", "true")]);
    paths.set(name, node.path.slice(0, -1));
    shipped.forEach(({ targets, rights: [param, object, instantiated, element] }, index) => {
      transaction.add(node, permissions, [
        setting("Enable", "true"),
        setting("Order", `${(index + 1) * 10}`),
        setting("Targets", targets.join(",")),
        setting("Param", param),
        setting("Obj", object),
        setting("InstantiatedObj", instantiated),
        setting("CommandEvent", element),
      ]);
    });
  }
  transaction.write(trust, "UntrustedRole", [paths.get("Untrusted")]);
  transaction.write(trust, "SecuredRoles", [paths.get("Resident")]);
  transaction.write(trust, "TOFUInactivityTimer", TOFU_INACTIVITY_S);
  return paths;
}

const setting = (param: string, value: string) => ({ param, value, required: true });
