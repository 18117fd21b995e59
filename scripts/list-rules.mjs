/**
 * Writes what the ruleset (src/enforce/spin.nft) says of lists: the same for each level, each of the eight lists that may
 * be in rules at one time, each way and family. The file stays one that a person can read; this only spares the typing.
 *
 * usage: node scripts/list-rules.mjs
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("../src/enforce/spin.nft", import.meta.url));
const SLOTS = 8;
const LEVELS = 10;
const BEGIN = "  # lists: written by scripts/list-rules.mjs\n";
const END = "  # end of lists\n";
/** Of each tier Allow, Block, Reject; 9 counts. */
const verdictOf = (level) => (level === 9 ? "" : ` ${["accept", "goto blocked", "goto rejected"][level % 3]}`);
const codeOf = (level, slot) => level * SLOTS + slot;
const range = (count) => Array.from({ length: count }, (_, i) => i);

const text = readFileSync(FILE, "utf8");
const bare = text
  .replace(new RegExp(`${BEGIN}[^]*?${END}\n?`, "g"), "")
  .replace(/ {4}meta mark & 0 \| \d+ @list_used jump \w+_list\n/g, "");
const withJumps = bare.replace(
  /( {2}chain (up|down)(4|6)_(\d) \{\n[^}]*)( {2}\}\n)/g,
  (_, head, way, family, level, end) => {
    const jump = `    meta mark & 0 | ${level} @list_used jump ${way}${family}_${level}_list\n`;
    return `${head}${jump}${end}`;
  },
);
const anchor = "\n  # tier 0, Allow\n";
const at = withJumps.indexOf(anchor);
if (at < 0) throw new Error(`${FILE} has no place for lists`);
writeFileSync(FILE, `${withJumps.slice(0, at + 1)}${BEGIN}${sets()}${chains()}${END}\n${withJumps.slice(at + 1)}`);

function sets() {
  const set = (name, type, ...more) =>
    `  set ${name} {\n${[`type ${type}`, ...more].map((line) => `    ${line}\n`).join("")}  }\n`;
  const service = "inet_proto . inet_service . mark";
  return [
    "  # Addresses of lists, disjoint. A list that rules name has a place here; list_places says which one, and what it held.\n",
    ...range(SLOTS).flatMap((slot) =>
      [4, 6].map((family) => set(`list${family}_${slot}`, `ipv${family}_addr`, "flags interval")),
    ),
    set("list_places", "mark . mark . mark"),
    "  # Which levels have rules on lists, and on which ones (16 + 8 · level + place).\n",
    set("list_used", "mark", "size 256"),
    "  # The rules on lists: 8 · level + place, and the device or every one, and the services or every one.\n",
    set("list_every", "mark", "counter"),
    set("list_service", service, "flags interval", "counter"),
    set("list_device_up", "mark . ether_addr", "counter"),
    set("list_box_up", `ether_addr . ${service}`, "flags interval", "counter"),
    ...[4, 6].flatMap((family) => [
      set(`list_device_down${family}`, `mark . ipv${family}_addr`, "counter"),
      set(`list_box_down${family}`, `ipv${family}_addr . ${service}`, "flags interval", "counter"),
    ]),
  ].join("");
}

function chains() {
  const chain = (name, lines) => `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }\n`;
  const out = [];
  for (const level of range(LEVELS)) {
    for (const slot of range(SLOTS)) {
      const code = `meta mark & 0 | ${codeOf(level, slot)}`;
      const rules = (way, device, port, family) => [
        `${code} . ${device} @list_device_${way}${family}`,
        `${device} . meta l4proto . th ${port} . ${code} @list_box_${way}${family}`,
        `${code} @list_every`,
        `meta l4proto . th ${port} . ${code} @list_service`,
      ];
      const lines = (...args) => rules(...args).map((line) => `${line}${verdictOf(level)}`);
      out.push(chain(`up_list_${level}_${slot}`, lines("up", "ether saddr", "dport", "")));
      out.push(chain(`down4_list_${level}_${slot}`, lines("down", "ip daddr", "sport", "4")));
      out.push(chain(`down6_list_${level}_${slot}`, lines("down", "ip6 daddr", "sport", "6")));
    }
    for (const way of ["up", "down"])
      for (const family of [4, 6]) {
        const peer = `ip${family === 6 ? "6" : ""} ${way === "up" ? "daddr" : "saddr"}`;
        const lines = range(SLOTS).map((slot) => {
          const next = way === "up" ? "up_list" : `down${family}_list`;
          const isUsed = `meta mark & 0 | ${16 + codeOf(level, slot)} @list_used`;
          return `${isUsed} ${peer} @list${family}_${slot} jump ${next}_${level}_${slot}`;
        });
        out.push(chain(`${way}${family}_${level}_list`, lines));
      }
  }
  return out.join("");
}
