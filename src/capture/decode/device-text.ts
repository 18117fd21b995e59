/** Text as devices write it into frames: hostile, and shown to people. */
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The printable ASCII of a text in UTF-8, at most `limit` characters, without blanks and NULs at the ends. Empty if there is
 * none, or if it is no text: not UTF-8, or with control characters.
 */
export function deviceText(bytes: Uint8Array, limit: number): string {
  let text: string;
  try {
    text = decoder.decode(bytes).replace(/\0+$/, "");
  } catch {
    return "";
  }
  if (/\p{Cc}/u.test(text)) return "";
  return text
    .replace(/[^\x20-\x7e]/g, "")
    .trim()
    .slice(0, limit);
}

/** RFC 8520: at most 255 octets, `https` alone; DHCPv4 may append something after a blank (§10). Empty if it is no such URL. */
export function mudUrl(bytes: Uint8Array): string {
  const [url = ""] = Buffer.from(bytes).toString("latin1").replace(/\0+$/, "").split(" ", 1);
  return /^https:\/\/[A-Za-z0-9[][\x21-\x7e]*$/.test(url) && url.length <= MUD_URL_LIMIT && URL.canParse(url)
    ? url
    : "";
}

const MUD_URL_LIMIT = 255;
