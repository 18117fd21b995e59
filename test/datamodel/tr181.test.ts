import { readFileSync } from "node:fs";
import { join } from "node:path";
import { standardObjects } from "../../datamodel/all.ts";
import { model } from "../../datamodel/schema.ts";
import { outputNames } from "../../src/model/command.ts";

/** Names, types, access, sizes, ranges, words and defaults of TR-181 2.19 for the objects that we declare; facts, no prose. */
interface Facts {
  readonly access: string;
  readonly keys: readonly (readonly string[])[];
  readonly params: Readonly<Record<string, ParamFacts>>;
  readonly commands: Readonly<Record<string, { in: string[]; out: string[]; async: boolean }>>;
  readonly events: Readonly<Record<string, string[]>>;
}
interface ParamFacts {
  readonly type?: string;
  readonly list?: boolean;
  readonly access: string;
  readonly maxLength?: string;
  readonly range?: readonly (string | null)[];
  readonly enum?: readonly string[];
  readonly default?: string;
}

const facts = JSON.parse(readFileSync(join(__dirname, "tr181-facts.json"), "utf8")) as Record<string, Facts>;
const objects = model(standardObjects);
const ALIAS = new Set(["Alias", "_AliasUSP"]);
const BASES: Record<string, string> = {
  StatsCounter64: "unsignedLong",
  StatsCounter32: "unsignedInt",
  URL: "string",
  IPAddress: "string",
  IPv4Address: "string",
  IPv6Address: "string",
};

/** Where we offer less than the standard allows, and why. */
const NARROWER: Record<string, string> = {
  "Device.LocalAgent.MTP.{i}.Protocol": "only what is implemented",
  "Device.LocalAgent.Controller.{i}.MTP.{i}.Protocol": "only what is implemented",
  "Device.DeviceInfo.HostName": "the host's own; not ours to change",
};

describe.each(objects.map((schema) => [schema.path, schema] as const))(
  "%s is as TR-181 2.19 has it",
  (path, schema) => {
    const standard = facts[path] as Facts;

    it("exists, with its access and keys", () => {
      expect(standard).toBeDefined();
      expect(schema.canAdd && schema.canDelete ? "readWrite" : "readOnly").toBe(standard.access);
      const mine = schema.keys.map(({ params }) => [...params].sort().join());
      for (const key of standard.keys) expect(mine).toContain([...key].sort().join());
    });

    // What bears a vendor's mark is not the standard's.
    const standards = Object.entries(schema.params).filter(([name]) => !name.startsWith("X_"));
    it.each(standards)("%s", (name, param) => {
      const fact = standard.params[name] as ParamFacts;
      expect(fact).toBeDefined();
      if (!(`${path}${name}` in NARROWER))
        expect(param.access === "writeOnce" ? "writeOnceReadOnly" : param.access).toBe(fact.access);
      const scalar = param.type.item ?? param.type;
      if (fact.type && ALIAS.has(fact.type)) expect(scalar.facets.dataType).toBe("Alias");
      else if (fact.type) expect(scalar.base).toBe(BASES[fact.type] ?? fact.type);
      if (fact.maxLength && !param.type.item && !scalar.facets.values)
        expect(`${scalar.facets.maxLength}`).toBe(fact.maxLength);
      if (fact.enum && scalar.facets.values)
        for (const value of scalar.facets.values) expect(fact.enum).toContain(value);
      if (fact.default !== undefined && fact.default !== "")
        expect(param.type.print(param.default)).toBe(fact.default === "[]" ? "" : fact.default);
    });

    it("has only the standard's commands and events, with their arguments", () => {
      for (const [name, command] of Object.entries(schema.commands)) {
        const fact = standard.commands[name];
        expect(fact).toBeDefined();
        expect(Object.keys(command.input).sort()).toEqual(fact?.in);
        expect(outputNames(command).sort()).toEqual(fact?.out);
        expect(command.mode === "async").toBe(fact?.async);
      }
      for (const [name, event] of Object.entries(schema.events))
        expect(Object.keys(event.args).sort()).toEqual(standard.events[name]);
    });
  },
);
