/** Options of a list that the firmware brings: a row of `Device.X_SPIN.List.` that no controller can lead elsewhere. */
import { bool, file, number, oneOf, text, type ValuesOf } from "./option.ts";

export const listOptions = {
  enable: bool("Keep it loaded, at the first start; afterwards Enable in the model says so.", true),
  url: text("Where it is fetched, by http or https; inside the home too.", "", /^(?:https?:\/\/[^\s#@]+)?$/),
  file: file("A file of the gateway instead."),
  format: oneOf("What it looks like.", "Plain", "Plain", "Hosts", "CSV", "RPZ"),
  checksum: text("SHA-256 in hex that its content must have; empty: any.", "", /^(?:[0-9A-Fa-f]{64})?$/),
  refresh_interval: number("Seconds between two looks for a newer one.", 86_400, 600, 2_592_000),
} as const;

export type ListConfig = ValuesOf<typeof listOptions> & { readonly name: string };

export function listFault({ name, url, file: path }: ListConfig): string | undefined {
  if ((url === "") === (path === "")) return `list '${name}' needs one of the options url and file`;
  return /^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name) ? undefined : `list '${name}' has a name that is no Alias`;
}
