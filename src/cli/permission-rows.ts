/** What roles may do, from their rows as an agent tells them: for words that say it to people, not to decide anything. */
import type { JsonObject, Json } from "./json.ts";
import { number, text } from "./device-table.ts";

export type Kind = "Param" | "Obj" | "InstantiatedObj" | "CommandEvent";

interface Permission {
  readonly role: string;
  readonly order: number;
  /** Supported path; ends with a dot where it holds for all below. */
  readonly target: string;
  readonly rights: Readonly<Record<Kind, string>>;
}

export class PermissionRows {
  readonly #rows: readonly Permission[];

  /** @param roles Rows of `ControllerTrust.Role.` with their Permission tables, by instance path without final dot */
  constructor(roles: ReadonlyMap<string, JsonObject>) {
    this.#rows = [...roles].flatMap(([role, row]) =>
      row["Enable"] === true
        ? rowsIn(row["Permission"])
            .filter((each) => each["Enable"] === true)
            .flatMap((each) =>
              text(each["Targets"])
                .split(",")
                .filter((target) => target !== "")
                .map((target) => ({
                  role,
                  order: number(each["Order"]),
                  target: supported(target),
                  rights: rights(each),
                })),
            )
        : [],
    );
  }

  /**
   * Whether one of the roles gives the right. Of each, the matching row of largest Order decides (TR-369 §"Role Based
   * Access Control"); what a row says of single instances is taken for all.
   */
  may(roles: readonly string[], path: string, kind: Kind, right: "r" | "w" | "x"): boolean {
    return roles.some((role) => {
      const matching = this.#rows.filter(
        (row) =>
          row.role === role && (row.target === path || (row.target.endsWith(".") && path.startsWith(row.target))),
      );
      const decides = matching.reduce<Permission | undefined>(
        (best, row) => (best && best.order >= row.order ? best : row),
        undefined,
      );
      return decides?.rights[kind].includes(right) === true;
    });
  }
}

/** Of a table in nested JSON. */
export function rowsIn(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter((each): each is JsonObject => typeof each === "object") : [];
}

const rights = (row: JsonObject) => ({
  Param: text(row["Param"]),
  Obj: text(row["Obj"]),
  InstantiatedObj: text(row["InstantiatedObj"]),
  CommandEvent: text(row["CommandEvent"]),
});

/** Instance numbers, wildcards and searches are any row's. */
const supported = (target: string) =>
  target.replaceAll(/\[[^\]]*\]/g, "{i}").replaceAll(/\.(?:\*|\d+)(?=\.|$)/g, ".{i}");
