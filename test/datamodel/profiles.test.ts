/** The profiles that the manual names are there whole: every object, parameter, command and event, with its access. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { standardObjects } from "../../datamodel/all.ts";
import { PROFILES } from "../../datamodel/profiles.ts";
import { model } from "../../datamodel/schema.ts";

/** Of TR-181 2.19, with those that a profile builds on; facts, no prose. */
type Facts = Readonly<
  Record<
    string,
    Readonly<
      Record<
        string,
        { requirement: string; params: Readonly<Record<string, string>>; commands: string[]; events: string[] }
      >
    >
  >
>;
const facts = JSON.parse(readFileSync(join(__dirname, "profile-facts.json"), "utf8")) as Facts;
const objects = new Map(model(standardObjects).map((schema) => [schema.path, schema]));

test.each(PROFILES)("$name", ({ name }) => {
  const missing: string[] = [];
  for (const [path, { requirement, params, commands, events }] of Object.entries(
    facts[name] ?? { none: {} as never },
  )) {
    const schema = objects.get(path);
    if (!schema) {
      missing.push(path);
      continue;
    }
    if (/create/i.test(requirement) && !schema.canAdd) missing.push(`${path} (add)`);
    if (/delete/i.test(requirement) && !schema.canDelete) missing.push(`${path} (delete)`);
    for (const [param, access] of Object.entries(params)) {
      const declared = schema.params[param];
      if (!declared) missing.push(`${path}${param}`);
      else if (access === "readWrite" && declared.access === "readOnly") missing.push(`${path}${param} (write)`);
    }
    for (const command of commands) if (!(command in schema.commands)) missing.push(`${path}${command}`);
    for (const event of events) if (!(event in schema.events)) missing.push(`${path}${event}`);
  }
  expect(missing).toEqual([]);
});
