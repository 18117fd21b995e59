/**
 * What a controller may see of the home, beyond its permissions: PrivacyLevel, secured values, and whose a row is
 * (design/data-model.md "Secured", "Roles").
 */
import type { Caller } from "../model/implementation.ts";

export const ROLE_RESIDENT = "Resident";
export const ROLE_ADMIN = "Admin";
export const ROLE_OPERATOR = "Operator";
export const ROLE_AGENT = "Agent";

/** The controller has a role in SecuredRoles, or is the resident or the agent itself. */
export function maySeeSecured(caller: Caller): boolean {
  return caller.mayReadSecured || caller.roles.has(ROLE_RESIDENT) || caller.roles.has(ROLE_AGENT);
}
