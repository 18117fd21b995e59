/**
 * Endpoint ids (TR-369 §2.2): `scheme ":" [authority] ":" instance`. Checked where a controller writes one, made where
 * the device has none of its own.
 */

/** The authority that each scheme wants (R-ARC.2a). */
const AUTHORITY: Readonly<Record<string, RegExp>> = {
  oui: /^(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{7}|[0-9A-Fa-f]{9})$/,
  cid: /^[0-9A-Fa-f]{6}$/,
  pen: /^[0-9]{1,10}$/,
  self: /^.{0,6}$/,
  user: /^.{0,6}$/,
  proto: /^.{0,6}$/,
  doc: /^.{0,6}$/,
  os: /^$/,
  ops: /^$/,
  uuid: /^$/,
  imei: /^$/,
  fqdn: /^$/,
};

/** What some schemes ask of the instance. */
const INSTANCE: Readonly<Record<string, RegExp>> = {
  os: /^[0-9A-Fa-f]{6}-.+$/,
  ops: /^[0-9A-Fa-f]{6}-[^-]+-.+$/,
};

/** R-ARC.6 */
const MAX_INSTANCE = 50;
/** R-ARC.5 */
const INSTANCE_CHARACTERS = /^(?:[A-Za-z0-9\-._]|%[0-9A-Fa-f]{2})+$/;

/** Why the text is no endpoint id; `undefined` if it is one. */
export function endpointIdFault(text: string): string | undefined {
  const first = text.indexOf(":");
  const second = text.indexOf(":", first + 1);
  if (first < 0 || second < 0) return "an endpoint id is scheme:authority:instance";
  const scheme = text.slice(0, first);
  const authority = text.slice(first + 1, second);
  const instance = text.slice(second + 1);
  const wanted = Object.hasOwn(AUTHORITY, scheme) ? AUTHORITY[scheme] : undefined;
  if (!wanted) return `${JSON.stringify(scheme.slice(0, 16))} is not one of ${Object.keys(AUTHORITY).join(", ")}`;
  if (!wanted.test(authority)) return `${JSON.stringify(authority.slice(0, 16))} is no authority of scheme ${scheme}`;
  if (instance.length > MAX_INSTANCE) return `its instance part is longer than ${MAX_INSTANCE} characters`;
  if (!INSTANCE_CHARACTERS.test(instance)) return "its instance part may hold letters, digits, - . _ and %HH only";
  if (INSTANCE[scheme] && !INSTANCE[scheme].test(instance)) return `its instance part is not that of scheme ${scheme}`;
  return undefined;
}

/** The same for somebody else's: ids without a scheme are in use too, such as Oktopus' `oktopusController`. */
export function foreignIdFault(text: string): string | undefined {
  return FOREIGN_ID.test(text) ? undefined : endpointIdFault(text);
}

const FOREIGN_ID = /^[A-Za-z0-9._-]{1,50}$/;

export const isEndpointId = (text: string): boolean => endpointIdFault(text) === undefined;

/**
 * The id of a device that knows its OUI and serial number: `os::OUI-Serial`, or with a product class
 * `ops::OUI-Class-Serial`. Characters that an id may not hold are percent-encoded.
 * @throws Error if what results is no endpoint id
 */
export function endpointIdOf(device: { oui: string; serialNumber: string; productClass?: string }): string {
  const { oui, serialNumber, productClass } = device;
  const id =
    productClass === undefined || productClass === ""
      ? `os::${oui.toUpperCase()}-${encode(serialNumber)}`
      : `ops::${oui.toUpperCase()}-${encode(productClass).replaceAll("-", "%2D")}-${encode(serialNumber)}`;
  const fault = endpointIdFault(id);
  if (fault !== undefined) throw new Error(`no endpoint id follows from OUI and serial number (${id}): ${fault}`);
  return id;
}

function encode(text: string): string {
  return [...Buffer.from(text, "utf8")]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}
