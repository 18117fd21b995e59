/**
 * `ctl privacy`: in words, what a controller sees of the home and may do, from the agent's rows as they are: roles with
 * their permissions, SecuredRoles, PrivacyLevel and its ceiling, a support session. For the resident, of any controller;
 * for another, of itself as far as it may read that.
 */
import { ROOT } from "../../datamodel/spin-root.ts";
import { list, rowsOf } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { number, text } from "./device-table.ts";
import { nest, type Json, type JsonObject } from "./json.ts";
import { PermissionRows, rowsIn } from "./permission-rows.ts";
import { countText } from "./text.ts";
import { typedValues } from "./value-types.ts";

const AGENT = "Device.LocalAgent.";
const TRUST = `${AGENT}ControllerTrust.`;
const CONTROLLERS = `${AGENT}Controller.`;

/** How the home stands, as whoever asks may read it. */
interface Standing {
  readonly controllers: readonly JsonObject[];
  readonly roles: ReadonlyMap<string, JsonObject>;
  readonly permissions: PermissionRows;
  readonly securedRoles: readonly string[];
  readonly level: string;
  readonly ceiling: string;
  /** When the support session ends; empty if there is none. */
  readonly supportUntil: string;
  readonly accesses: readonly JsonObject[];
}

interface View {
  readonly controller: string;
  readonly roles: readonly string[];
  readonly reachedBy: readonly string[];
  readonly sees: readonly string[];
  readonly seesNot: readonly string[];
  readonly may: readonly string[];
  readonly did: string;
}

export const privacy: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (rest.length > 0) throw new UsageError("privacy [CONTROLLER]");
  const standing = await read(context);
  const found = standing.controllers.filter(
    (row) => wanted === undefined || [text(row["EndpointID"]), text(row["Alias"])].includes(wanted),
  );
  if (found.length === 0)
    throw new UsageError(
      wanted === undefined
        ? "this controller may read no rows of Device.LocalAgent.Controller."
        : `there is no controller ${JSON.stringify(wanted)}; known: ${standing.controllers.map((row) => text(row["EndpointID"])).join(", ")}`,
    );
  const views = found.map((row) => viewOf(row, standing));
  if (context.options.json === true) {
    const json = views.map(({ controller, roles, reachedBy, sees, seesNot, may, did }): Json => ({
      Controller: controller,
      Roles: roles,
      ReachedBy: reachedBy,
      Sees: sees,
      SeesNot: seesNot,
      May: may,
      Did: did,
    }));
    sayJson(context, { PrivacyLevel: standing.level, PrivacyCeiling: standing.ceiling, Controller: json });
    return Exit.Ok;
  }
  for (const each of views) say(context, wordsOf(each));
  return Exit.Ok;
};

function wordsOf({ controller, roles, reachedBy, sees, seesNot, may, did }: View): string {
  const by = [roles.join(" and ") || "no role", ...(reachedBy.length > 0 ? [reachedBy.join(" and ")] : [])].join(", ");
  const sentence = (start: string, items: readonly string[]) =>
    items.length === 0 ? [] : [`  ${start} ${items.join("; ")}.`];
  return [
    `${controller} (${by})`,
    ...(sees.length === 0 ? ["  sees nothing of the home."] : sentence("sees", sees)),
    ...sentence("does not see", seesNot),
    ...(may.length === 0 ? ["  may change nothing."] : sentence("may", may)),
    ...(did === "" ? [] : [`  ${did}.`]),
  ].join("\n");
}

async function read(context: WordContext): Promise<Standing> {
  const get = async (path: string, maxDepth = 0): Promise<JsonObject> => {
    const outcomes = await context.controller.get([path], { maxDepth });
    for (const { error } of outcomes) if (error !== undefined) throw error;
    const values = await typedValues(context.controller, outcomes);
    return nest(values, path);
  };
  const [spin, trust, agent, roleRows] = [
    await get(ROOT, 1),
    await get(TRUST, 1),
    await get(CONTROLLERS),
    await withPaths(context, `${TRUST}Role.`),
  ];
  const until = text(spin["SupportUntil"]);
  return {
    controllers: rowsIn(Array.isArray(agent) ? agent : Object.values(agent)).filter((row) => row["Enable"] === true),
    roles: roleRows,
    permissions: new PermissionRows(roleRows),
    securedRoles: list(trust["SecuredRoles"]),
    level: text(spin["PrivacyLevel"]),
    ceiling: text(spin["PrivacyCeiling"]),
    supportUntil: until.startsWith("0001-") ? "" : until,
    accesses: (await rowsOf(context, "AccessLog")).map(({ row }) => row),
  };
}

/** Rows of a table with all below them, by instance path without final dot. */
async function withPaths({ controller }: WordContext, table: string): Promise<Map<string, JsonObject>> {
  const outcomes = await controller.get([table]);
  for (const { error } of outcomes) if (error !== undefined) throw error;
  const byRow = new Map<string, [string, Json][]>();
  for (const [path, value] of await typedValues(controller, outcomes)) {
    const row = `${table}${path.slice(table.length).split(".")[0]}`;
    const values = byRow.get(row) ?? [];
    values.push([path, value]);
    byRow.set(row, values);
  }
  return new Map([...byRow].map(([path, values]) => [path, nest(values, `${path}.`)]));
}

