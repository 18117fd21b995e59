/** The configuration's chapter of the manual, printed from the tables in config.ts. A test fails when it is stale. */
import { sections } from "./config.ts";

export function printConfigManual(): string {
  const parts = Object.entries(sections).map(([type, { description, named, options }]) => {
    const rows = Object.entries(options).map(([name, option]) => {
      const fallback = option.default === undefined ? "must be given" : valueText(option.default);
      return `| \`${name}\` | ${option.isList ? "list" : "option"} | ${fallback} | ${option.description.replaceAll("|", "\\|")} |`;
    });
    const head = named ? `\`config ${type} 'NAME'\`, as often as needed` : `\`config ${type}\`, at most once`;
    return [
      `## ${type}`,
      "",
      `${description} ${head}.`,
      "",
      "| name | | default | meaning |",
      "| --- | --- | --- | --- |",
      ...rows,
      "",
    ].join("\n");
  });
  return [
    "# Configuration",
    "",
    "Printed from `src/config/` by `npm run generate`; do not edit.",
    "",
    "One file in OpenWrt's UCI syntax: `/etc/config/spin-usp`, else `/etc/spin-usp.conf`, else `--config FILE`. An unknown",
    "section, an unknown option or a value that makes no sense stops the start, and the error names line, option and value;",
    "`spin-usp run --check` only reads it. Brokers, controllers and capture settings seed the model at the first start;",
    "from then on the model counts, and `spin-usp reset` makes the next start a first one.",
    "",
    ...parts,
  ].join("\n");
}

function valueText(value: unknown): string {
  if (typeof value === "boolean") return value ? "`1`" : "`0`";
  if (Array.isArray(value)) return "none";
  return value === "" ? "empty" : `\`${String(value)}\``;
}
