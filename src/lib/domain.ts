/** Domain names as text: lower-case, without the final dot (RFC 1035 §2.3.4 for the sizes). */
import { domainToASCII } from "node:url";

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * The canonical form of a name that a person wrote, or `undefined` if it is none. Names in other scripts come to their
 * ASCII form (`xn--…`), as DNS carries them.
 */
export function canonicalDomain(text: string): string | undefined {
  const ascii = /^[\x00-\x7f]*$/.test(text) ? text : domainToASCII(text);
  const name = ascii.toLowerCase().replace(/\.$/, "");
  if (name.length === 0 || name.length > 253) return undefined;
  return name.split(".").every((label) => LABEL.test(label)) ? name : undefined;
}

/** Whether `name` is `domain` or below it. Both canonical. */
export function isUnderDomain(name: string, domain: string): boolean {
  if (name.length === domain.length) return name === domain;
  return (
    name.length > domain.length && name.endsWith(domain) && name.charCodeAt(name.length - domain.length - 1) === 46
  );
}