function viewOf(row: JsonObject, standing: Standing): View {
  const { permissions, securedRoles, level, ceiling, supportUntil } = standing;
  const own = [...new Set([...list(row["AssignedRole"]), ...list(row["InheritedRole"])])];
  const names = own.map((path) => text(standing.roles.get(path)?.["Name"]));
  const may = (path: string, kind: Parameters<PermissionRows["may"]>[2], right: "r" | "w" | "x") =>
    permissions.may(own, path, kind, right);
  const reads = (name: string) => may(`${ROOT}${name}`, "Param", "r");
  const runs = (name: string) => may(`${ROOT}${name}`, "CommandEvent", "x");
  const isResident = names.includes("Resident");
  const isSummary = level === "Summary" && !isResident;
  const isSecured = isResident || own.some((path) => securedRoles.includes(path));
  const isSupported = names.includes("Support") && supportUntil !== "" && !isSummary;
  const seesPeers = isResident || isSupported || (isSecured && level === "Destinations");
  const readsPeers = reads("Device.{i}.TopDestinations");

  const sees: string[] = [];
  const seesNot: string[] = [];
  const whyNot = !isSecured
    ? "none of its roles is in SecuredRoles"
    : `PrivacyLevel is ${level}${ceiling === level ? ", which only the resident can raise (PrivacyCeiling)" : ""}`;
  if (isSummary) {
    if (reads("Summary.BytesSent")) sees.push("the home's totals alone, because PrivacyLevel is Summary");
    seesNot.push("devices, rules and incidents, because PrivacyLevel is Summary");
  } else {
    if (reads("Device.{i}.PhysAddress")) sees.push("the home's devices, their counters and their history");
    if (reads("Rule.{i}.Status")) sees.push("rules, and what its own say");
    if (reads("Incident.{i}.Summary")) sees.push("incidents, in a sentence");
    if (readsPeers && seesPeers) {
      const why = isResident ? "" : isSupported ? `, until ${supportUntil}, because the resident granted support` : "";
      sees.push(`whom devices talk to and which names they ask for${why}`);
    } else if (readsPeers) seesNot.push(`whom devices talk to, nor what others' rules say, because ${whyNot}`);
    if (runs("Device.{i}.CaptureTraffic()")) {
      const whole = isResident || isSupported;
      sees.push(`the ${whole ? "whole packets" : "headers of packets"} of a device while it captures them`);
      if (!whole) seesNot.push(`what is in packets${seesPeers ? "" : ", nor addresses beyond the home"}`);
    }
  }
  if (isResident) sees.push("who saw what (`accesses`)");

  const does: string[] = [];
  const writes = (name: string) => may(`${ROOT}${name}`, "Param", "w");
  if (may(`${ROOT}Rule.{i}.`, "Obj", "w"))
    does.push(isSummary ? "make rules" : "make rules, and change and delete its own");
  if (may(`${ROOT}List.{i}.`, "Obj", "w")) does.push("make lists of its own");
  // Rows that it does not see it can't name either.
  if (!isSummary && writes("Device.{i}.Name")) does.push("name devices");
  if (!isSummary && may(`${ROOT}Device.{i}.`, "InstantiatedObj", "w")) does.push("forget devices");
  if (writes("Enable")) does.push("switch SPIN on and off");
  if (writes("PrivacyLevel")) does.push(`set PrivacyLevel${isResident ? "" : `, up to ${ceiling}`}`);
  if (isResident) does.push("set PrivacyCeiling, grant support, erase history");
  if (!isSummary && runs("ResolveIncident()")) does.push("ask which device an abuse report is about");
  if (may(`${AGENT}Subscription.{i}.`, "Obj", "w")) does.push("be told of what it may see");
  if (may(`${AGENT}MTP.{i}.`, "Obj", "w")) does.push("change the agent itself and how it is reached");
  if (may(`${TRUST}SecuredRoles`, "Param", "w")) does.push("say which roles may read what is secured");
  return {
    controller: text(row["EndpointID"]),
    roles: names,
    reachedBy: [
      ...new Set(
        rowsIn(row["MTP"])
          .filter((mtp) => mtp["Enable"] === true)
          .map((mtp) => text(mtp["Protocol"])),
      ),
    ],
    sees,
    seesNot,
    may: does,
    did: didOf(text(row["EndpointID"]), standing.accesses),
  };
}

/** From the access log, where whoever asks may read it. */
function didOf(endpointId: string, accesses: readonly JsonObject[]): string {
  const own = accesses.filter((row) => row["Controller"] === endpointId);
  const secured = own.filter((row) => row["Secured"] === true);
  const times = (rows: readonly JsonObject[]) => rows.reduce((sum, row) => sum + number(row["Count"]), 0);
  const last = (rows: readonly JsonObject[]) =>
    rows
      .map((row) => text(row["LastTime"]))
      .sort()
      .at(-1);
  const parts: string[] = [];
  if (secured.length > 0)
    parts.push(`read what is secured ${countText(times(secured))} times, last on ${last(secured)}`);
  const others = own.filter((row) => row["Secured"] !== true);
  if (others.length > 0)
    parts.push(`wrote or ran something ${countText(times(others))} times, last on ${last(others)}`);
  return parts.join("; ");
}
