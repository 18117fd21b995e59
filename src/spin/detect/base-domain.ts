/**
 * The part of a name that somebody registered, near enough to count by: without the whole list of public suffixes, which
 * is larger than this program. A short second level below a country (`co.uk`, `com.au`) is taken for a suffix.
 */
const HOME_ONLY = new Set(["arpa", "local", "lan", "home", "internal", "localdomain", "test", "invalid", "localhost"]);
const SHORT_SECOND_LEVEL = 3;

/** Empty where there is none: a single label, or a name that stays in the home. */
export function baseDomain(name: string): string {
  const last = name.lastIndexOf(".");
  if (last <= 0) return "";
  if (HOME_ONLY.has(name.slice(last + 1))) return "";
  const second = name.lastIndexOf(".", last - 1);
  const isCountry = name.length - last - 1 === 2;
  if (second < 0) return name;
  if (!isCountry || last - second - 1 > SHORT_SECOND_LEVEL) return name.slice(second + 1);
  const third = name.lastIndexOf(".", second - 1);
  return name.slice(third + 1);
}
